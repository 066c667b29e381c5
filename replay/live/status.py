"""Status of a store: its live model, how current it is, and its figures so far."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from perennial.replay.analysis.evaluated_periods import count_users, describe_empty
from perennial.replay.live.setup import live_names
from perennial.replay.report.tables import HEADLINE, metric_label, remark_on_periods
from perennial.replay.strategies.base import DistillingStrategy
from perennial.replay.strategies.registry import make_strategy
from perennial.storage.base import Json
from perennial.storage.log.ledger import read_settings
from perennial.storage.log.periods import PeriodSummary, first_retained_period, list_periods
from perennial.storage.reading.filters import describe_conditions
from perennial.storage.reading.settings import DEFAULT_SETTINGS
from perennial.storage.results.cells import read_cells, read_evaluated_users
from perennial.storage.results.publications import LiveRecord, newest_publication, read_live
from perennial.storage.results.summaries import list_summaries
from perennial.storage.store import Store

# User, item and time of an interaction.
_EVENT_BYTES = 16


@dataclass(frozen=True)
class PeriodValue:
    """Figure of an evaluated period; `value` is `None` if no user has a weight."""

    period: int
    value: float | None


@dataclass(frozen=True)
class MetricStatus:
    """Figures of a metric of the live model over the periods, oldest first, and their mean."""

    metric: str
    k: int | None
    label: str
    values: tuple[PeriodValue, ...]
    mean: float | None


@dataclass(frozen=True)
class MemoryStatus:
    """Size of a summary in the store, of the newest period that it stands for."""

    period: int
    rows: int
    entries: int
    bytes: int


@dataclass(frozen=True)
class LogStatus:
    """Numbers of interactions ever ingested, of those retained, of users and of items."""

    interactions: int
    kept: int
    users: int
    items: int


@dataclass(frozen=True)
class HistoriesStatus:
    """Interactions of dropped periods that are kept: the newest items of each user."""

    items: int
    interactions: int
    bytes: int


@dataclass(frozen=True)
class LiveStatus:
    """Status of a store.

    Attributes:
        strategy: of the live configuration; `None` without one, as the next three.
        config: the whole live configuration.
        newest_period: `None` in an empty store.
        published_period: newest period that the published model has seen; `None` without one.
        published: time of the publication, UTC, without a zone.
        periods_behind: number of periods that the published model has not seen; 0 without a live
            model.
        held_from: first period whose interactions are retained; `None` in an empty store.
        metrics: of the live run so far, those of the short reports.
        memory: summaries of the strategy, by period.
        model_bytes: of all files of fitted models.
        remarks: sentences on periods without figures.
        conditions: options that decide which rows of files count; `None` if all do.
        forget_log_after: number of newest periods whose interactions are retained; `None` if all.
        histories: `None` if none are kept.
        why_default: reason for a strategy that was not given.
    """

    store: str
    strategy: str | None
    model: str | None
    seed: int | None
    config: Mapping[str, Json] | None
    periods: int
    newest_period: int | None
    published_period: int | None
    published: datetime | None
    periods_behind: int
    held_from: int | None
    metrics: tuple[MetricStatus, ...]
    memory: tuple[MemoryStatus, ...]
    log: LogStatus
    model_bytes: int
    store_bytes: int
    remarks: tuple[str, ...] = ()
    conditions: str | None = None
    forget_log_after: int | None = None
    histories: HistoriesStatus | None = None
    why_default: str | None = None

    def to_json(self) -> dict[str, Json]:
        """Return plain values; the time as ISO 8601 with its zone."""
        plain = dataclasses.asdict(self)
        if self.published is not None:
            plain["published"] = self.published.isoformat() + "+00:00"
        return plain


def read_status(store: Store) -> LiveStatus:
    """Read the status of a store, with or without a live model."""
    record = read_live(store)
    config = None if record is None else record.config
    strategy, model = (None, None) if record is None else live_names(store, record)
    publication = None if record is None else newest_publication(store)
    periods = list_periods(store)
    metrics = () if record is None else _metrics(store, record)
    seen = 0 if publication is None else publication.period
    return LiveStatus(
        store=str(store.path or "the store"),
        strategy=strategy,
        model=model,
        seed=None if config is None else config["seeds"][0],
        config=config,
        periods=len(periods),
        newest_period=periods[-1].period if periods else None,
        published_period=None if publication is None else publication.period,
        published=None if publication is None else publication.published,
        periods_behind=0 if record is None else sum(one.period > seen for one in periods),
        held_from=first_retained_period(store) if periods else None,
        metrics=metrics,
        conditions=describe_conditions(read_settings(store) or DEFAULT_SETTINGS) or None,
        remarks=() if record is None else _remarks(store, record, metrics),
        forget_log_after=None if record is None else record.forget_log_after,
        histories=_histories(record, periods),
        why_default=None if record is None else record.why_default,
        memory=() if config is None else _memory(store, config),
        log=LogStatus(
            interactions=sum(one.interactions for one in periods),
            kept=sum(one.kept for one in periods if not one.dropped),
            users=sum(one.new_users for one in periods),
            items=sum(one.new_items for one in periods),
        ),
        model_bytes=_bytes_in(store.models_folder),
        store_bytes=0 if store.path is None else store.path.stat().st_size,
    )


def _histories(
    record: LiveRecord | None, periods: Sequence[PeriodSummary]
) -> HistoriesStatus | None:
    items = 0 if record is None else record.keep_histories
    kept = sum(one.kept for one in periods if one.dropped)
    return HistoriesStatus(items, kept, _EVENT_BYTES * kept) if items or kept else None


def _bytes_in(folder: Path) -> int:
    """Return the bytes of a folder's files; a writer may remove some meanwhile."""
    total = 0
    for path in folder.glob("*"):
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def _metrics(store: Store, record: LiveRecord) -> tuple[MetricStatus, ...]:
    """Return the figures of the run by metric, those of the short reports."""
    values: dict[tuple[str, int | None], dict[int, float | None]] = {}
    for cell in read_cells(store, record.run_id):
        for figure in cell.figures:
            by_period = values.setdefault((figure.metric, figure.k), {})
            by_period[cell.eval_period] = figure.value
    statuses = []
    for metric, k in HEADLINE:
        by_period = values.get((metric, k), {})
        if not by_period:
            continue
        known = [value for value in by_period.values() if value is not None]
        statuses.append(
            MetricStatus(
                metric=metric,
                k=k,
                label=metric_label(metric, k),
                values=tuple(PeriodValue(*item) for item in sorted(by_period.items())),
                mean=sum(known) / len(known) if known else None,
            )
        )
    return tuple(statuses)


