"""Detailed tables of a run: refits, evaluated users, the log, time, and settings."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from perennial.replay.analysis.run import ListedRun, RunData, flatten
from perennial.replay.analysis.summary import RunSummary
from perennial.replay.report.drawing import Table, TableCell, make_row
from perennial.replay.report.tables import (
    chain_order,
    format_bytes,
    format_seconds,
    format_value,
    metric_label,
)
from perennial.storage.log.periods import PeriodSummary
from perennial.storage.results.cells import Cell

_MIN_SECONDS = 0.05
"""Seconds that a stage must take in a whole run to be shown."""


def fits_table(data: RunData) -> Table:
    """Tabulate rows, caps and chosen settings of the refits."""
    rows = []
    for (model, strategy), cells in _by_chain(data.cells).items():
        given = [cell.fit_report.get("rows_given") for cell in cells]
        used = [cell.fit_report.get("rows_used") for cell in cells]
        capped = sum(
            1 for g, u in zip(given, used, strict=True) if g is not None and u is not None and u < g
        )
        rows.append(
            make_row(
                model,
                strategy,
                _span(given),
                _span(used),
                f"{capped} of {len(cells)}" if capped else "none",
                _tally(cell.fit_report.get("reg") for cell in cells),
                _extent(cell.fit_report.get("epochs") for cell in cells),
            )
        )
    return Table(
        title="Refits",
        columns=("model", "strategy", "rows", "rows used", "capped", "λ chosen", "epochs"),
        rows=tuple(rows),
        num_labels=2,
        note="Rows from the first to the last period, epochs from the fewest to the most."
        " Capped: refits on a sample of the most recent users and of the rows that the memory"
        " replays, because of a row cap or the memory limit.",
    )


def evaluation_table(data: RunData) -> Table:
    """Tabulate the evaluated and skipped users of each period, and the targets out of reach."""
    rows = []
    for evaluated in sorted(data.evaluated_users.values(), key=lambda one: one.eval_period):
        counts = evaluated.counts
        targets = counts.get("targets", 0)
        unseen = counts.get("unseen_targets", 0) / targets if targets else 0.0
        rows.append(
            make_row(
                str(evaluated.eval_period),
                f"{len(evaluated.users):,}",
                f"{counts.get('skipped_users', 0):,}",
                f"{targets:,}",
                f"{100 * unseen:.1f}%",
                f"{counts.get('empty_contexts', 0):,}",
                f"{counts.get('masked_targets', 0):,}",
                f"{counts.get('dropped_context_items', 0):,}",
            )
        )
    return Table(
        title="Evaluated users",
        columns=(
            "period",
            "users",
            "skipped",
            "targets",
            "unseen items",
            "empty context",
            "masked",
            "context dropped",
        ),
        rows=tuple(rows),
        note="Skipped: users with too few interactions. Unseen items: share of the targets whose"
        " item is new to every model; they count as misses. Masked: targets left out because they"
        " are in the context. Context dropped: context items that are new to every model.",
    )


def periods_table(periods: Sequence[PeriodSummary]) -> Table:
    """Tabulate the log, period by period."""
    rows = [
        make_row(
            str(one.period),
            *(_moment(time, one.has_clock) for time in (one.first_time, one.last_time)),
            f"{one.interactions:,}",
            f"{one.users:,}",
            f"{one.items:,}",
            f"{one.new_users:,}",
            f"{one.new_items:,}",
        )
        for one in periods
    ]
    columns = ("period", "from", "to", "interactions", "users", "items", "new users", "new items")
    return Table(
        title="Log",
        columns=columns,
        rows=tuple(rows),
        note="Times in UTC." if all(one.has_clock for one in periods) else "",
    )


def timings_table(data: RunData) -> Table:
    """Tabulate seconds by stage, summed over periods and averaged over seeds, and peak memory."""
    chains = _by_chain(data.cells).items()
    stages = tuple(
        stage
        for stage in dict.fromkeys(stage for cell in data.cells for stage in cell.stages)
        if sum(cell.stages.get(stage, 0.0) for cell in data.cells) >= _MIN_SECONDS
    )
    rows = []
    for (model, strategy), cells in chains:
        seeds = len({cell.seed for cell in cells})
        sums = [sum(cell.stages.get(stage, 0.0) for cell in cells) / seeds for stage in stages]
        peak = max(cell.peak_rss_bytes for cell in cells)
        whole = sum(sum(cell.stages.values()) for cell in cells) / seeds
        texts = [*map(format_seconds, sums), format_seconds(whole), format_bytes(peak)]
        rows.append(make_row(model, strategy, *texts))
    return Table(
        title="Time and memory",
        columns=("model", "strategy", *stages, "all", "peak memory"),
        rows=tuple(rows),
        num_labels=2,
        note="Per seed. Prepare: building the evaluation, once per period for all strategies and"
        " models, and counted with the first of them. Peak memory: maximum of the process until"
        " then.",
    )


def period_tables(summary: RunSummary) -> list[Table]:
    """Tabulate every metric of the run, period by period, averaged over the seeds."""
    tables = []
    chains = chain_order(summary)
    for metric, k in dict.fromkeys((one.metric, one.k) for one in summary.results):
        by_key: dict[tuple[int, str, str], list[float]] = {}
        for one in summary.results:
            if (one.metric, one.k) == (metric, k) and one.value is not None:
                by_key.setdefault((one.eval_period, one.model, one.strategy), []).append(one.value)
        rows = []
        for period in sorted({key[0] for key in by_key}):
            means = [
                float(np.mean(by_key.get((period, *chain), [float("nan")]))) for chain in chains
            ]
            top = max((one for one in means if not np.isnan(one)), default=None)
            entries: list[str | TableCell] = [
                "–" if np.isnan(one) else TableCell(format_value(metric, one), best=one == top)
                for one in means
            ]
            rows.append(make_row(str(period), *entries))
        columns = ("period", *(f"{model} {strategy}" for model, strategy in chains))
        tables.append(Table(metric_label(metric, k), columns, tuple(rows)))
    return tables


def settings_rows(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the settings of a run as names and values, nested ones flattened."""
    rows: list[tuple[str, str]] = []
    for name, value in config.items():
        if name == "models":
            for model in value:
                text = ", ".join(f"{key} {plain_value(v)}" for key, v in model["settings"].items())
                rows.append((f"model {model['name']}", text or "defaults"))
        elif name == "versions":
            rows.extend((f"version of {key}", str(v)) for key, v in value.items())
        elif name == "memory_limit" and value is not None:
            rows.append(("memory limit", format_bytes(value)))
        elif isinstance(value, Mapping):
            rows.extend((key.replace("_", " "), plain_value(v)) for key, v in value.items())
        else:
            rows.append((name.replace("_", " "), plain_value(value)))
    return rows


