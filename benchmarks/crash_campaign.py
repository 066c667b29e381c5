"""Kill a live store's process again and again: `python -m benchmarks.crash_campaign --kills 300`.

Small live stores are set up, fed with period files, and made to forget. One command of that is
killed by SIGKILL, at a point or a moment after it. Then the store must open, hold all that was
committed and nothing partial; and once the same commands have been given again, every summary,
model, figure and key must be that of the undisturbed run, to the bit. A process that is killed
loses nothing that it has handed to the operating system: a loss of power is not tried here.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from benchmarks.crash.campaign import Campaign, Outcome, run_campaign
from benchmarks.crash.points import ALL_PHASES
from benchmarks.crash.scenario import SCENARIOS


def make_table(campaign: Campaign) -> Table:
    """Kills by phase."""
    table = Table(box=None)
    for name in ("phase", "points", "kills", "survived", "findings"):
        table.add_column(name, justify="left" if name == "phase" else "right")
    points = Counter(point.phase for point in campaign.points.values())
    for phase in [*sorted(ALL_PHASES), "all"]:
        some = [one for one in campaign.outcomes if phase in ("all", one.kill.phase)]
        bad = sum(bool(one.faults) for one in some)
        number = sum(points.values()) if phase == "all" else points[phase]
        table.add_row(
            phase,
            f"{number:,}",
            f"{sum(one.killed for one in some):,}",
            f"{len(some) - bad:,}",
            f"{bad:,}",
        )
    return table


def describe(outcome: Outcome) -> str:
    """One finding, with what repeats it."""
    kill = outcome.kill
    place = f"{kill.place.scenario}, command {kill.place.step}, point {kill.place.point}"
    late = f" and {1000 * kill.delay:.2f} ms" if kill.delay else ""
    return f"--only {kill.number} ({kill.phase}; {place}, {outcome.label}{late}): " + "; ".join(
        outcome.faults
    )


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="processes that kill at a time")
    parser.add_argument("--scenario", choices=tuple(SCENARIOS), action="append", help="repeatable")
    parser.add_argument("--only", type=int, metavar="N", help="make the one kill of this number")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    start = time.perf_counter()
    screen = Console(stderr=True)
    columns = (TextColumn("kills"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with tempfile.TemporaryDirectory() as folder, Progress(*columns, console=screen) as progress:
        bar = progress.add_task("", total=None)

        def done(total: int, outcome: Outcome | None) -> None:
            progress.update(bar, total=total, advance=0 if outcome is None else 1)
            if outcome is not None and outcome.faults:
                screen.print(describe(outcome), markup=False, highlight=False)
            made = int(progress.tasks[bar].completed)
            if not screen.is_terminal and made and made % 25 == 0:
                screen.print(f"{made} kills of {total}", highlight=False)

        campaign = run_campaign(
            Path(folder),
            arguments.kills,
            arguments.seed,
            arguments.workers,
            scenarios=tuple(arguments.scenario or SCENARIOS),
            only=arguments.only,
            done=done,
        )
    show(campaign, time.perf_counter() - start, arguments)
    # Whoever asks for less than everything knows that some phases are left out.
    missed = campaign.missed if arguments.only is None and not arguments.scenario else ()
    if missed:
        screen.print(f"nobody was killed in: {', '.join(missed)}")
    sys.exit(1 if campaign.findings or missed or not campaign.outcomes else 0)


def show(campaign: Campaign, seconds: float, arguments: argparse.Namespace) -> None:
    """Print what came out of it."""
    if arguments.json:
        points = Counter(point.phase for point in campaign.points.values())
        outcomes = [asdict(one) for one in campaign.outcomes]
        told = {"seed": arguments.seed, "seconds": seconds, "points": points, "kills": outcomes}
        print(json.dumps(told, indent=1))
        return
    console = Console(width=110)
    console.print(make_table(campaign))
    console.print(f"seed {arguments.seed}; {seconds:,.0f} s in all", highlight=False)
    for one in campaign.findings:
        console.print(describe(one), markup=False, highlight=False)
    if campaign.findings:
        console.print(
            f"again: python -m benchmarks.crash_campaign --kills {arguments.kills} "
            f"--seed {arguments.seed} --only NUMBER",
            markup=False,
            highlight=False,
        )


if __name__ == "__main__":
    main()
