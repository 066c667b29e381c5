"""What a distillation takes as the catalogue grows: `python -m benchmarks.distill_memory`.

Random logs of the same users over more and more items, every item at least once, each distilled in
a fresh process by a few steps. The peak of the process, less what it held before, is set beside
b·μ + (μ + b)·|I| float32 numbers; the number of arrays of that size should not grow.
"""

import argparse
import json
import resource
import time

import jax
import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.sparse import csr_array

from benchmarks.scaling import run_child
from perennial.memory.distill.loop import distill
from perennial.memory.distill.settings import DistillSettings
from perennial.models.base import TrainingRows

SIZES = (4_000, 40_000, 400_000)


def random_log(num_users: int, num_items: int, per_user: int, seed: int) -> TrainingRows:
    """Binary rows, items by a power law; as long as it takes for every item to occur."""
    generator = np.random.default_rng(seed)
    per_user = max(per_user, -(-num_items // num_users))
    drawn = (num_items * generator.random(num_users * per_user) ** 2).astype(np.int64)
    drawn[:num_items] = generator.permutation(num_items)
    users = np.tile(np.arange(num_users), per_user)
    rows = csr_array((np.ones(len(users), np.float32), (users, drawn)), (num_users, num_items))
    rows.sum_duplicates()
    rows.data[:] = 1
    return TrainingRows(
        rows, np.ones(num_users), np.zeros(num_users, np.bool_), np.ones(num_users, np.int32)
    )


def peak_bytes() -> int:
    """The most this process held so far."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measure(num_items: int, settings: DistillSettings) -> dict[str, float]:
    """Distil once; bytes and seconds."""
    rows = random_log(2000, num_items, 50, seed=0)
    jax.block_until_ready(jax.numpy.zeros(8) + 1)
    before = peak_bytes()
    began = time.perf_counter()
    summary = distill(rows, settings, seed=0)
    seconds = time.perf_counter() - began
    device = jax.devices()[0].memory_stats() or {}
    return {
        "host": peak_bytes() - before,
        "device": device.get("peak_bytes_in_use", 0),
        "seconds": seconds,
        "synthetic_users": summary.num_rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", nargs="+", type=int, default=SIZES)
    parser.add_argument("--users", type=int, default=500, help="synthetic users")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    settings = DistillSettings(
        num_synthetic_users=arguments.users, num_steps=arguments.steps, regs=(1.0,)
    )
    if arguments.child is not None:
        print(json.dumps(measure(arguments.child, settings)))
        return
    table = Table(title=f"{jax.devices()[0]}, {arguments.users} synthetic users, b = 512")
    for column in ("items", "arrays of", "host GiB", "arrays", "device GiB", "seconds"):
        table.add_column(column, justify="right")
    for num_items in arguments.items:
        options = ("--users", arguments.users, "--steps", arguments.steps)
        found = run_child("distill_memory", *options, "--child", num_items)
        unit = 4 * (512 * arguments.users + (512 + arguments.users) * num_items)
        table.add_row(
            f"{num_items:,}",
            f"{unit / 2**20:,.0f} MiB",
            f"{found['host'] / 2**30:.2f}",
            f"{found['host'] / unit:.1f}",
            f"{found['device'] / 2**30:.2f}",
            f"{found['seconds']:.1f}",
        )
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
