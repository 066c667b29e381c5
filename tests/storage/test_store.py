"""Opening, refusing and changing the DuckDB file."""

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from patience import PATIENCE

from perennial.storage.access import rewrite_path
from perennial.storage.errors import UserError
from perennial.storage.store import Store


def test_a_new_store_is_there_when_opened_again(tmp_path):
    path = tmp_path / "log.duckdb"
    with Store.open(path) as store:
        store.rows("INSERT INTO users VALUES (0, 'a', 1)")
    with Store.open(str(path)) as store:
        assert (store.path, store.rows("SELECT id FROM users")) == (path, [("a",)])
        assert store.models_folder == tmp_path / "log.duckdb.models"


def test_a_name_is_only_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("md:log", ":memory:log", "s3:log"):
        Store.open(name).close()
        assert (tmp_path / name).is_file()


def test_memory_leaves_nothing_behind(tmp_path):
    with Store.open(":memory:") as store:
        assert store.path is None
        folder = store.models_folder
        folder.mkdir(exist_ok=True)
        (folder / "model").touch()
    assert not folder.exists()


def insert_users(store, *indices, then=None):
    with store.transaction():
        for index in indices:
            store.rows("INSERT INTO users VALUES (?, 'a', 1)", [index])
        if then is not None:
            raise then


def test_a_transaction_keeps_all_or_nothing(store):
    with pytest.raises(KeyboardInterrupt):
        insert_users(store, 0, 1, then=KeyboardInterrupt())
    with pytest.raises(duckdb.ConstraintException):
        insert_users(store, 0, 1, 0)
    full = duckdb.IOException("IO Error: Could not write file: No space left on device")
    with pytest.raises(UserError, match=r"cannot be written .*No space left on device"):
        insert_users(store, 0, then=full)
    assert store.rows("SELECT user_index FROM users") == []
    insert_users(store, 3, 4)
    assert store.rows("SELECT user_index FROM users ORDER BY user_index") == [(3,), (4,)]


def test_tables_are_inserted_by_name_and_in_order(store):
    rows = 300_000
    store.rows("CREATE TABLE numbers (b BIGINT, a BIGINT)")
    store.insert("numbers", pa.table({"a": range(rows), "b": range(0, -rows, -1)}))
    table = store.table("SELECT a, b, rowid FROM numbers ORDER BY rowid")
    assert (table["a"].to_pylist(), table["b"][7].as_py()) == (list(range(rows)), -7)
    assert store.table(
        "SELECT sum(x) AS s FROM t WHERE x > ?", [1], inputs={"t": pa.table({"x": [1, 2, 3]})}
    )["s"].to_pylist() == [5]


def test_a_reader_makes_and_changes_no_store(tmp_path):
    path = tmp_path / "log.duckdb"
    with pytest.raises(UserError, match="no such store"):
        Store.open(path, read_only=True)
    assert list(tmp_path.iterdir()) == []
    Store.open(path).close()
    with Store.open(path, read_only=True) as store:
        assert store.rows("SELECT count(*) FROM users") == [(0,)]
        with pytest.raises(duckdb.InvalidInputException, match="read-only"):
            store.rows("INSERT INTO users VALUES (0, 'a', 1)")
    with Store.open(path), pytest.raises(UserError, match="open in this process already"):
        Store.open(path, read_only=True)


def test_other_and_damaged_files_are_refused_and_kept(tmp_path):
    notes, path = tmp_path / "notes.txt", tmp_path / "log.duckdb"
    notes.write_text("not a database\n" * 1000)
    with pytest.raises(UserError, match=r"notes\.txt: not a DuckDB file"):
        Store.open(notes)
    assert notes.read_text() == "not a database\n" * 1000
    Store.open(path).close()
    data = bytearray(path.read_bytes())
    data[4096:12288] = b"\xff" * 8192
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"log\.duckdb: the file is damaged"):
        Store.open(path)


def test_other_databases_are_refused_and_kept(tmp_path):
    path = tmp_path / "other.duckdb"
    with duckdb.connect(path) as connection:
        connection.execute("CREATE TABLE invoices (amount INTEGER)").fetchall()
    for read_only in (False, True):
        with pytest.raises(UserError, match="not a Perennial store"):
            Store.open(path, read_only=read_only)
    with duckdb.connect(path) as connection:
        assert connection.execute("SHOW TABLES").fetchall() == [("invoices",)]


def writing(then="pass"):
    """Program that has the store open for writing, and has run `then`, until its input ends."""
    return (
        "import sys; from perennial.storage.store import Store; store = Store.open(sys.argv[1]); "
        f"{then}; print('open', flush=True); sys.stdin.read()"
    )


@contextmanager
def working_beside(code, path):
    """A process that has said "open" and then ends by itself, or with its input, well."""
    with subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        yield process
        process.communicate()
        assert process.returncode == 0


def test_a_second_writer_is_refused_at_once(tmp_path):
    path = tmp_path / "log.duckdb"
    with working_beside(writing(), path):
        for wait in (0.0, 0.1):
            with pytest.raises(UserError, match=r"log\.duckdb: another process is writing"):
                Store.open(path, wait=wait)
        with pytest.raises(UserError, match="another process has the store open"):
            Store.open(path, read_only=True)
    Store.open(path).close()


