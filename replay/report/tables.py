"""Tables and sentences of the reports, drawn by both the terminal and the page."""

from collections.abc import Iterable, Iterator, Sequence

from perennial.replay.analysis.evaluated_periods import describe_empty
from perennial.replay.analysis.summary import Difference, MeanFigure, RunSummary, baseline_of
from perennial.replay.report.drawing import Table, TableCell, make_row
from perennial.storage.results.cells import Figure

INTERVAL_NOTE = (
    "With the 95% interval of the paired difference, over users and seeds: the same users and"
    " periods on both sides. None from one seed of fits that draw at random."
)
"""Note of tables with intervals."""

HEADLINE: tuple[tuple[str, int | None], ...] = (
    ("HR", 10),
    ("nDCG", 10),
    ("HR", 100),
    ("PSP", 10),
    ("AUC", None),
)
"""Metrics of the short tables and the pictures, as far as a run has them."""


def metric_label(metric: str, k: int | None) -> str:
    """Return the name of a metric at k, such as `HR@10` or `AUC`."""
    return metric if k is None else f"{metric}@{k}"


def label_with_unit(metric: str, k: int | None) -> str:
    """Return the name of a metric at k with its unit, for the axis of a picture."""
    return metric_label(metric, k) + ("" if metric.startswith("AUC") else " (%)")


def format_value(metric: str, value: float, *, signed: bool = False) -> str:
    """Format a figure: areas under a curve with four digits, per cent with two."""
    digits = 4 if metric.startswith("AUC") else 2
    return f"{value:{'+' if signed else ''}.{digits}f}".replace("-", "−")


def format_figures(figures: Sequence[Figure], most: int = 4) -> str:
    """Format the first figures that have a value, such as `HR@10 9.26, nDCG@10 8.79`."""
    known = [(figure, figure.value) for figure in figures if figure.value is not None]
    return ", ".join(
        f"{metric_label(figure.metric, figure.k)} {format_value(figure.metric, value)}"
        for figure, value in known[:most]
    )


def format_seconds(seconds: float) -> str:
    """Format a duration, such as `8.4 s`, `3 min 20 s` or `2 h 05 min`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def format_bytes(count: int) -> str:
    """Format a size, such as `980 B`, `75 KiB`, `812 MiB` or `3.4 GiB`."""
    if 0 < count < 2**10:
        return f"{count} B"
    if count < 2**20:
        return f"{count / 2**10:.0f} KiB"
    return f"{count / 2**20:.0f} MiB" if count < 2**30 else f"{count / 2**30:.1f} GiB"


def headline_metrics(summary: RunSummary) -> tuple[tuple[str, int | None], ...]:
    """Return the headline metrics that a run has, or all its metrics if it has none of them."""
    known = tuple(dict.fromkeys((mean.metric, mean.k) for mean in summary.means))
    return tuple(one for one in HEADLINE if one in known) or known


def means_table(summary: RunSummary) -> Table:
    """Tabulate the mean over periods of each model and strategy, with the time of its refits."""
    metrics = headline_metrics(summary)
    means = {(m.model, m.strategy, m.metric, m.k): m for m in summary.means}
    shown = [one for one in summary.means if (one.metric, one.k) in metrics]
    remark = remark_on_periods(_covered_periods(summary, metrics))
    best = {
        # Means over other periods are not comparable.
        one: max((m.mean for m in shown if (m.metric, m.k) == one and not remark), default=None)
        for one in metrics
    }
    rows = []
    for model, strategy in chain_order(summary):
        entries = [_mean_cell(means.get((model, strategy, *one)), best[one]) for one in metrics]
        cells = [one for one in summary.cells if (one.model, one.strategy) == (model, strategy)]
        seconds = sum(sum(one.stages.values()) for one in cells) / len({one.seed for one in cells})
        rows.append(make_row(model, strategy, *entries, format_seconds(seconds)))
    return Table(
        title="Mean over the evaluated periods",
        columns=("model", "strategy", *(metric_label(*one) for one in metrics), "time"),
        rows=tuple(rows),
        num_labels=2,
        note=("Best in bold. " if not remark else f"{remark} ")
        + "± standard error over users and seeds; none from one seed of fits that draw at random."
        " Time: all refits of a seed and their evaluation.",
    )


def _covered_periods(
    summary: RunSummary, metrics: Sequence[tuple[str, int | None]]
) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Yield row, metric and periods of each mean; of each seed where seeds have other periods."""
    covered: dict[tuple[str, str], dict[int, set[int]]] = {}
    for one in summary.results:
        if one.value is not None and (one.metric, one.k) in metrics:
            key = f"{one.strategy} of {one.model}", metric_label(one.metric, one.k)
            covered.setdefault(key, {}).setdefault(one.seed, set()).add(one.eval_period)
    for (row, metric), by_seed in covered.items():
        sets = {seed: tuple(sorted(periods)) for seed, periods in by_seed.items()}
        if len(set(sets.values())) == 1:
            yield row, metric, next(iter(sets.values()))
        else:
            yield from ((f"{row}, seed {seed}", metric, one) for seed, one in sets.items())


