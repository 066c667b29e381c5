"""Fixtures that all tests share."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

if TYPE_CHECKING:
    from object_storage import Server

# What test files share, such as `command_line`.
sys.path.insert(0, str(Path(__file__).parent))
from command_line import REPLAY, call_json, write_log
from compile_cache import use_kept_code

# Modules whose array functions state shapes and dtypes, which are checked at every call in tests.
install_import_hook(
    [
        "perennial.memory.distill.gumbel",
        "perennial.memory.distill.objective",
        "perennial.memory.distill.parametrisation",
        "perennial.memory.distill.step",
        "perennial.memory.distill.targets",
        "perennial.memory.distill.top_k",
        "perennial.models.infinite_ae.gram",
        "perennial.models.infinite_ae.kernel",
        "perennial.models.infinite_ae.nystrom",
        "perennial.models.infinite_ae.row_blocks",
        "perennial.models.lightgcn.graph",
        "perennial.models.lightgcn.loss",
        "perennial.models.mvae.network",
        "perennial.models.neumf.network",
        "perennial.models.ranking",
        "perennial.models.solver",
        "perennial.replay.metrics",
    ],
    "beartype.beartype",
)

# A busy machine must not fail a test: no time limit per example anywhere.
settings.register_profile("perennial", deadline=None)
settings.load_profile("perennial")


def pytest_configure(config: pytest.Config) -> None:
    """Compile once what the processes of all runs, and the commands they call, compile."""
    if hasattr(config, "workerinput"):
        return
    compiled = tempfile.TemporaryDirectory(prefix="compiled-")
    config.add_cleanup(compiled.cleanup)
    config.add_cleanup(use_kept_code(Path(compiled.name)))
    # A third less to compile, where what is compiled runs for a moment; 0 tests what users run.
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    # Neither dtypes nor ranks are promoted by accident, in the commands that tests call either.
    os.environ["JAX_NUMPY_DTYPE_PROMOTION"] = "strict"
    os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files with slow tests first: one at the end leaves all processes but its own idle."""
    slow = {
        item.path
        for item in items
        if item.get_closest_marker("slow") or item.get_closest_marker("campaign")
    }
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the real logs that may not be shipped; skips where it is absent."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("PERENNIAL_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real logs in {folder}; set PERENNIAL_DATA to a folder that has them")
    return folder


@pytest.fixture(scope="session")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of 40 users and 25 items, whose identifiers are not their indices."""
    return write_log(tmp_path_factory.mktemp("log") / "visits.csv", first_item=100)


@pytest.fixture(scope="session")
def replayed_once(log: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A store after a replay of the log, and what the replay printed; not to be changed."""
    store = tmp_path_factory.mktemp("replayed") / "visits.duckdb"
    return store, call_json("replay", log, *REPLAY, "--store", store)


@pytest.fixture
def replayed(replayed_once: tuple[Path, Any], tmp_path: Path) -> tuple[Path, Any]:
    """A copy of that store for one test, and what the replay printed."""
    store = tmp_path / "visits.duckdb"
    shutil.copyfile(replayed_once[0], store)
    return store, replayed_once[1]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def _server() -> Iterator["Server"]:
    from object_storage import run_server

    with run_server() as server:
        yield server


@pytest.fixture
def object_storage(_server: "Server", monkeypatch: pytest.MonkeyPatch) -> "Server":
    """An S3 server with an empty bucket, of which the environment tells."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in _server.environment().items():
        monkeypatch.setenv(name, value)
    _server.clear()
    return _server
