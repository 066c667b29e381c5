"""`status`: the state of a live store at a glance."""

import json
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from perennial.replay.cli.options import json_option, store_option
from perennial.replay.live.status import LiveStatus, MetricStatus
from perennial.replay.report.tables import format_bytes, format_value

_BARS = "▁▂▃▄▅▆▇█"
_PLAIN_BARS = "_.-=+*#@"
_MEMORIES = 5
"""Periods of the memory that are shown; the others are counted."""


def print_status(status: LiveStatus, console: Console) -> None:
    """The state of a store, as wide as the screen allows."""
    console.print(Text(status.store, style="bold", overflow="fold"))
    console.print(_facts(status))
    if status.metrics:
        console.print()
        console.print(_metrics(status.metrics, console))
    if status.memory:
        console.print()
        console.print(_memory(status, console))
    if status.strategy is None:
        console.print()
        console.print("nothing is live here; choose a model with `perennial init`", markup=False)


def sparkline(values: Sequence[float | None], width: int, bars: str = _BARS) -> str:
    """Values as bars between the least and the greatest; gaps are blank, the newest fit.

    Args:
        values: oldest first.
        width: signs at most, ≥ 1.
        bars: signs, lowest first.
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


def _facts(status: LiveStatus) -> Table:
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, text in (
        ("live", _live(status)),
        ("published", _published(status)),
        ("periods", _periods(status)),
        ("log", _log(status)),
        ("on disk", _disk(status)),
    ):
        if text:
            facts.add_row(name, Text.from_markup(text) if "[/" in text else Text(text))
    return facts


def _live(status: LiveStatus) -> str:
    if status.strategy is None:
        return ""
    return f"{status.model}, {status.strategy}, seed {status.seed}"


def _published(status: LiveStatus) -> str:
    if status.strategy is None:
        return ""
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


def _periods(status: LiveStatus) -> str:
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


def _log(status: LiveStatus) -> str:
    log = status.log
    held = "" if log.kept == log.interactions else f" ({log.kept:,} held)"
    return f"{log.interactions:,} interactions{held}, {log.users:,} users, {log.items:,} items"


def _disk(status: LiveStatus) -> str:
    return f"store {format_bytes(status.store_bytes)}, models {format_bytes(status.model_bytes)}"


def _metrics(metrics: Sequence[MetricStatus], console: Console) -> Table:
    """A line per metric: the periods as bars, the last value, the mean."""
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
            _figure(one.metric, values[-1]),
            _figure(one.metric, one.mean),
        )
    return table


def _memory(status: LiveStatus, console: Console) -> Table:
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


def _figure(metric: str, value: float | None) -> str:
    return "–" if value is None else format_value(metric, value)


# What is heavy is imported by the command that needs it, so that `--help` is quick.


@click.command()
@store_option("The store to look into.")
@json_option
def status(store: Path, as_json: bool) -> None:
    """Show what is live in a store, how current it is and how good it has been.

    Changes nothing, and works while another process writes.
    """
    from rich.console import Console

    pass
    from perennial.replay.live.status import read_status
    from perennial.replay.logs import open_for_reading

    with open_for_reading(store) as opened:
        found = read_status(opened)
    if as_json:
        click.echo(json.dumps(found.to_json(), allow_nan=False))
    else:
        print_status(found, Console())