def remark_on_periods(means: Iterable[tuple[str, str, tuple[int, ...]]]) -> str:
    """Return a sentence if means are over different periods, else an empty text.

    `means` are (row, metric, periods) of the figures that are shown side by side.
    """
    by_row: dict[str, dict[tuple[int, ...], list[str]]] = {}
    for row, metric, periods in means:
        by_row.setdefault(row, {}).setdefault(periods, []).append(metric)
    names: dict[tuple[int, ...], list[str]] = {}
    for row, metrics in by_row.items():
        for periods, labels in metrics.items():
            name = row if len(metrics) == 1 else f"{', '.join(labels)} of {row}"
            names.setdefault(periods, []).append(name)
    if len(names) < 2:
        return ""
    differ = len(set(map(len, names))) == len(names)
    parts = (
        f"{', '.join(names[one])} over {len(one) if differ else ', '.join(map(str, one))}"
        for one in sorted(names, key=len, reverse=True)
    )
    what = "numbers of periods" if differ else "periods"
    return f"Not comparable, as they are over different {what}: {'; '.join(parts)}."


def differences_table(summary: RunSummary) -> Table | None:
    """Tabulate differences from the baseline; `None` if there is nothing to compare."""
    if not summary.differences:
        return None
    baseline = summary.differences[0].baseline
    return paired_table(
        f"Difference from {baseline}",
        [(one.strategy, one) for one in summary.differences if one.baseline == baseline],
        headline_metrics(summary),
    )


def paired_table(
    title: str,
    named: Iterable[tuple[str, Difference]],
    metrics: Sequence[tuple[str, int | None]],
    heading: str = "strategy",
) -> Table:
    """Tabulate differences with intervals, a row per model and name, a column per metric."""
    by_key = {(one.model, name, one.metric, one.k): one for name, one in named}
    remark = remark_on_periods(
        (f"{name} of {model}", metric_label(metric, k), one.eval_periods)
        for (model, name, metric, k), one in by_key.items()
        if (metric, k) in metrics
    )
    known = any(one.low is not None for one in by_key.values())
    rows = []
    for model, name in dict.fromkeys((model, name) for model, name, _, _ in by_key):
        entries = [_difference_cell(by_key.get((model, name, *one)), known) for one in metrics]
        rows.append(make_row(model, name, *entries))
    return Table(
        title=title,
        columns=("model", heading, *(metric_label(*one) for one in metrics)),
        rows=tuple(rows),
        num_labels=2,
        note=" ".join(part for part in (INTERVAL_NOTE if known else "", remark) if part),
    )


def headline(summary: RunSummary) -> list[str]:
    """Return a sentence per model and strategy compared with a baseline, and per memory."""
    differences = describe_differences(summary, summary.differences)
    return [*limits(summary), *differences, *describe_memories(summary)]


