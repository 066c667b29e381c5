"""What a change of the settings has done, as tables: a run beside another one."""

from replay.report.content import Entry, Table, headline_metrics, paired_table, tell
from replay.report.page import Section
from replay.run_comparison import RunComparison
from replay.summary import Json, Summary


def against_section(against: RunComparison, summary: Summary) -> Section:
    """Both tables, for the page."""
    return Section(
        f"Beside run {against.run}",
        " ".join(tell_against(against, summary)),
        against_tables(against, summary),
    )


def against_tables(against: RunComparison, summary: Summary) -> tuple[Table, ...]:
    """The paired differences, and the settings in which the runs differ."""
    metrics = headline_metrics(summary)
    changed = Table(
        title="Settings that differ",
        columns=("setting", "here", f"run {against.run}"),
        rows=tuple(
            (Entry(one.name), Entry(_plain(one.value)), Entry(_plain(one.other)))
            for one in against.changed
        ),
        num_remarks=2,
    )
    paired = paired_table(f"Difference from run {against.run}", against.differences, metrics)
    return (paired, changed) if changed.rows else (paired,)


def tell_against(against: RunComparison, summary: Summary) -> list[str]:
    """The first headline metric in sentences."""
    first = headline_metrics(summary)[:1]
    return [tell(one) for one in against.differences if first == ((one.metric, one.k),)]


def _plain(value: Json) -> str:
    if value is None:
        return "–"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
