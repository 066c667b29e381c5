"""Tables and sentences of the study of the strategies over the periods."""

from dataclasses import replace

import numpy as np

from perennial.replay.analysis.summary import RunSummary
from perennial.replay.analysis.transfer import Metric
from perennial.replay.report.drawing import Table, TableCell, make_row
from perennial.replay.report.tables import (
    chain_order,
    describe_differences,
    describe_memories,
    format_bytes,
    format_seconds,
    format_value,
    headline_metrics,
    limits,
    means_table,
    metric_label,
    paired_table,
    remark_on_periods,
)
from perennial.replay.study.continual_report import StudyReport

SUBJECT = "distill-cf"
"""Strategy that the findings are about, if a study has it."""

MAP_METRIC: Metric = ("HR", 100)
"""Metric of the heat maps; at k = 10, so few held-out users give little but noise."""


def findings(report: StudyReport) -> list[str]:
    """Describe the subject's differences from the others, and end with the strategy to take.

    Differences are those on the confirmation periods, if there are any.
    """
    summary = report.confirmed or report.summary
    subject = subject_of(summary)
    differences = (one for one in summary.differences if one.strategy == subject)
    sentences = describe_differences(summary, differences)
    if report.confirmed is not None and sentences:
        sentences.insert(0, f"On the periods from {report.confirm_from} on:")
    memories = describe_memories(report.summary)
    advice = " ".join(one.describe() for one in report.advice)
    return [*limits(report.summary), *sentences, *memories, *([advice] if advice else [])]


def subject_of(summary: RunSummary) -> str:
    """Return the strategy that is compared with each other one."""
    strategies = list(dict.fromkeys(one.strategy for one in summary.results))
    return SUBJECT if SUBJECT in strategies else strategies[-1]


def lead_table(summary: RunSummary) -> Table:
    """Tabulate the subject minus every other strategy with the same model."""
    subject = subject_of(summary)
    return paired_table(
        f"{subject} minus each other strategy",
        [(one.baseline, one) for one in summary.differences if one.strategy == subject],
        headline_metrics(summary),
        heading="minus",
    )


def ranks_table(report: StudyReport) -> Table:
    """Tabulate the mean rank over the periods, and the rank of the mean."""
    metrics = headline_metrics(report.summary)
    by_key = {(one.model, one.strategy, one.metric, one.k): one for one in report.ranks}
    remark = remark_on_periods(
        (one.model, metric_label(one.metric, one.k), one.eval_periods)
        for one in report.ranks
        if (one.metric, one.k) in metrics
    )
    best: dict[tuple[str, str, int | None], float] = {}
    for one in report.ranks:
        name = (one.model, one.metric, one.k)
        best[name] = min(one.rank, best.get(name, one.rank))
    rows = []
    for model, strategy in chain_order(report.summary):
        ranks = [by_key.get((model, strategy, *metric)) for metric in metrics]
        entries = [
            TableCell(
                f"{one.rank:.1f}",
                f"by mean {one.of_mean:g}",
                best=one.rank == best[model, one.metric, one.k],
            )
            if one
            else TableCell("–")
            for one in ranks
        ]
        rows.append(make_row(model, strategy, *entries))
    return Table(
        title="Rank",
        columns=("model", "strategy", *(metric_label(*one) for one in metrics)),
        rows=tuple(rows),
        num_labels=2,
        note="Rank among the strategies with the same model, 1 is the best: mean rank over the"
        " periods that they have in common, and next to it the rank of the mean over these."
        + (f" {remark}" if remark else ""),
    )


def costs_table(report: StudyReport) -> Table:
    """Tabulate the costs of each strategy."""
    costs = {(one.model, one.strategy): one for one in report.summary.costs}
    rows = []
    for model, strategy in chain_order(report.summary):
        one = costs[model, strategy]
        texts = (
            format_seconds(one.fit_seconds / max(1, one.num_refits)),
            format_seconds(one.fit_seconds),
            format_seconds(one.memory_seconds),
            f"{one.kept_rows:,}",
            f"{one.kept_interactions:,}",
            format_bytes(one.kept_bytes),
        )
        rows.append(make_row(model, strategy, *texts))
    columns = ("model", "strategy", "a fit", "fits", "memory", "kept rows", "interactions", "bytes")
    return Table(
        title="Cost",
        columns=columns,
        rows=tuple(rows),
        num_labels=2,
        note="Seconds of one seed over all periods. Models share the memory; its time is counted"
        " with the first. Kept: data of the past that the last refit needed, eight bytes an"
        " interaction and four a row of the memory, and the model of the period before if it was"
        " used. A memory that is made of the whole log in each period (policy whole) also needs"
        " the log.",
    )


def transfer_table(report: StudyReport) -> Table:
    """Tabulate backward transfer, forgetting and forward transfer."""
    by_key = {(one.model, one.strategy, one.metric, one.k): one for one in report.transfer}
    rows = []
    for model, strategy in dict.fromkeys((one.model, one.strategy) for one in report.transfer):
        entries = []
        for name in ("final", "backward", "forgetting", "forward"):
            for metric, k in (("nDCG", 10), MAP_METRIC):
                value = getattr(by_key[model, strategy, metric, k], name)
                signed = name == "backward"
                known = not np.isnan(value)
                entries.append(format_value(metric, value, signed=signed) if known else "–")
        rows.append(make_row(model, strategy, *entries))
    values = np.array([one.values for one in report.transfer])
    lost = (1 + np.flatnonzero(np.isnan(values).all(axis=(0, 1)))).tolist()
    numbers = ", ".join(map(str, lost))
    remark = f" No held-out user could be evaluated in period {numbers}; it is left out."
    labels = [
        f"{name} {metric_label(*metric)}"
        for name in ("last fit", "backward", "forgetting", "forward")
        for metric in (("nDCG", 10), MAP_METRIC)
    ]
    return Table(
        title="Forgetting and transfer",
        columns=("model", "strategy", *labels),
        rows=tuple(rows),
        num_labels=2,
        note="R[i, j]: the fit at period i on period j. Last fit: mean of R[T, j] over the periods"
        " it has seen. Backward transfer: mean of R[T, j] − R[j, j], below 0 if it has forgotten."
        " Forgetting: mean of the best R[i, j] of any fit since j, minus R[T, j]. Forward"
        " transfer: mean of R[j − 1, j] minus the value of a random order."
        + (remark if lost else ""),
    )


def confirmed_tables(report: StudyReport) -> tuple[Table, ...]:
    """Tabulate means and differences on the confirmation periods."""
    if report.confirmed is None:
        return ()
    since = f"from period {report.confirm_from} on"
    difference = f"{subject_of(report.confirmed)} minus each other strategy, {since}"
    tables = (
        replace(means_table(report.confirmed), title=f"Mean {since}"),
        replace(lead_table(report.confirmed), title=difference),
    )
    return tuple(table for table in tables if table.rows)
