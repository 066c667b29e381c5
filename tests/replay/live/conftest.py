"""Live stores of toy chains."""

import shutil

import pytest
from toys import distill, fill, register_plugins

from perennial.replay.live.ingest import LiveRequest, take_files
from perennial.replay.live.setup import configure_live
from perennial.storage.log.export import export_periods
from perennial.storage.store import Store


@pytest.fixture
def toy_chains(monkeypatch):
    """The models, and a distillation, that take no time."""
    register_plugins(monkeypatch)
    monkeypatch.setattr("perennial.memory.distill_memory.distill", distill)


@pytest.fixture(scope="module")
def period_files(tmp_path_factory, toy_log):
    """The toy log as five files."""
    folder = tmp_path_factory.mktemp("periods")
    with Store.open(folder / "cut.duckdb") as store:
        fill(store, toy_log)
        return tuple(one.path for one in export_periods(store, folder / "files"))


@pytest.fixture(scope="module")
def plain_folder(tmp_path_factory, period_files):
    """A store that took the files without a live model."""
    folder = tmp_path_factory.mktemp("plain")
    with Store.open(folder / "live.duckdb") as store:
        list(take_files(store, period_files, LiveRequest()))
    return folder


@pytest.fixture(scope="module")
def live_folder(tmp_path_factory, period_files):
    """Make a live store that took its first files one by one; made once for each request."""
    made = {}

    def make(config, num_files, request):
        key = repr((config, num_files, request))
        if key not in made:
            made[key] = tmp_path_factory.mktemp("live")
            with Store.open(made[key] / "live.duckdb") as store:
                configure_live(store, config)
            for path in period_files[:num_files]:
                # Nothing but the store is kept from night to night.
                with Store.open(made[key] / "live.duckdb") as store:
                    list(take_files(store, [path], request))
        return made[key]

    return make


@pytest.fixture
def live(tmp_path, live_folder):
    """Open a live store of one's own that took some files."""
    opened = []

    def make(config, num_files=0, name="live", request=LiveRequest()):  # noqa: B008 - immutable
        folder = tmp_path / name
        shutil.copytree(live_folder(config, num_files, request), folder)
        opened.append(Store.open(folder / "live.duckdb"))
        return opened[-1]

    yield make
    for store in opened:
        store.close()
