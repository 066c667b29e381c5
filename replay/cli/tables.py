"""Results as tables and sentences on the terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from perennial.replay.report.drawing import print_table
from perennial.replay.report.tables import (
    differences_table,
    format_bytes,
    format_value,
    headline,
    means_table,
)
from perennial.storage.base import escape_controls

if TYPE_CHECKING:
    from perennial.replay.analysis.run_comparison import RunComparison
    from perennial.replay.analysis.summary import RunSummary
    from perennial.replay.live.status import LiveStatus, MetricStatus
    from perennial.replay.privacy_audit import Audit
    from perennial.replay.report.drawing import Table as ReportTable
    from perennial.replay.study.continual_report import StudyReport
    from perennial.replay.study.paper.report import StudyResults
    from perennial.replay.summaries import SummaryView


def print_summary(summary: "RunSummary", console: Console) -> None:
    """Print the tables of a run and its headline sentences."""
    means = means_table(summary) if summary.means else None
    _print_tables([means, differences_table(summary)], console)
    if summary.config["status"] not in ("finished", "live"):
        console.print("The run is not finished: means are over the periods that are there.")
    for sentence in headline(summary):
        console.print(sentence, markup=False, highlight=False)


def print_against(against: "RunComparison", summary: "RunSummary", console: Console) -> None:
    """Print how a run differs from another one, and the sentences about it."""
    from perennial.replay.report.run import comparison_tables, describe_comparison

    for table in comparison_tables(against, summary):
        console.print()
        print_table(table, console)
    for sentence in describe_comparison(against, summary):
        console.print(sentence, markup=False, highlight=False)


def print_study(report: "StudyReport", console: Console) -> None:
    """Print the tables and sentences of a study."""
    from perennial.replay.report import study_tables as made

    means = means_table(report.summary) if report.summary.means else None
    ranks = made.ranks_table(report) if report.ranks else None
    transfer = made.transfer_table(report) if report.transfer else None
    shown = [means, made.lead_table(report.summary), *made.confirmed_tables(report)]
    _print_tables([*shown, ranks, transfer, made.costs_table(report)], console)
    for sentence in made.findings(report):
        console.print(sentence, markup=False, highlight=False)


def _print_tables(tables: "Sequence[ReportTable | None]", console: Console) -> None:
    """Print the tables that have rows, with a blank line between them."""
    for place, table in enumerate(one for one in tables if one is not None and one.rows):
        if place:
            console.print()
        print_table(table, console)


def print_paper_study(results: "StudyResults", console: Console) -> None:
    """Print the tables and sentences of a study."""
    from perennial.replay.report.paper_tables import (
        choices_table,
        costs_table,
        figures_table,
        published_table,
        shares_table,
    )

    for make in (figures_table, published_table, shares_table, choices_table, costs_table):
        table = make(results)
        if table is not None:
            print_table(table, console)
            console.print()
    for sentence in results.study.describe(results.groups):
        console.print(sentence, markup=False, highlight=False)


def render_summaries(shown: "tuple[SummaryView, ...]") -> Table:
    """Make a table with a line for each summary."""
    table = Table(title="Summaries", title_justify="left", box=None, header_style="bold")
    table.add_column("period", no_wrap=True, min_width=6)
    # On a narrow screen the items give way, not the figures: the padded names are as wide as them.
    for name in ("seed", "users", "size    ", "its log ", "loss  ", "HR@100", "time  "):
        table.add_column(name.strip(), justify="right", no_wrap=True, min_width=len(name))
    table.add_column("most weighted items", overflow="ellipsis", no_wrap=True)
    for one in shown:
        record, report = one.record, one.record.report
        first = "" if record.first_period == record.period else f"{record.first_period}–"
        table.add_row(
            f"{first}{record.period}",
            str(record.seed),
            f"{record.num_rows:,}",
            format_bytes(record.stored_bytes),
            format_bytes(one.log_bytes),
            _figure(report.get("loss"), ".3g"),
            _figure(report.get("validation"), ".2f"),
            f"{_figure(report.get('seconds'), '.1f')} s",
            Text(escape_controls(", ".join(str(item.item) for item in one.items))),
        )
    return table


def describe_devices(shown: "tuple[SummaryView, ...]") -> str:
    """Describe the devices that made the summaries, the memory used there and their sizes."""
    devices = sorted({str(one.record.report.get("device", "unknown")) for one in shown})
    most = max(one.record.report.get("device_bytes", 0) for one in shown)
    stored = sum(one.record.stored_bytes for one in shown)
    larger = sum(one.record.stored_bytes > one.log_bytes for one in shown)
    remark = f"; {larger} of {len(shown)} larger than the log that they stand for"
    return (
        f"made on {', '.join(devices)} with up to {most / 2**20:.0f} MiB there; "
        f"{stored / 2**20:.1f} MiB stored{remark if larger else ''}"
    )


def _figure(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def print_audit(audit: "Audit", console: Console) -> None:
    """Print the two tests, their figures, and the limits of what they show."""
    from perennial.replay.privacy_audit import describe_periods

    record, first = audit.record, audit.first_compared
    periods = describe_periods(record.first_period, record.period)
    compared = ""
    if first > record.first_period:
        compared = (
            f" of {describe_periods(first, record.period)}. The log of "
            f"{describe_periods(record.first_period, first - 1)} is dropped: the other users that "
            "the summary stands for could not be compared, and nothing below is about them"
        )
    sampled = "" if audit.users == audit.users_given else f", a sample of {audit.users_given:,}"
    console.print(
        f"{record.num_rows:,} synthetic users of {periods}, seed {record.seed}, next to "
        f"{audit.users:,} real ones{sampled}{compared}\n"
    )
    console.print(_nearness(audit))
    console.print(
        f"{100 * audit.nearness.nearer_than_real:.1f}% of the synthetic users come nearer to a "
        "real user than 95% of the real ones do.\n"
    )
    tests = Table(title="Who was in the log?", title_justify="left", box=None, header_style="bold")
    for name in ("measured by", "AUC", "95% interval"):
        tests.add_column(name, no_wrap=True)
    for test in audit.membership:
        tests.add_row(test.similarity, f"{test.auc:.3f}", f"{test.low:.3f} to {test.high:.3f}")
    console.print(tests)
    console.print(
        f"A summary of {audit.half:,} synthetic users was made of one half of the users"
        f"{', period by period as the stored one' if audit.is_rolling else ''}, and the "
        "halves were distinguished by the distance to it. 0.5 is chance. The interval is over "
        "other users, not over other halves or summaries. This is one simple attack: a better one "
        "may find more, and no figure here is a promise of privacy."
    )


def _nearness(audit: "Audit") -> Table:
    from perennial.memory.privacy import LEVELS, percentiles

    table = Table(
        title="Jaccard similarity to the nearest user",
        title_justify="left",
        box=None,
        header_style="bold",
    )
    table.add_column("percentile", no_wrap=True)
    for level in LEVELS:
        table.add_column(str(level), justify="right", no_wrap=True)
    rows = {
        "synthetic to real": audit.nearness.synthetic,
        "real to another half": audit.nearness.real,
    }
    for name, values in rows.items():
        table.add_row(name, *(f"{value:.3f}" for value in percentiles(values)))
    return table


_BARS = "▁▂▃▄▅▆▇█"
_PLAIN_BARS = "_.-=+*#@"
_MEMORIES = 5
"""Periods of the memory that are shown; the others are counted."""


def print_status(status: "LiveStatus", console: Console) -> None:
    """Print the state of a store, as wide as the screen."""
    console.print(Text(status.store, style="bold", overflow="fold"))
    console.print(_facts(status))
    if status.metrics:
        console.print()
        console.print(_metrics(status.metrics, console))
    for remark in status.remarks:
        console.print(remark, markup=False, highlight=False)
    if status.memory:
        console.print()
        console.print(_memory(status, console))
    if status.strategy is None:
        console.print()
        console.print("nothing is live here; choose a model with `perennial init`", markup=False)


def sparkline(values: Sequence[float | None], width: int, bars: str = _BARS) -> str:
    """Draw values as bars between the least and the greatest; gaps are blank.

    The oldest value comes first, the lowest bar too; at most `width` ≥ 1 values are drawn.
    """
    shown = list(values[-width:])
    there = [value for value in shown if value is not None]
    if not there:
        return " " * len(shown)
    low, span = min(there), max(there) - min(there)
    middle = bars[(len(bars) - 1) // 2]
    return "".join(
        " " if value is None
        else middle if span == 0
        else bars[round((value - low) / span * (len(bars) - 1))]
        for value in shown
    )  # fmt: skip


def _facts(status: "LiveStatus") -> Table:
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    log, size = status.log, format_bytes(status.store_bytes)
    held = "" if log.kept == log.interactions else f" ({log.kept:,} held)"
    counts = f"{log.interactions:,} interactions{held}, {log.users:,} users, {log.items:,} items"
    if status.strategy is not None:
        facts.add_row("live", Text(f"{status.model}, {status.strategy}, seed {status.seed}"))
        if status.why_default is not None:
            facts.add_row("by default", Text(f"{status.strategy}: {status.why_default}"))
        least = (status.config or {}).get("min_user_events")
        if least is not None:
            facts.add_row("fitted on", f"users with at least {least:,} interactions")
        facts.add_row("published", Text.from_markup(_published(status)))
    facts.add_row("periods", Text(_periods(status)))
    facts.add_row("log", Text(counts))
    if status.forget_log_after is not None:
        plural = "" if status.forget_log_after == 1 else "s"
        facts.add_row("log kept", f"newest {status.forget_log_after:,} period{plural}")
    if status.histories is not None:
        kept = status.histories
        facts.add_row(
            "histories",
            f"{kept.interactions:,} interactions of dropped periods, {format_bytes(kept.bytes)}; "
            f"{kept.items:,} items of a user at most",
        )
    if status.conditions is not None:
        facts.add_row("rows that count", Text(status.conditions))
    facts.add_row("on disk", Text(f"store {size}, models {format_bytes(status.model_bytes)}"))
    return facts


def _published(status: "LiveStatus") -> str:
    if status.published_period is None or status.published is None:
        # In an empty store there is nothing to catch up with.
        what = "perennial update" if status.periods else "perennial ingest"
        return f"[yellow]nothing yet[/]; `{what}` makes the first model"
    when = f"period {status.published_period}, {status.published:%Y-%m-%d %H:%M} UTC"
    behind = status.periods_behind
    if not behind:
        return f"{when}, [green]up to date[/]"
    return (
        f"{when}, [yellow]{behind} period{'s' if behind > 1 else ''} behind[/]; "
        "`perennial update` catches up"
    )


def _periods(status: "LiveStatus") -> str:
    if status.newest_period is None:
        return "none yet"
    count = f"{status.periods}, the newest is {status.newest_period}"
    if status.held_from == 1:
        return f"{count}; the interactions of all are held"
    if status.held_from is None or status.held_from > status.newest_period:
        return f"{count}; the interactions of none are held"
    if status.held_from == status.newest_period:
        return f"{count}; only its interactions are held"
    return f"{count}; interactions are held from {status.held_from} on"


def _metrics(metrics: "Sequence[MetricStatus]", console: Console) -> Table:
    """Make a table with a line per metric: the periods as bars, the last value, the mean."""
    periods = [one.period for one in metrics[0].values]
    table = _plain_table(console)
    table.add_column("metric", no_wrap=True)
    longest = max(len(one.values) for one in metrics)
    # What the three other columns take, and the gaps between.
    width = max(4, min(longest, console.width - 34))
    first = periods[-width] if len(periods) > width else periods[0]
    over = f"{first}–{periods[-1]}" if len(periods) > 1 else str(periods[0])
    table.add_column(over, no_wrap=True)
    table.add_column("last", justify="right", no_wrap=True)
    table.add_column("mean", justify="right", no_wrap=True)
    bars = _BARS if console.encoding.lower().startswith("utf") else _PLAIN_BARS
    for one in metrics:
        values = [value.value for value in one.values]
        table.add_row(
            one.label,
            Text(sparkline(values, width, bars), style="cyan"),
            _metric_value(one.metric, values[-1]),
            _metric_value(one.metric, one.mean),
        )
    return table


def _memory(status: "LiveStatus", console: Console) -> Table:
    table = _plain_table(console)
    table.add_column("memory", no_wrap=True)
    for name in ("rows", "weights", "size"):
        table.add_column(name, justify="right", no_wrap=True)
    shown = status.memory[-_MEMORIES:]
    if len(shown) < len(status.memory):
        earlier = status.memory[:-_MEMORIES]
        table.add_row(
            f"{len(earlier)} earlier",
            f"{sum(one.rows for one in earlier):,}",
            f"{sum(one.entries for one in earlier):,}",
            format_bytes(sum(one.bytes for one in earlier)),
            style="dim",
        )
    for one in shown:
        table.add_row(str(one.period), f"{one.rows:,}", f"{one.entries:,}", format_bytes(one.bytes))
    return table


def _plain_table(console: Console) -> Table:
    gap = 2 if console.width >= 50 else 1
    return Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="dim")


def _metric_value(metric: str, value: float | None) -> str:
    return "–" if value is None else format_value(metric, value)
