"""A study on the terminal."""

from rich.console import Console

from replay.report.study_tables import (
    confirmed_tables,
    costs_table,
    findings,
    lead_table,
    ranks_table,
    transfer_table,
)
from replay.report.tables import render_means, render_table
from replay.study.results import StudyReport


def print_study(report: StudyReport, console: Console) -> None:
    """The tables of a study and what they say."""
    console.print(render_means(report.summary, console.width))
    lead = lead_table(report.summary)
    tables = [*([lead] if lead.rows else []), *confirmed_tables(report), ranks_table(report)]
    if report.transfer:
        tables.append(transfer_table(report))
    tables.append(costs_table(report))
    for table in tables:
        console.print()
        console.print(render_table(table, console.width))
    for sentence in findings(report):
        console.print(sentence, markup=False, highlight=False)