def _remarks(store: Store, record: LiveRecord, metrics: Sequence[MetricStatus]) -> tuple[str, ...]:
    """Return sentences on periods in which a metric has no value."""
    known = {
        one.label: tuple(value.period for value in one.values if value.value is not None)
        for one in metrics
    }
    if all(len(known[one.label]) == len(one.values) for one in metrics):
        return ()
    evaluated = read_evaluated_users(store, record.run_id).values()
    remark = remark_on_periods((label, "", periods) for label, periods in known.items())
    return (*describe_empty([count_users(one) for one in evaluated]), *([remark] if remark else []))


def _memory(store: Store, config: Mapping[str, Json]) -> tuple[MemoryStatus, ...]:
    """Return the newest summary of each period with the strategy's settings and seed."""
    summaries = [one for one in list_summaries(store) if one.seed == config["seeds"][0]]
    if not summaries:
        # Most strategies import SciPy or JAX.
        return ()
    name = config["strategies"][0]
    strategy = make_strategy(name, config["strategy_settings"].get(name))
    if not isinstance(strategy, DistillingStrategy):
        return ()
    # The store holds settings as JSON, in which tuples are lists.
    settings = json.loads(json.dumps(strategy.summary_settings))
    newest = {
        record.period: MemoryStatus(
            period=record.period,
            rows=record.num_rows,
            entries=record.num_entries,
            bytes=record.stored_bytes,
        )
        for record in summaries
        if record.settings == settings
    }
    return tuple(newest[period] for period in sorted(newest))
