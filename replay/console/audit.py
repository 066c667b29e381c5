"""What `perennial memory audit` prints."""

from rich.console import Console
from rich.table import Table

from memory.audit import LEVELS, percentiles
from replay.auditing import Audit


def print_audit(audit: Audit, console: Console) -> None:
    """Both questions, their figures, and what they do not say."""
    record = audit.record
    stretch = (
        f"period {record.period}"
        if record.first_period == record.period
        else f"periods {record.first_period}–{record.period}"
    )
    sampled = "" if audit.users == audit.users_given else f", a sample of {audit.users_given:,}"
    console.print(
        f"{record.num_rows:,} synthetic users of {stretch}, seed {record.seed}, beside "
        f"{audit.users:,} real ones{sampled}\n"
    )
    console.print(_nearness(audit))
    console.print(
        f"{100 * audit.nearness.nearer_than_real:.1f}% of the synthetic users come nearer to a "
        "real user than 95% of the real ones do.\n"
    )
    console.print(_membership(audit))
    console.print(
        f"A summary of {audit.half:,} synthetic users was made of one half of the users, and the "
        "halves told apart by the distance to it. 0.5 is a coin. This is one simple attack: a "
        "better one may tell more, and no figure here is a promise of privacy."
    )


def _nearness(audit: Audit) -> Table:
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


def _membership(audit: Audit) -> Table:
    table = Table(title="Who was in the log?", title_justify="left", box=None, header_style="bold")
    for name in ("told by", "AUC", "95% interval"):
        table.add_column(name, no_wrap=True)
    for test in audit.membership:
        table.add_row(test.similarity, f"{test.auc:.3f}", f"{test.low:.3f} to {test.high:.3f}")
    return table