@pytest.mark.parametrize(("read_only", "wait"), [(False, PATIENCE), (True, 0)])
def test_a_writer_may_wait_for_a_writer_and_waits_for_readers(tmp_path, read_only, wait):
    path = tmp_path / "log.duckdb"
    Store.open(path).close()
    code = (
        "import sys, time; from perennial.storage.store import Store; "
        f"store = Store.open(sys.argv[1], read_only={read_only}); "
        "print('open', flush=True); time.sleep(0.5); store.close(); time.sleep(0.5)"
    )
    with working_beside(code, path):
        Store.open(path, wait=wait).close()


def test_readers_see_the_snapshot_while_a_writer_works(tmp_path):
    path = tmp_path / "log.duckdb"
    insert = "store.connection.execute(\"INSERT INTO users VALUES ({}, 'a', 1)\")"
    steps = f"{insert.format(0)}; store.write_snapshot(); {insert.format(1)}"
    with working_beside(writing(steps), path), Store.open(path, read_only=True) as store:
        assert (store.path, store.rows("SELECT user_index FROM users")) == (path, [(0,)])
    with Store.open(path, read_only=True) as store:
        assert store.rows("SELECT user_index FROM users ORDER BY 1") == [(0,), (1,)]


@pytest.mark.slow
def test_readers_see_a_whole_store_while_files_change(tmp_path):
    path = tmp_path / "log.duckdb"
    Store.open(path).close()
    code = """
import sys
from pathlib import Path
from perennial.storage.access import rewrite_path
from perennial.storage.store import Store
path = Path(sys.argv[1])
print("open", flush=True)
for number in range(12):
    with Store.open(path) as store:
        store.write_snapshot()
        store.rows("INSERT INTO users SELECT range, repeat('x', 99), 1 FROM range(20000)")
        store.write_snapshot()
        with Store.open(rewrite_path(path)):
            pass
        store.replace_file(rewrite_path(path))
"""
    seen = set()
    with working_beside(code, path) as writer:
        while writer.poll() is None:
            with Store.open(path, read_only=True) as store:
                seen.add(store.rows("SELECT count(*) FROM users")[0][0])
    assert seen <= {0, 20000}


def test_a_writer_removes_what_a_killed_one_left(tmp_path):
    path = tmp_path / "log.duckdb"
    Store.open(path).close()
    for left in ("snapshot", "snapshot.part", "rewrite", "rewrite.wal", "rewrite.rewrite"):
        (tmp_path / f"log.duckdb.{left}").write_text("old")
    with Store.open(path) as store:
        assert {one.name for one in tmp_path.iterdir()} <= {"log.duckdb", "log.duckdb.lock"}
        store.write_snapshot()
    assert {one.name for one in tmp_path.iterdir()} == {"log.duckdb", "log.duckdb.lock"}


@pytest.mark.parametrize("size", [0, 4096])
def test_a_new_store_is_there_whole_or_not_at_all(tmp_path, monkeypatch, size):
    path = tmp_path / "log.duckdb"

    def die(name, **_):
        Path(name).write_bytes(bytes(size))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(duckdb, "connect", die)
        with pytest.raises(KeyboardInterrupt):
            Store.open(path)
    assert not path.exists()
    Store.open(path).close()
    assert {one.name for one in tmp_path.iterdir()} == {"log.duckdb", "log.duckdb.lock"}


def test_opening_a_snapshot_that_vanishes_is_retried(tmp_path, monkeypatch):
    path = tmp_path / "log.duckdb"
    Store.open(path).close()
    fates = iter([FileNotFoundError(path), None])

    def look(_path, _connection):
        fate = next(fates)
        if fate is not None:
            raise fate

    monkeypatch.setattr("perennial.storage.connect.check_length", look)
    Store.open(path, read_only=True).close()
    assert list(fates) == []


def test_a_file_replaces_another(tmp_path):
    path = tmp_path / "log.duckdb"
    with Store.open(path) as store:
        store.rows("INSERT INTO users VALUES (0, 'sentinel-in-the-old-file', 1)")
        with Store.open(rewrite_path(path)) as other:
            other.rows("INSERT INTO users VALUES (0, 'new', 1)")
        store.replace_file(rewrite_path(path))
        assert store.rows("SELECT id FROM users") == [("new",)]
        store.rows("INSERT INTO users VALUES (1, 'newer', 1)")
    with Store.open(path, read_only=True) as store:
        assert len(store.rows("SELECT id FROM users")) == 2
    for left in tmp_path.iterdir():
        assert b"sentinel" not in left.read_bytes()


IN_PROC = pytest.param(
    *("/proc/log.duckdb", r"/proc/log\.duckdb: "),
    marks=pytest.mark.skipif(
        not Path("/proc/self").exists(), reason="needs a folder nobody may write to"
    ),
)


@pytest.mark.parametrize(
    ("name", "words"), [("none/log.duckdb", "does not exist"), (".", "is a folder"), IN_PROC]
)
def test_wrong_places_are_named(tmp_path, name, words):
    with pytest.raises(UserError, match=words):
        Store.open(tmp_path / name)