def describe_memories(summary: RunSummary) -> list[str]:
    """Return a sentence per memory: its bytes beside those of the log that it stands for."""
    models: dict[tuple[str, int, int], list[str]] = {}
    for one in summary.costs:
        if one.memory_bytes:
            sizes = one.strategy, one.memory_bytes, one.log_bytes
            models.setdefault(sizes, []).append(one.model)
    return [
        f"With {' and '.join(names)}, the memory of {strategy} has {format_bytes(memory)} at the"
        f" last refit, the log that it stands for {format_bytes(log)}"
        f"{': it is larger than what it stands for' if memory > log else ''}."
        for (strategy, memory, log), names in models.items()
    ]


def limits(summary: RunSummary) -> list[str]:
    """Return sentences on periods that the figures do not cover."""
    last = summary.config.get("until_period")
    until = [] if last is None else [f"Only periods up to {last}; later ones are left out."]
    return [*until, *describe_empty(summary.evaluations)]


def describe_differences(summary: RunSummary, differences: Iterable[Difference]) -> list[str]:
    """Return a sentence per difference in the summary's first headline metric.

    Differences without an interval are named together in the last one.
    """
    first = headline_metrics(summary)[:1]
    shown = [one for one in differences if first == ((one.metric, one.k),)]
    sentences = [_describe_difference(one) for one in shown]
    unknown = [
        f"{one.strategy} and {one.baseline} with {one.model}"
        for one, sentence in zip(shown, sentences, strict=True)
        if sentence is None
    ]
    if unknown:
        names = "" if len(unknown) == len(shown) else f" Not compared: {'; '.join(unknown)}."
        sentences.append(
            "One seed of fits that draw at random, or a single user, shows no difference; give"
            f" more, such as --seed 0,1,2.{names}"
        )
    return [sentence for sentence in sentences if sentence is not None]


def _describe_difference(one: Difference) -> str | None:
    """Return a sentence on a difference; `None` if it has no interval."""
    if one.low is None or one.high is None:
        return None
    label = metric_label(one.metric, one.k)
    change = format_value(one.metric, abs(one.mean))
    low, high = (format_value(one.metric, end, signed=True) for end in (one.low, one.high))
    if one.low > 0 or one.high < 0:
        verb = "beats" if one.mean > 0 else "trails"
        text = f"{one.strategy} {verb} {one.baseline} by {change} points of {label}"
    else:
        text = f"{one.strategy} and {one.baseline} do not differ significantly in {label}"
    return f"With {one.model}, {text} (95% interval {low} to {high})."


def chain_order(summary: RunSummary) -> list[tuple[str, str]]:
    """Return (model, strategy) pairs, model by model, the baseline first."""
    pairs = list(dict.fromkeys((one.model, one.strategy) for one in summary.cells))
    models = list(dict.fromkeys(model for model, _ in pairs))
    strategies = list(dict.fromkeys(strategy for _, strategy in pairs))
    baseline = baseline_of(strategies) if strategies else ""
    strategies.sort(key=lambda strategy: strategy != baseline)
    return sorted(pairs, key=lambda pair: (models.index(pair[0]), strategies.index(pair[1])))


def _difference_cell(one: Difference | None, known: bool) -> TableCell:
    """Return the cell of a difference in a table in which some intervals are known, or none."""
    if one is None:
        return TableCell("–")
    text = format_value(one.metric, one.mean, signed=True)
    if one.low is None or one.high is None:
        return TableCell(text, "no interval" if known else "")
    low, high = (format_value(one.metric, end, signed=True) for end in (one.low, one.high))
    return TableCell(text, f"{low} to {high}")


def _mean_cell(mean: MeanFigure | None, best: float | None) -> TableCell:
    if mean is None:
        return TableCell("–")
    detail = "" if mean.stderr is None else f"± {format_value(mean.metric, mean.stderr)}"
    return TableCell(format_value(mean.metric, mean.mean), detail, best=mean.mean == best)
