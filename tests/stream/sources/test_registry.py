import gzip
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.storage.errors import UserError
from perennial.stream.sources.files import natural_key
from perennial.stream.sources.registry import SOURCES, open_source

ROOT = Path(__file__).parents[3]


def test_all_sources_are_described(tmp_path):
    described = {name: SOURCES.load(name) for name in SOURCES}
    assert next(iter(SOURCES)) == "synthetic"
    assert all(
        one.info.summary and one.info.size and one.info.licence for one in described.values()
    )
    states = {name: source.state(tmp_path) for name, source in described.items()}
    assert states["synthetic"] == states["complete-journey"] == "ready"
    assert states["ml-1m"] == "not downloaded"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_is_called_what_it_is_registered_as(name):
    assert pkgutil.resolve_name(SOURCES[name]).name == name


def test_the_names_are_known_without_importing_the_sources():
    code = (
        "import sys, perennial.stream.sources.registry\n"
        "heavy = {'duckdb', 'pyarrow', 'numpy', 'httpx'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)  # noqa: S603


def test_a_file_is_a_log(tmp_path):
    path = tmp_path / "clicks.2024.csv.gz"
    path.write_bytes(gzip.compress(b"user_id,item_id\n1,2\n"))
    log = open_source(str(path), cache=tmp_path)
    assert (log.paths, log.name, log.cut) == ((path,), "clicks.2024", "equal-count")


def test_a_name_has_precedence_over_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("synthetic").write_text("a file")
    assert open_source("./synthetic", cache=tmp_path).paths == (Path("synthetic"),)
    assert open_source("synthetic", cache=tmp_path / "cache").paths[0].suffix == ".parquet"


ADER = [f"period_{number}.txt" for number in range(17)]


@pytest.mark.parametrize(
    ("logs", "others"),
    [
        (["week_1.CSV", "week_9.csv", "week_10.csv"], ["notes.md", ".hidden.csv"]),
        (ADER, ["README.txt", "items.csv"]),
    ],
)
def test_a_folder_is_its_logs_in_natural_order(tmp_path, logs, others):
    for name in (*logs[::-1], *others):
        (tmp_path / name).write_text("1 2\n")
    (tmp_path / "old.csv").mkdir()
    log = open_source(str(tmp_path), cache=tmp_path / "cache")
    assert [path.name for path in log.paths] == logs
    assert (log.cut, log.name) == ("files", tmp_path.name)
    with pytest.raises(UserError, match="has no log in it"):
        open_source(str(tmp_path / "old.csv"), cache=tmp_path / "cache")


@given(st.lists(st.integers(0, 10**20), unique=True, min_size=2))
def test_natural_order_counts(numbers):
    ordered = sorted((Path(f"part-{number}.csv") for number in numbers), key=natural_key)
    assert ordered == [Path(f"part-{number}.csv") for number in sorted(numbers)]


@given(st.lists(st.text(st.characters(exclude_characters="/\0"), min_size=1), unique=True))
def test_any_names_have_one_order(names):
    paths = [Path(f"x{name}") for name in names]
    assert len({natural_key(path) for path in paths}) == len(paths)
    ordered = sorted(paths, key=natural_key)
    assert ordered == sorted(ordered[::-1], key=natural_key)  # noqa: C415 - the order is the point
