"""Item blocks beside whole rows: `python -m benchmarks.item_blocks`.

Where `problem` should change from the one to the other: seeded periods of more and more items
and users, and on the same task a stretch of steps with the judgement after it, either way in turn.
"""

import argparse
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from benchmarks.catalogue_scale import make_period
from perennial.memory.distill.blocked import BlockedOptimisation
from perennial.memory.distill.dense import DenseOptimisation, Optimisation
from perennial.memory.distill.problem import DistillationProblem
from perennial.memory.distill.settings import DistillSettings
from perennial.models.holdout import hold_out

ITEMS = (8_000, 16_000, 32_000, 64_000)
USERS = (2_500, 30_000)


@dataclass(frozen=True)
class Found:
    """What a size took.

    Attributes:
        rows: seconds of a stretch over whole rows.
        blocks: of the same in item blocks.
        takes_blocks: whether a distillation of this size takes blocks on this machine.
    """

    rows: float
    blocks: float
    takes_blocks: bool


def measure(num_items: int, num_users: int, arguments: argparse.Namespace) -> Found:
    """Medians over the rounds; a stretch before them compiles."""
    period = make_period(num_users, num_items, arguments.per_user, arguments.seed)
    held = hold_out(period.rows, arguments.seed, max_users=arguments.judged)
    task = DistillationProblem.of(
        held, DistillSettings(num_synthetic_users=arguments.synthetic), arguments.seed
    )
    stretches = [
        _stretches(way(task), arguments.steps) for way in (DenseOptimisation, BlockedOptimisation)
    ]
    rounds = [[next(one) for one in stretches] for _ in range(1 + arguments.rounds)]
    rows, blocks = (statistics.median(taken) for taken in zip(*rounds[1:], strict=True))
    return Found(rows, blocks, task.in_blocks)


def _stretches(work: Optimisation, num_steps: int) -> Iterator[float]:
    """Seconds of so many steps and a judgement, again and again."""
    step = 0
    while True:
        began = time.perf_counter()
        work.load_users(step)
        for _ in range(num_steps):
            work.step()
        step += num_steps
        # A compiled step is only known to have ended when the support is judged after it.
        work.validate(step)
        yield time.perf_counter() - began


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", nargs="+", type=int, default=list(ITEMS))
    parser.add_argument("--users", nargs="+", type=int, default=list(USERS))
    parser.add_argument("--per-user", type=int, default=100, help="interactions, in the mean")
    parser.add_argument("--synthetic", type=int, default=500, help="synthetic users")
    parser.add_argument("--judged", type=int, default=1_000, help="users who are held out")
    parser.add_argument("--steps", type=int, default=10, help="of a stretch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Measure size by size."""
    arguments = parse(words)
    console = Console(width=100)
    table = Table(title=f"seconds of {arguments.steps} steps and a judgement")
    for column in ("users", "items", "whole rows", "item blocks", "ratio", "taken here"):
        table.add_column(column, justify="right")
    for users in arguments.users:
        for items in arguments.items:
            found = measure(items, users, arguments)
            ratio = f"{found.rows / found.blocks:.2f}"
            seconds = f"{found.rows:.2f}", f"{found.blocks:.2f}"
            taken = "blocks" if found.takes_blocks else "rows"
            table.add_row(f"{users:,}", f"{items:,}", *seconds, ratio, taken)
            console.print(f"{users:,} users, {items:,} items: {ratio}")
    console.print(table)


if __name__ == "__main__":
    main()
