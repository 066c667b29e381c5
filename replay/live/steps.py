"""Steps of a live store, and what is printed of each."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perennial.replay.analysis.evaluated_periods import EvaluatedPeriod, describe_skipped
from perennial.replay.live.default_strategy import DefaultStrategy
from perennial.replay.report.tables import format_figures, format_seconds
from perennial.storage.log.ledger import IngestReport
from perennial.storage.log.rewrite import ErasedUser
from perennial.storage.reading.layout import FileLayout
from perennial.storage.results.cells import Cell
from perennial.storage.results.publications import Publication

# Above it only the first file of an ingestion is named.
_NAMED_FILES = 3


@dataclass(frozen=True)
class PeriodPublished:
    """A period that the live model has caught up with.

    Attributes:
        evaluated: figures of the model before it, if they were computed now.
        users: numbers of evaluated and skipped users, with `evaluated`.
        publication: of the model that has seen it; `None` where later periods make it unnecessary,
            or no user has enough interactions for a fit.
        new_strategy: default strategy that the publication is the first of, if it changed.
    """

    period: int
    evaluated: Cell | None
    users: EvaluatedPeriod | None
    publication: Publication | None
    new_strategy: DefaultStrategy | None = None


@dataclass(frozen=True)
class DroppedPeriods:
    """Periods whose interactions were dropped.

    Attributes:
        last: newest of these periods.
        keep_histories: number of newest items that are kept for each user.
    """

    last: int
    keep_histories: int = 0


Step = IngestReport | PeriodPublished | DroppedPeriods
"""A committed step of `ingest` or `update`."""


def describe_layouts(report: IngestReport) -> list[str]:
    """Describe how files were read, in one line for those read alike, with all remarks."""
    alike: dict[FileLayout, list[int]] = {}
    for number, layout in enumerate(report.layouts):
        alike.setdefault(dataclasses.replace(layout, rows=0, filtered=0), []).append(number)
    lines = []
    for layout, numbers in alike.items():
        name = _name_files([report.paths[number] for number in numbers], most=1)
        own = [report.layouts[number] for number in numbers]
        rows, filtered = sum(one.rows for one in own), sum(one.filtered for one in own)
        total = dataclasses.replace(layout, rows=rows, filtered=filtered)
        lines.append(f"{name}: {total.describe()}")
    return [*lines, *(f"note: {remark}" for remark in report.remarks)]


def readings_to_json(reports: Sequence[IngestReport]) -> dict[str, Any]:
    """Plain values of how files were read, for `--json`."""
    return {
        "read_as": [
            {"file": path.name, **layout.to_json()}
            for report in reports
            for path, layout in zip(report.paths, report.layouts, strict=False)
        ],
        "remarks": list(dict.fromkeys(one for report in reports for one in report.remarks)),
    }


def describe_ingest(report: IngestReport) -> str:
    """Describe an ingestion in one line."""
    names = _name_files(report.paths, _NAMED_FILES)
    where = _name_periods(report.periods)
    if report.already_ingested:
        return f"{names}: already in the store as {where}; nothing changed"
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in report.reject_reasons.items())
    return (
        f"{names}: {where}, {report.interactions:,} interactions from {report.lines:,} lines; "
        f"{report.merged:,} equal rows merged, {report.rejected:,} bad lines rejected"
        + (f" ({reasons})" if reasons else "")
        + (f"; {report.filtered:,} rows do not count" if report.filtered else "")
    )


def _name_files(paths: Sequence[Path], most: int) -> str:
    if len(paths) <= most:
        return ", ".join(path.name for path in paths)
    return f"{paths[0].name} and {len(paths) - 1:,} more"


def _name_periods(periods: Sequence[int]) -> str:
    if not periods:
        return "part of earlier periods"
    first, last = periods[0], periods[-1]
    if first == last:
        return f"period {first}"
    if len(periods) == last - first + 1:
        return f"periods {first} to {last}"
    return f"periods {', '.join(str(one) for one in periods[:-1])} and {last}"


def describe_step(step: Step | ErasedUser) -> str:
    """Describe a step in one line."""
    if isinstance(step, IngestReport):
        return describe_ingest(step)
    if isinstance(step, PeriodPublished):
        return _describe_period(step)
    if isinstance(step, DroppedPeriods):
        kept = f", except each user's last {step.keep_histories:,} items"
        return f"interactions up to period {step.last} dropped{kept if step.keep_histories else ''}"
    return _describe_erased(step)


def step_to_json(step: Step | ErasedUser) -> dict[str, Any]:
    """Plain values for `--json`."""
    if isinstance(step, IngestReport):
        return {
            "step": "ingested",
            "files": [path.name for path in step.paths],
            "periods": list(step.periods),
            **{
                name: getattr(step, name)
                for name in (
                    *("already_ingested", "lines", "interactions", "merged", "rejected"),
                    "filtered",
                )
            },
            "reject_reasons": dict(step.reject_reasons),
            **readings_to_json([step]),
        }
    if isinstance(step, PeriodPublished):
        return _period_to_json(step)
    if isinstance(step, DroppedPeriods):
        return {"step": "dropped", "last_period": step.last, "keep_histories": step.keep_histories}
    # Not the identifier: what a program keeps of this must not bring it back.
    return {"step": "erased", **dataclasses.asdict(dataclasses.replace(step, user=""))}


def _describe_period(done: PeriodPublished) -> str:
    parts = []
    if done.evaluated is not None:
        figures = format_figures(done.evaluated.figures)
        if not figures and done.users is not None:
            figures = f"nobody could be evaluated ({describe_skipped([done.users])})"
        parts.append(f"the model of period {done.evaluated.fit_period} evaluated on it: {figures}")
    if done.publication is not None:
        seconds = sum(done.publication.stages.values())
        parts.append(f"refitted and published in {format_seconds(seconds)}")
    if done.new_strategy is not None:
        parts.append(f"{done.new_strategy.name} is live now, since {done.new_strategy.reason}")
    if not parts:
        parts.append("no fit, since no user has enough interactions yet (--min-user-events)")
    return f"period {done.period}: {'; '.join(parts)}"


def _period_to_json(done: PeriodPublished) -> dict[str, Any]:
    evaluated = None
    if done.evaluated is not None:
        evaluated = [
            {"metric": figure.metric, "k": figure.k, "value": figure.value}
            for figure in done.evaluated.figures
        ]
    published, changed = None, done.new_strategy
    if done.publication is not None:
        published = {
            "fit_key": done.publication.fit_key,
            "stages": dict(done.publication.stages),
            "published": done.publication.published.isoformat(),
        }
    return {
        "step": "caught up",
        "period": done.period,
        "evaluated": evaluated,
        "users": None if done.users is None else dataclasses.asdict(done.users),
        "published": published,
        "new_strategy": None if changed is None else dataclasses.asdict(changed),
    }


def _describe_erased(erased: ErasedUser) -> str:
    text = (
        f"user erased: {erased.interactions:,} interactions from period {erased.first_period} on, "
        f"{erased.summaries} {'summary' if erased.summaries == 1 else 'summaries'}"
    )
    if erased.lost_periods:
        named = ", ".join(map(str, erased.lost_periods))
        text += (
            f"; what was remembered of period{'s' if len(erased.lost_periods) > 1 else ''} {named} "
            "is deleted and cannot be made again, its log is gone"
        )
    return text
