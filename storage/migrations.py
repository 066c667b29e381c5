"""The store's schema as a list of migrations; each runs in one transaction and is recorded."""

from dataclasses import dataclass
from typing import Protocol

import duckdb
import pyarrow as pa

from perennial.storage.errors import OlderSchema, UserError
from perennial.storage.reading.identifier_forms import canonical


class Step(Protocol):
    """The statements of one migration, inside an open transaction."""

    def __call__(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Change the schema through `connection`; raise to undo everything."""


@dataclass(frozen=True)
class Migration:
    """One change of the schema.

    Attributes:
        version: number; migrations run in increasing order, without gaps.
        name: description in a few words, recorded in the store.
        apply: changes the schema.
    """

    version: int
    name: str
    apply: Step


def sql(*statements: str) -> Step:
    """Build a migration's step from constant SQL statements."""

    def apply(connection: duckdb.DuckDBPyConnection) -> None:
        for statement in statements:
            connection.execute(statement)

    return apply


_LEDGER = "CREATE TABLE migrations (version INTEGER PRIMARY KEY, name VARCHAR NOT NULL)"

_LOG_SCHEMA = sql(
    """CREATE TABLE identifier_kinds (
        vocabulary VARCHAR PRIMARY KEY,
        kind VARCHAR NOT NULL,
        inferred BOOLEAN NOT NULL)""",
    """CREATE TABLE users (
        user_index INTEGER PRIMARY KEY, id VARCHAR NOT NULL, first_period INTEGER NOT NULL)""",
    """CREATE TABLE items (
        item_index INTEGER PRIMARY KEY, id VARCHAR NOT NULL, first_period INTEGER NOT NULL)""",
    """CREATE TABLE ingests (
        ingest INTEGER PRIMARY KEY, content_hash VARCHAR NOT NULL UNIQUE, settings VARCHAR NOT NULL,
        boundaries VARCHAR, lines BIGINT NOT NULL, merged BIGINT NOT NULL,
        rejected BIGINT NOT NULL)""",
    """CREATE TABLE ingested_files (
        file_hash VARCHAR PRIMARY KEY, ingest INTEGER NOT NULL, ordinal INTEGER NOT NULL,
        name VARCHAR NOT NULL)""",
    """CREATE TABLE periods (
        period INTEGER PRIMARY KEY, ingest INTEGER NOT NULL, source VARCHAR NOT NULL,
        first_row BIGINT NOT NULL, first_time BIGINT NOT NULL, last_time BIGINT NOT NULL,
        has_clock BOOLEAN NOT NULL,
        interactions BIGINT NOT NULL, users INTEGER NOT NULL, items INTEGER NOT NULL,
        new_users INTEGER NOT NULL, new_items INTEGER NOT NULL, content_hash VARCHAR NOT NULL)""",
    # No key here: an index on the one big table slows every load and must fit in memory. Rows are
    # in log order, and none is removed without rewriting the file: `rowid` is the position of an
    # event, and a period is the `interactions` rows from `first_row` on.
    """CREATE TABLE interactions (
        user_index INTEGER NOT NULL, item_index INTEGER NOT NULL, time BIGINT NOT NULL)""",
    # For people who query the file; times are µs, or lines if the period has no times.
    """CREATE VIEW events AS
        SELECT period, users.id AS user_id, items.id AS item_id, time
        FROM (SELECT rowid AS place, * FROM interactions) AS places
        ASOF JOIN periods ON place >= first_row
        JOIN users USING (user_index) JOIN items USING (item_index)
        ORDER BY place""",
    """CREATE TABLE rejects (
        ingest INTEGER NOT NULL, file VARCHAR NOT NULL, line BIGINT NOT NULL,
        reason VARCHAR NOT NULL)""",
)

_RUNS_SCHEMA = sql(
    """CREATE TABLE runs (
        run_id INTEGER PRIMARY KEY, status VARCHAR NOT NULL, config VARCHAR NOT NULL,
        versions VARCHAR NOT NULL, num_cells INTEGER NOT NULL, started TIMESTAMP NOT NULL,
        ended TIMESTAMP)""",
    """CREATE TABLE fits (
        fit_key VARCHAR PRIMARY KEY, memory_limit BIGINT, report VARCHAR NOT NULL)""",
    """CREATE TABLE model_files (
        fit_key VARCHAR NOT NULL, purpose VARCHAR NOT NULL, chain VARCHAR NOT NULL,
        file VARCHAR NOT NULL)""",
    """CREATE TABLE evaluations (
        evaluation_key VARCHAR PRIMARY KEY, fit_period INTEGER NOT NULL,
        eval_period INTEGER NOT NULL, users INTEGER[] NOT NULL, counts VARCHAR NOT NULL)""",
    """CREATE TABLE cells (
        cell_key VARCHAR PRIMARY KEY, fit_key VARCHAR NOT NULL, evaluation_key VARCHAR NOT NULL,
        strategy VARCHAR NOT NULL, model VARCHAR NOT NULL, seed BIGINT NOT NULL,
        fit_period INTEGER NOT NULL, eval_period INTEGER NOT NULL, stages VARCHAR NOT NULL,
        peak_rss_bytes BIGINT NOT NULL, versions VARCHAR NOT NULL, finished TIMESTAMP NOT NULL)""",
    # Weights are null if every user counts the same.
    """CREATE TABLE figures (
        cell_key VARCHAR NOT NULL, ordinal INTEGER NOT NULL, metric VARCHAR NOT NULL, k INTEGER,
        value DOUBLE, user_values FLOAT[] NOT NULL, user_weights FLOAT[])""",
    """CREATE TABLE run_cells (
        run_id INTEGER NOT NULL, ordinal INTEGER NOT NULL, cell_key VARCHAR NOT NULL)""",
)

_SUMMARIES_SCHEMA = sql(
    """CREATE TABLE summaries (
        summary_key VARCHAR PRIMARY KEY, first_period INTEGER NOT NULL, period INTEGER NOT NULL,
        seed BIGINT NOT NULL, settings VARCHAR NOT NULL, report VARCHAR NOT NULL,
        versions VARCHAR NOT NULL, num_rows INTEGER NOT NULL, num_items INTEGER NOT NULL,
        num_entries INTEGER NOT NULL, created TIMESTAMP NOT NULL)""",
    # Rows are numbered in order of usefulness: a smaller budget keeps the first ones.
    """CREATE TABLE summary_entries (
        summary_key VARCHAR NOT NULL, row INTEGER NOT NULL, item_index INTEGER NOT NULL,
        weight FLOAT NOT NULL)""",
)

_LIVE_SCHEMA = sql(
    # A period whose events were dropped stays in the ledger; `kept` of its events are stored.
    "ALTER TABLE periods ADD COLUMN kept BIGINT",
    "UPDATE periods SET kept = interactions",
    "DROP VIEW events",
    """CREATE VIEW events AS
        SELECT period, users.id AS user_id, items.id AS item_id, time
        FROM (SELECT rowid AS place, * FROM interactions) AS places
        ASOF JOIN (SELECT period, first_row FROM periods WHERE kept > 0) AS held
        ON place >= first_row
        JOIN users USING (user_index) JOIN items USING (item_index)
        ORDER BY place""",
    # One row for a live store: the configuration that `init` fixed, and the run of its cells.
    "CREATE TABLE live (config VARCHAR NOT NULL, run_id INTEGER NOT NULL)",
    """CREATE TABLE publications (
        period INTEGER PRIMARY KEY, fit_key VARCHAR NOT NULL, stages VARCHAR NOT NULL,
        published TIMESTAMP NOT NULL)""",
    "CREATE TABLE titles (item_id VARCHAR PRIMARY KEY, title VARCHAR NOT NULL)",
)

# Events per item of all dropped periods together: propensities are counted over the whole log.
_DROPPED_COUNTS_SCHEMA = sql(
    "CREATE TABLE dropped_item_counts (item_index INTEGER NOT NULL, interactions BIGINT NOT NULL)"
)

_HISTORIES_SCHEMA = sql(
    # The last items of each user may be kept of a dropped period: `kept` is then not 0.
    "ALTER TABLE periods ADD COLUMN dropped BOOLEAN DEFAULT FALSE",
    "UPDATE periods SET dropped = kept = 0",
    "ALTER TABLE live ADD COLUMN forget_log_after INTEGER",
    "ALTER TABLE live ADD COLUMN keep_histories INTEGER DEFAULT 0",
)


def _give_forms(connection: duckdb.DuckDBPyConnection) -> None:
    """Give identifiers their `canonical` form, except where another one has it already."""
    for table, column in (("users", "id"), ("items", "id"), ("titles", "item_id")):
        names = [name for (name,) in connection.execute(f"SELECT {column} FROM {table}").fetchall()]
        name_of = {canonical(name): name for name in reversed(names)}
        for name in set(names).intersection(name_of):
            del name_of[name]
        connection.register(
            "renamed",
            pa.table(
                {
                    "name": pa.array(name_of.values(), pa.string()),
                    "form": pa.array(name_of.keys(), pa.string()),
                }
            ),
        )
        connection.execute(f"UPDATE {table} SET {column} = form FROM renamed WHERE {column} = name")
        connection.unregister("renamed")


MIGRATIONS: tuple[Migration, ...] = (
    Migration(1, "log, vocabularies and ledger", _LOG_SCHEMA),
    Migration(2, "runs, cells and fits", _RUNS_SCHEMA),
    Migration(3, "summaries", _SUMMARIES_SCHEMA),
    Migration(4, "live operation", _LIVE_SCHEMA),
    Migration(5, "item counts of dropped periods", _DROPPED_COUNTS_SCHEMA),
    Migration(6, "one form of every identifier", _give_forms),
    # Rows that the conditions of `IngestSettings` leave out.
    Migration(
        7, "rows that do not count", sql("ALTER TABLE ingests ADD COLUMN filtered BIGINT DEFAULT 0")
    ),
    # At most one row: `IngestSettings` that were fixed before the first ingestion.
    Migration(8, "conditions", sql("CREATE TABLE conditions (settings VARCHAR NOT NULL)")),
    Migration(9, "histories of dropped periods", _HISTORIES_SCHEMA),
    Migration(10, "default strategy", sql("ALTER TABLE live ADD COLUMN why_default VARCHAR")),
)


def schema_version(connection: duckdb.DuckDBPyConnection) -> int:
    """Return the number of a store's newest migration, 0 if empty; `UserError` if no store."""
    rows = connection.execute(
        "SELECT table_name FROM information_schema.tables WHERE table_catalog = current_database()"
    ).fetchall()
    tables = {name for (name,) in rows}
    if "migrations" in tables:
        newest = connection.execute("SELECT coalesce(max(version), 0) FROM migrations").fetchall()
        return int(newest[0][0])
    if tables:
        raise UserError(
            "the file is a DuckDB database but not a Perennial store "
            f"(it has the table {sorted(tables)[0]!r}): name another file"
        )
    return 0


def migrate(
    connection: duckdb.DuckDBPyConnection, migrations: tuple[Migration, ...] = MIGRATIONS
) -> tuple[str, ...]:
    """Upgrade a store to the newest schema, and return the names of the migrations that ran.

    Each is a transaction of its own. A newer store, or no store, is a `UserError`.
    """
    version = schema_version(connection)
    _check_not_newer(version, migrations)
    applied = []
    for migration in migrations[version:]:
        connection.execute("BEGIN TRANSACTION")
        try:
            if migration.version == 1:
                connection.execute(_LEDGER)
            migration.apply(connection)
            connection.execute(
                "INSERT INTO migrations VALUES (?, ?)", [migration.version, migration.name]
            )
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        applied.append(migration.name)
    return tuple(applied)


def check_current(connection: duckdb.DuckDBPyConnection) -> None:
    """Refuse a store whose schema is not the newest.

    Raises:
        UserError: the store is newer than this program, or is no store.
        OlderSchema: the store must be upgraded first.
    """
    version = schema_version(connection)
    _check_not_newer(version, MIGRATIONS)
    if version < len(MIGRATIONS):
        raise OlderSchema(
            f"the store has the older schema {version}; open it once for writing to upgrade it"
        )


def _check_not_newer(version: int, migrations: tuple[Migration, ...]) -> None:
    if version > len(migrations):
        raise UserError(
            f"the store has schema {version}, this program supports {len(migrations)}: "
            "upgrade perennial, or use another store"
        )