def runs_table(runs: Sequence[ListedRun]) -> Table:
    """Tabulate the runs of a store, with the settings in which they differ."""
    settings = [_given_settings(one.run.config) for one in runs]
    values: dict[str, set[str]] = {}
    for name, value in (pair for one in settings for pair in one.items()):
        values.setdefault(name, set()).add(value)
    rows = []
    for one, given in zip(runs, settings, strict=True):
        config, started = one.run.config, f"{one.run.started:%Y-%m-%d %H:%M}"
        parts = [
            config.get("strategies", ()),
            [model["name"] for model in config.get("models", ())],
        ]
        parts.append([f"seed {seed}" for seed in config.get("seeds", ())])
        own = tuple(config.get("strategy_settings", ()))
        parts.append(
            f"{name}={value}"
            for name, value in given.items()
            if len(values[name]) > 1 or name.split(".")[0] in own
        )
        described = "; ".join(filter(None, map(", ".join, parts)))
        refits = f"{one.extent.num_cells}/{one.run.num_cells}"
        newest = str(one.extent.newest_period or "–")
        rows.append(make_row(str(one.run.run_id), refits, newest, one.status, started, described))
    return Table(
        title="Runs",
        columns=("run", "refits", "period", "status", "started", "settings"),
        rows=tuple(rows),
        num_remarks=3,
        note="Refits: done and planned. Period: the newest evaluated one. Times in UTC.",
    )


def _given_settings(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings of a run by dotted names, but for its strategies, models and seeds."""
    nested = {model["name"]: model["settings"] for model in config.get("models", ())}
    nested |= config.get("strategy_settings", {})
    named = ("strategies", "models", "seeds", "strategy_settings")
    nested |= {name: value for name, value in config.items() if name not in named}
    settings = {name: plain_value(value) for name, value in flatten(nested) if value is not None}
    if config.get("memory_limit"):
        settings["memory_limit"] = format_bytes(config["memory_limit"])
    return settings


def _by_chain(cells: Sequence[Cell]) -> dict[tuple[str, str], list[Cell]]:
    """Group cells by (model, strategy), model by model, in order of period."""
    by_key: dict[tuple[str, str], list[Cell]] = {}
    for cell in sorted(cells, key=lambda cell: cell.fit_period):
        by_key.setdefault((cell.model, cell.strategy), []).append(cell)
    models = list(dict.fromkeys(cell.model for cell in cells))
    return dict(sorted(by_key.items(), key=lambda entry: models.index(entry[0][0])))


def _span(values: Sequence[Any]) -> str:
    """Format the first and the last value, such as `600 → 5,400`; `–` if none is known."""
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    ends = dict.fromkeys(f"{value:,}" for value in (known[0], known[-1]))
    return " → ".join(ends)


def _extent(values: Iterable[Any]) -> str:
    """Format the smallest and the largest value, such as `20 to 180`; `–` if none is known."""
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    return " to ".join(dict.fromkeys(f"{value:,.0f}" for value in (min(known), max(known))))


def _tally(values: Iterable[Any]) -> str:
    """Format values with their counts, such as `5 (12×), 20 (4×)`; `–` if none is known."""
    counts = Counter(value for value in values if value is not None)
    if not counts:
        return "–"
    if len(counts) == 1:
        return f"{next(iter(counts)):g}"
    return ", ".join(
        f"{value:g}\N{NO-BREAK SPACE}({count}×)" for value, count in sorted(counts.items())
    )


def _moment(time: int, has_clock: bool) -> str:
    """Format a time of the log, or a line number if the log has no times."""
    if not has_clock:
        return f"line {time:,}"
    return datetime.fromtimestamp(time / 1e6, UTC).strftime("%Y-%m-%d %H:%M")


def plain_value(value: Any) -> str:
    """Format the value of a setting."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(plain_value(one) for one in value)
    return str(value)
