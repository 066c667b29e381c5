"""Checks of a study's store, and a recorder of its events."""

from pathlib import Path

from perennial.storage.results.cells import read_cells, read_evaluated_users, read_user_figures
from perennial.storage.store import Store


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


def plant_modules(folder, *names):
    """Write modules that must not be imported; each leaves a file `executed` if it is."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"open({str(folder / 'executed')!r}, 'a').write(__name__)\n")


def assert_counted_once(path: Path, num_cells: int, num_models: int) -> None:
    """Check that each cell is there once, with the models of its chains, and no other files.

    Args:
        path: of the store.
        num_cells: of all its runs.
        num_models: chains with a warm start; each keeps its newest model.
    """
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


def figures_of(store: Store, run_id: int) -> dict:
    """Read all of a run that must be equal on any machine, by strategy and periods."""
    judged, by_user = read_evaluated_users(store, run_id), read_user_figures(store, run_id)
    return {
        (cell.strategy, cell.fit_period, cell.eval_period): (
            cell.key,
            [(one.metric, one.k, one.value, one.num_users) for one in cell.figures],
            judged[cell.evaluation_key].users.tolist(),
            [one.values.tolist() for one in by_user[cell.key]],
            {key: value for key, value in cell.fit_report.items() if key != "seconds"},
        )
        for cell in read_cells(store, run_id)
    }
