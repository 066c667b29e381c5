"""DuckDB's errors about a bad file or disk become one line; programming errors do not."""

import os
from pathlib import Path

import duckdb
import pytest

from perennial.storage.access import lock_path
from perennial.storage.errors import UserError, explain, raise_fault
from perennial.storage.store import Store

PATH = Path("log.duckdb")


def make_store(path):
    with Store.open(path) as store:
        store.rows("INSERT INTO users SELECT i, hash(i)::VARCHAR, 1 FROM range(200000) AS t(i)")
    return path


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (duckdb.TransactionException("Failed: Could not write file"), "cannot be written"),
        (duckdb.IOException("No space left on device"), "make room"),
        (duckdb.Error("Corrupt database file: computed checksum 1"), "is damaged"),
        (duckdb.IOException("Could not read enough bytes from file"), "is damaged"),
        (duckdb.InternalException("INTERNAL Error: attempted to access index 7"), "is damaged"),
        (duckdb.FatalException("database has been invalidated"), "is damaged"),
        (duckdb.SerializationException("Failed to deserialize"), "is damaged"),
        (duckdb.IOException('Could not set lock on file "x"'), "another process"),
    ],
)
def test_faults_of_the_file_and_the_disk_are_named(error, words):
    with pytest.raises(UserError, match=rf"^log\.duckdb: .*{words}") as raised:
        raise_fault(PATH, error)
    assert "\n" not in str(raised.value)
    assert raised.value.__cause__ is error


@pytest.mark.parametrize(
    "error",
    [
        None,
        KeyboardInterrupt(),
        UserError("another line"),
        duckdb.ConstraintException("Duplicate key"),
        duckdb.BinderException("no column x"),
        ValueError("Corrupt"),
    ],
)
def test_other_errors_are_left_alone(error):
    raise_fault(PATH, error)


def test_only_the_first_fault_is_reported():
    try:
        try:
            raise duckdb.Error("Corrupt database file")
        finally:
            raise duckdb.TransactionException("Current transaction is aborted")
    except duckdb.Error as error:
        with pytest.raises(UserError, match="Corrupt database file"):
            raise_fault(PATH, error)


def test_long_words_are_cut():
    assert len(explain(duckdb.IOException("x" * 10_000))) < 400


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("read_only", [False, True])
def test_a_store_that_was_cut_short_is_not_opened(tmp_path, share, read_only):
    path = make_store(tmp_path / "log.duckdb")
    os.truncate(path, int(share * path.stat().st_size))
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"log\.duckdb: the file is damaged"):
        Store.open(path, read_only=read_only)
    assert path.read_bytes() == before
    path.unlink()
    make_store(path)


def test_free_blocks_may_lack_at_the_end(tmp_path):
    path = make_store(tmp_path / "log.duckdb")
    for _ in range(3):
        with Store.open(path) as store:
            store.rows("DELETE FROM users WHERE user_index % 2 = 0 OR user_index > 1000")
            store.rows("CREATE OR REPLACE TABLE more AS SELECT * FROM range(300000)")
        with Store.open(path) as store:
            store.rows("DROP TABLE more")
        Store.open(path, read_only=True).close()


def test_damage_shows_as_one_line_in_whatever_query_meets_it(tmp_path):
    path = make_store(tmp_path / "log.duckdb")
    data = bytearray(path.read_bytes())
    # Past the headers and the first block, so that it opens.
    for place in range(12_288 + 262_144 + 5_000, len(data), 262_144):
        data[place] ^= 1
    path.write_bytes(data)

    def look():
        with Store.open(path) as store:
            store.rows("SELECT max(id) FROM users")

    with pytest.raises(UserError, match=r"log\.duckdb: the file is damaged .*checksum"):
        look()


def test_the_lock_stays_where_a_store_cannot_be_opened(tmp_path):
    path = tmp_path / "log.duckdb"
    path.write_text("no database")
    with pytest.raises(UserError):
        Store.open(path)
    assert lock_path(path).exists()
