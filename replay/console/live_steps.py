"""What a person or a program is told of each step of live operation."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console

from replay.console.screen import describe_ingest, show_status
from replay.live.ingesting import Dropped, Step
from replay.live.keeper import PeriodDone
from replay.progress import Event, Listener, StageMessage
from replay.report.content import format_figures, format_seconds
from storage.erase import Erased
from storage.ingest import IngestReport
from storage.progress import Progress as Report


def describe_step(step: Step | Erased) -> str:
    """One line."""
    if isinstance(step, IngestReport):
        return describe_ingest(step)
    if isinstance(step, PeriodDone):
        return _describe_period(step)
    if isinstance(step, Dropped):
        return f"interactions up to period {step.last} dropped; the memory alone remembers them"
    return _describe_erased(step)


def step_to_json(step: Step | Erased) -> dict[str, Any]:
    """The same for a program."""
    if isinstance(step, IngestReport):
        return {
            "step": "ingested",
            "files": [path.name for path in step.paths],
            "periods": list(step.periods),
            **{
                name: getattr(step, name)
                for name in ("already_ingested", "lines", "interactions", "merged", "rejected")
            },
            "reject_reasons": dict(step.reject_reasons),
        }
    if isinstance(step, PeriodDone):
        return _period_to_json(step)
    if isinstance(step, Dropped):
        return {"step": "dropped", "last_period": step.last}
    # Not the identifier: what a program keeps of this must not bring it back.
    return {"step": "erased", **dataclasses.asdict(dataclasses.replace(step, user=""))}


@contextmanager
def show_stages(console: Console) -> Iterator[Listener]:
    """What judging and refitting are doing, on a line that is written over."""
    with show_files(console) as (_, listener):
        yield listener


@contextmanager
def show_files(console: Console) -> Iterator[tuple[Report, Listener]]:
    """The same for files that are read first: what is being read, then what is being done."""
    with show_status(console) as say:

        def read(what: str, done: int, total: int | None) -> None:
            say(what if not total else f"{what} ({100 * done // total}%)")

        def listen(event: Event) -> None:
            if isinstance(event, StageMessage):
                say(f"period {event.cell.fit_period}: {event.text}")

        yield read, listen


def _describe_period(done: PeriodDone) -> str:
    parts = []
    if done.judged is not None:
        figures = format_figures(done.judged.figures) or "nobody could be asked"
        parts.append(f"the model of period {done.judged.fit_period} judged on it: {figures}")
    if done.publication is not None:
        seconds = sum(done.publication.stages.values())
        parts.append(f"refitted and published in {format_seconds(seconds)}")
    return f"period {done.period}: {'; '.join(parts)}"


def _period_to_json(done: PeriodDone) -> dict[str, Any]:
    judged = None
    if done.judged is not None:
        judged = [
            {"metric": figure.metric, "k": figure.k, "value": figure.value}
            for figure in done.judged.figures
        ]
    published = None
    if done.publication is not None:
        published = {
            "fit_key": done.publication.fit_key,
            "stages": dict(done.publication.stages),
            "published": done.publication.published.isoformat(),
        }
    return {"step": "caught up", "period": done.period, "judged": judged, "published": published}


def _describe_erased(erased: Erased) -> str:
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
