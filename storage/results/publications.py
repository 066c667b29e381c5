"""A model that is kept current: what was fixed for it, and what was published when.

The newest publication is the model that answers. Its row is the commit point; the arrays lie in the
file that `perennial.storage.results.fits` keeps under the same key.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from perennial.storage.store import Store

Json = Any
"""What `json.dumps` takes."""


@dataclass(frozen=True)
class LiveRecord:
    """What is fixed for the model of a store.

    Attributes:
        config: a replay of one strategy, model and seed, as JSON.
        run_id: the run that its cells are recorded in.
    """

    config: Mapping[str, Json]
    run_id: int


@dataclass(frozen=True)
class Publication:
    """A model that was published.

    Attributes:
        period: t, the newest period that it saw.
        fit_key: of its fit and its file.
        stages: seconds per stage of the fit.
        published: when, UTC, without a zone.
    """

    period: int
    fit_key: str
    stages: Mapping[str, float]
    published: datetime


def read_live(store: Store) -> LiveRecord | None:
    """What is fixed; `None` where nothing is."""
    rows = store.rows("SELECT config, run_id FROM live")
    return LiveRecord(json.loads(rows[0][0]), rows[0][1]) if rows else None


def write_live(store: Store, record: LiveRecord) -> None:
    """Fix it, in place of what was fixed before; for use inside a transaction."""
    store.connection.execute("DELETE FROM live")
    store.connection.execute("DELETE FROM publications")
    store.connection.execute("DELETE FROM model_files WHERE purpose = 'live'")
    store.connection.execute(
        "INSERT INTO live VALUES (?, ?)", [json.dumps(dict(record.config)), record.run_id]
    )


def list_publications(store: Store) -> tuple[Publication, ...]:
    """What was published, oldest period first."""
    rows = store.rows("SELECT period, fit_key, stages, published FROM publications ORDER BY period")
    return tuple(Publication(row[0], row[1], json.loads(row[2]), row[3]) for row in rows)


def find_publication(store: Store, period: int) -> Publication | None:
    """What was published at a period; `None` where nothing was."""
    return next((one for one in list_publications(store) if one.period == period), None)


def newest_publication(store: Store) -> Publication | None:
    """The one that answers; `None` before the first."""
    published = list_publications(store)
    return published[-1] if published else None


def insert_publication(store: Store, publication: Publication) -> None:
    """Enter a publication, replacing one of the same period; for use inside a transaction."""
    store.connection.execute(
        "INSERT OR REPLACE INTO publications VALUES (?, ?, ?, ?)",
        [
            publication.period,
            publication.fit_key,
            json.dumps(dict(publication.stages)),
            publication.published,
        ],
    )
