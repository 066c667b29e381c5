"""The live configuration of a store, and the publications of its models.

The newest publication is the current model. Its row is the commit point; the arrays are in the file
that `perennial.storage.results.fits` records under the same key.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from perennial.storage.base import Json
from perennial.storage.store import Store


@dataclass(frozen=True)
class LiveRecord:
    """Configuration of a live store.

    Attributes:
        config: that of a replay of one chain, as JSON.
        forget_log_after: K, the number of newest periods whose interactions are retained; `None`
            retains all, unless a command sets another one.
        keep_histories: number of newest items that are kept for each user of dropped periods.
        why_default: reason for the strategy; `None` if the user gave it.
    """

    config: Mapping[str, Json]
    run_id: int
    forget_log_after: int | None = None
    keep_histories: int = 0
    why_default: str | None = None


@dataclass(frozen=True)
class Publication:
    """A published model.

    Attributes:
        period: t, the newest period that the model has seen.
        published: time of publication, UTC without a zone.
    """

    period: int
    fit_key: str
    stages: Mapping[str, float]
    published: datetime


def read_live(store: Store) -> LiveRecord | None:
    """Read the live configuration; `None` if the store is not live."""
    rows = store.rows(
        "SELECT config, run_id, forget_log_after, keep_histories, why_default FROM live"
    )
    return LiveRecord(json.loads(rows[0][0]), *rows[0][1:]) if rows else None


def write_live(store: Store, record: LiveRecord) -> None:
    """Write the live configuration, replacing an older one; for use inside a transaction."""
    store.connection.execute("DELETE FROM publications")
    store.connection.execute("DELETE FROM model_files WHERE purpose = 'live'")
    update_live(store, record)


def update_live(store: Store, record: LiveRecord) -> None:
    """Write the live configuration and keep its publications; for use inside a transaction."""
    store.connection.execute("DELETE FROM live")
    store.connection.execute(
        "INSERT INTO live VALUES (?, ?, ?, ?, ?)",
        [
            json.dumps(dict(record.config)),
            record.run_id,
            record.forget_log_after,
            record.keep_histories,
            record.why_default,
        ],
    )


def list_publications(store: Store) -> tuple[Publication, ...]:
    """List all publications, oldest period first."""
    rows = store.rows("SELECT period, fit_key, stages, published FROM publications ORDER BY period")
    return tuple(Publication(row[0], row[1], json.loads(row[2]), row[3]) for row in rows)


def find_publication(store: Store, period: int) -> Publication | None:
    """Return the publication of a period; `None` if there is none."""
    return next((one for one in list_publications(store) if one.period == period), None)


def newest_publication(store: Store) -> Publication | None:
    """Return the current publication; `None` before the first."""
    publications = list_publications(store)
    return publications[-1] if publications else None


def insert_publication(store: Store, publication: Publication) -> None:
    """Record a publication, replacing one of the same period; for use inside a transaction."""
    stages = json.dumps(dict(publication.stages))
    store.connection.execute(
        "INSERT OR REPLACE INTO publications VALUES (?, ?, ?, ?)",
        [publication.period, publication.fit_key, stages, publication.published],
    )
