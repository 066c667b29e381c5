"""Checks of a study's store, and a recorder of its events."""

from contextlib import contextmanager
from pathlib import Path

from toys import fill, write_log

from perennial.replay.config import ModelChoice, ReplayConfig
from perennial.storage.store import Store

# One without and one with a warm start, for which a model is kept.
CONFIG = ReplayConfig(
    ("individual", "ader"), {"ader": {"budget": 5}}, (ModelChoice("infinite-ae", {"reg": 5.0}),)
)


class Recorder(list):
    """Events of a study; called with each of them."""

    def __call__(self, event):
        self.append(event)

    def names(self, kind):
        """Names of the tasks with an event of a kind, one for each."""
        return [event.task.name for event in self if event.kind == kind]

    def kinds(self, name):
        """Kinds of a task's events."""
        return [event.kind for event in self if event.task.name == name]


def make_log_store(folder, num_periods):
    """Write a store of the toy log, and return its path."""
    path = folder / "log.duckdb"
    with Store.open(path) as store:
        fill(store, write_log(folder / "log.csv", num_periods=num_periods), num_periods)
    return path


@contextmanager
def planted_modules(folder, monkeypatch):
    """Change to a folder with modules of the package's names; none of them may be imported."""
    here, elsewhere = folder / "here", folder / "elsewhere"
    shadows = ("models.py", "memory/__init__.py", "cli.py")
    for path in (
        here / "random.py",
        *(one / name for one in (here, elsewhere) for name in shadows),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"open({str(folder / 'executed')!r}, 'a').write(__name__)\n")
    monkeypatch.chdir(here)
    monkeypatch.setenv("PYTHONPATH", str(elsewhere))
    yield
    assert not (folder / "executed").exists()


def assert_counted_once(path: Path, num_cells: int, num_models: int) -> None:
    """Check that each cell is there once, with the newest model of each warm chain alone."""
    with Store.open(path) as store:
        ((cells, keys),) = store.rows("SELECT count(*), count(DISTINCT cell_key) FROM cells")
        assert cells == keys == num_cells
        ((twice,),) = store.rows(
            "SELECT count(*) FROM (SELECT cell_key, ordinal FROM figures"
            " GROUP BY ALL HAVING count(*) > 1)"
        )
        assert twice == 0
        kept = {name for (name,) in store.rows("SELECT file FROM model_files")}
        assert kept == {one.name for one in store.models_folder.iterdir()}
        assert len(kept) == num_models
    assert not path.with_name(path.name + ".study").exists()
