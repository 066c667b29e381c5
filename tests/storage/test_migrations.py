"""Older stores are upgraded, newer ones refused, and a failed step leaves no trace."""

import duckdb
import pytest

from perennial.storage import migrations as migrations_module
from perennial.storage.errors import UserError
from perennial.storage.log.periods import list_periods
from perennial.storage.migrations import MIGRATIONS, Migration, migrate, schema_version, sql
from perennial.storage.results.publications import LiveRecord, read_live
from perennial.storage.store import Store

NEXT = len(MIGRATIONS) + 1
ADDED = Migration(NEXT, "colours", sql("CREATE TABLE colours (name VARCHAR)"))
FAILING = Migration(
    NEXT + 1, "fails", sql("CREATE TABLE half (name VARCHAR)", "INSERT INTO nowhere VALUES (1)")
)


def test_versions_count_up_and_names_differ():
    assert [migration.version for migration in MIGRATIONS] == list(range(1, NEXT))
    assert len({migration.name for migration in MIGRATIONS}) == len(MIGRATIONS)


@pytest.mark.parametrize("held", range(len(MIGRATIONS) + 1))
def test_every_older_store_is_upgraded_with_its_content(tmp_path, held):
    path = tmp_path / "log.duckdb"
    with duckdb.connect(path) as connection:
        assert migrate(connection, MIGRATIONS[:held]) == tuple(m.name for m in MIGRATIONS[:held])
        if held:
            connection.execute("INSERT INTO users VALUES (0, 'a', 1)").fetchall()
    with Store.open(path) as store:
        assert schema_version(store.connection) == len(MIGRATIONS)
        assert store.rows("SELECT id FROM users") == ([("a",)] if held else [])
        assert store.rows("SELECT * FROM migrations ORDER BY version") == [
            (migration.version, migration.name) for migration in MIGRATIONS
        ]
        assert migrate(store.connection) == ()


def test_identifiers_of_an_older_store_get_their_form(tmp_path):
    upper = "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"
    with duckdb.connect(tmp_path / "log.duckdb") as connection:
        migrate(connection, MIGRATIONS[:5])
        connection.executemany(
            "INSERT INTO users VALUES (?, ?, 1)",
            [[place, name] for place, name in enumerate([upper, "1", "1.0", "2.0", "2.00", "007"])],
        )
        connection.execute("INSERT INTO titles VALUES ('3.0', 'Three')")
    with Store.open(tmp_path / "log.duckdb") as store:
        users = [name for (name,) in store.rows("SELECT id FROM users ORDER BY user_index")]
        assert users == [upper.lower(), "1", "1.0", "2", "2.00", "007"]
        assert store.rows("SELECT item_id FROM titles") == [("3",)]


def test_an_older_store_has_dropped_the_periods_of_which_nothing_is_kept(tmp_path):
    with duckdb.connect(tmp_path / "log.duckdb") as connection:
        migrate(connection, MIGRATIONS[:7])
        connection.executemany(
            "INSERT INTO periods VALUES (?, 1, 'f', 0, 0, 0, TRUE, 3, 1, 1, 1, 1, '', ?)",
            [[1, 0], [2, 3]],
        )
        connection.execute("INSERT INTO live VALUES ('{}', 1)")
    with Store.open(tmp_path / "log.duckdb") as store:
        assert [one.dropped for one in list_periods(store)] == [True, False]
        assert read_live(store) == LiveRecord({}, 1)


def test_a_newer_store_is_refused_and_kept(tmp_path):
    path = tmp_path / "log.duckdb"
    with duckdb.connect(path) as connection:
        migrate(connection, (*MIGRATIONS, ADDED))
    for read_only in (False, True):
        with pytest.raises(UserError, match=rf"schema {NEXT}, this program supports {NEXT - 1}"):
            Store.open(path, read_only=read_only)
    with duckdb.connect(path) as connection:
        assert schema_version(connection) == NEXT


def test_an_older_store_is_not_upgraded_by_readers(tmp_path, monkeypatch):
    path = tmp_path / "log.duckdb"
    Store.open(path).close()
    monkeypatch.setattr(migrations_module, "MIGRATIONS", (*MIGRATIONS, ADDED))
    with pytest.raises(UserError, match="open it once for writing"):
        Store.open(path, read_only=True)


def test_a_failed_step_is_undone_and_the_steps_before_it_stay():
    with duckdb.connect() as connection:
        with pytest.raises(duckdb.CatalogException):
            migrate(connection, (*MIGRATIONS, ADDED, FAILING))
        assert schema_version(connection) == NEXT
        tables = {name for (name,) in connection.execute("SHOW TABLES").fetchall()}
        assert "colours" in tables
        assert "half" not in tables
