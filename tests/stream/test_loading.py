"""A store holds one log, cut one way, or is refused."""

from pathlib import Path

import pytest

from perennial.storage.errors import UserError
from perennial.storage.log.ingest import IngestSettings, ingest_period
from perennial.storage.log.periods import list_periods
from perennial.storage.store import Store
from perennial.stream.cuts import make_cut
from perennial.stream.loading import load_log
from perennial.stream.sources.base import LogFiles


def write_files(folder: Path, *numbers: int) -> tuple[Path, ...]:
    """A file for each number, ten minutes of two users each."""
    paths = []
    for number in numbers:
        path = folder / f"part{number}.csv"
        lines = [f"{row % 2},{row % 3},{600 * number + 60 * row}" for row in range(10)]
        path.write_text("\n".join(["user,item,timestamp", *lines]))
        paths.append(path)
    return tuple(paths)


def log_of(paths: tuple[Path, ...], **settings: object) -> LogFiles:
    return LogFiles("parts", paths, IngestSettings(**settings))


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "s.duckdb") as opened:
        yield opened


@pytest.mark.parametrize("cut", [make_cut("equal-count", 4), make_cut("files")])
def test_the_same_again_does_nothing(store, tmp_path, cut):
    log = log_of(write_files(tmp_path, 1, 2, 3))
    assert load_log(store, log, cut)
    before = list_periods(store)
    assert load_log(store, log, cut) == ()
    assert list_periods(store) == before


def test_files_that_are_missing_are_added(store, tmp_path):
    log = log_of(write_files(tmp_path, 1, 2, 3))
    ingest_period(store, log.paths[0], log.settings)
    reports = load_log(store, log, make_cut("files"))
    assert [report.periods for report in reports] == [(2,), (3,)]


def test_a_file_that_turned_up_before_those_held_is_refused(store, tmp_path):
    paths = write_files(tmp_path, 1, 2, 3)
    load_log(store, log_of(paths[1:]), make_cut("files"))
    with pytest.raises(UserError, match="in another way"):
        load_log(store, log_of(paths), make_cut("files"))
    assert len(list_periods(store)) == 2


@pytest.mark.parametrize(
    ("held", "wanted"),
    [
        (make_cut("equal-count", 4), make_cut("equal-count", 5)),
        (make_cut("equal-count", 3), make_cut("files")),
        (make_cut("files"), make_cut("equal-count", 4)),
        (make_cut("equal-count", 1), make_cut("files")),
    ],
)
def test_another_cut_is_refused(store, tmp_path, held, wanted):
    log = log_of(write_files(tmp_path, 1, 2, 3))
    load_log(store, log, held)
    before = list_periods(store)
    with pytest.raises(UserError, match="in another way"):
        load_log(store, log, wanted)
    assert list_periods(store) == before


def test_a_single_file_cut_in_periods_is_not_file_by_file(store, tmp_path):
    log = log_of(write_files(tmp_path, 1))
    load_log(store, log, make_cut("equal-count", 2))
    with pytest.raises(UserError, match="in another way"):
        load_log(store, log, make_cut("files"))


def test_other_columns_are_refused(store, tmp_path):
    paths = write_files(tmp_path, 1, 2)
    load_log(store, log_of(paths), make_cut("equal-count", 2))
    with pytest.raises(UserError, match="in another way"):
        load_log(store, log_of(paths, item_column="user", user_column="item"), make_cut("files"))


@pytest.mark.parametrize("cut", [make_cut("equal-count", 2), make_cut("files")])
def test_another_log_is_refused(store, tmp_path, cut):
    paths = write_files(tmp_path, 1, 2, 3)
    load_log(store, log_of(paths[:2]), cut)
    before = list_periods(store)
    with pytest.raises(UserError, match="another log"):
        load_log(store, log_of(paths[1:]), cut)
    assert list_periods(store) == before


def test_a_log_that_has_grown_in_the_store_is_refused(store, tmp_path):
    paths = write_files(tmp_path, 1, 2, 3)
    load_log(store, log_of(paths[:2]), make_cut("equal-count", 2))
    ingest_period(store, paths[2], IngestSettings())
    with pytest.raises(UserError, match="holds more than 'parts'"):
        load_log(store, log_of(paths[:2]), make_cut("equal-count", 2))
