"""What a change of the settings has done, as tables: a run beside another one."""

from replay.report.content import Entry, Table, headline_metrics, paired_table, tell_first
from replay.report.details import plain_value
from replay.report.page import Section
from replay.report.run_comparison import RunComparison
from replay.summary import Summary


def against_section(against: RunComparison, summary: Summary) -> Section:
    """Both tables, for the page."""
    return Section(
        f"Beside run {against.other_run}",
        " ".join(tell_against(against, summary)),
        against_tables(against, summary),
    )


def against_tables(against: RunComparison, summary: Summary) -> tuple[Table, ...]:
    """The paired differences, and the settings in which the runs differ."""
    metrics = headline_metrics(summary)
    changed = Table(
        title="Settings that differ",
        columns=("setting", "here", f"run {against.other_run}"),
        rows=tuple(
            (Entry(one.name), Entry(plain_value(one.here)), Entry(plain_value(one.there)))
            for one in against.changed
        ),
        num_remarks=2,
    )
    named = [(one.strategy, one) for one in against.differences]
    paired = paired_table(f"Difference from run {against.other_run}", named, metrics)
    return (paired, changed) if changed.rows else (paired,)


def tell_against(against: RunComparison, summary: Summary) -> list[str]:
    """The first headline metric in sentences."""
    over = f"Over the {against.num_periods} evaluated periods that both runs have:"
    return [over, *tell_first(summary, against.differences)]
