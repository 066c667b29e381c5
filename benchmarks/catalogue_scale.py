"""A period over a large catalogue: `python -m benchmarks.catalogue_scale`.

Seeded periods of 50,000 users whose items follow a power law, over more and more items of which
nearly all occur, each distilled into 500 synthetic users and recommended from in a process of its
own: ∞-AE is fitted on the summary and recommends ten items for each of some users. Next to each are
the bare dense matrix products of as many steps in the same process, on as many items as fit, which
is what a step over whole rows cannot do without.
"""

import argparse
import json
import resource
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.sparse import csr_array

from benchmarks.scaling import power_law, run_child
from perennial.memory.distill.loop import distill
from perennial.memory.distill.settings import DistillSettings
from perennial.memory.distill.summary import DistillStep, Summary
from perennial.models.base import FitOptions, TrainingRows
from perennial.models.infinite_ae.recipe import InfiniteAE
from perennial.models.mvae.recipe import MVAE
from perennial.models.ranking import find_hits, hit_rate, top_items
from perennial.storage.errors import UserError

SIZES = (4_000, 40_000, 400_000, 1_000_000)

LIMIT = 16 * 2**30
"""Bytes that all of it is to take at most."""

_PRODUCT_ITEMS = 65_536
"""Items of the reference products; their time is proportional to the items."""


@dataclass(frozen=True)
class Period:
    """A seeded period.

    Attributes:
        rows: what the users did.
        targets: `(n, i)` one more item of each user, who does not have it in `rows`.
    """

    rows: TrainingRows
    targets: csr_array


@dataclass
class Clock:
    """When steps were made; a `DistillListener`."""

    at: list[float] = field(default_factory=list)
    judged: list[bool] = field(default_factory=list)

    def __call__(self, event: DistillStep) -> None:
        """Note the time; validations are apart."""
        self.at.append(time.perf_counter())
        self.judged.append(event.validation is not None)

    @property
    def step_seconds(self) -> float:
        """Mean from the first validation to the last, validations included.

        A compiled step is only known to have ended when the support is validated after it.
        """
        judged = [(at, step) for step, at in enumerate(self.at) if self.judged[step]]
        (first, before), (last, after) = judged[0], judged[-1]
        return (last - first) / (after - before) if after > before else float("nan")


def make_period(num_users: int, num_items: int, per_user: int, seed: int) -> Period:
    """Users of twenty tastes: half of what each does is of the taste, popularity by Zipf's law.

    The items of a taste are every twentieth. Each item is met at least once if there are enough
    interactions.
    """
    generator = np.random.default_rng(seed)
    tastes = min(20, num_items)
    sizes = np.maximum(2, generator.geometric(1 / per_user, num_users))
    users = np.repeat(np.arange(num_users), sizes)
    # Zipf's law with exponent 1, by its inverse: rank ~ |I|^u.
    drawn = np.minimum(num_items ** generator.random(len(users)), num_items - 1).astype(np.int64)
    own = generator.random(len(users)) < 0.5
    taste = generator.integers(0, tastes, num_users)[users]
    drawn[own] = np.minimum(drawn[own] // tastes * tastes + taste[own], num_items - 1)
    # Spread over the numbers, as items are numbered by first appearance and not by popularity.
    unmet = np.setdiff1d(np.arange(num_items), drawn)
    spare = generator.permutation(len(drawn))[: min(len(unmet), len(drawn) // 2)]
    drawn[spare] = unmet[: len(spare)]
    items = generator.permutation(num_items)[drawn]
    whole = csr_array(
        (np.ones(len(users), np.float32), (users, items)), shape=(num_users, num_items)
    )
    whole.sum_duplicates()
    whole.data[:] = 1
    last = np.zeros(whole.nnz, dtype=np.bool_)
    luck = generator.random(whole.nnz)
    lengths = np.diff(whole.indptr)
    order = np.lexsort((luck, np.repeat(np.arange(num_users), lengths)))
    last[order[whole.indptr[1:][lengths > 1] - 1]] = True
    return Period(TrainingRows(_select(whole, ~last), *_real(num_users)), _select(whole, last))


def _real(num_users: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.ones(num_users), np.zeros(num_users, np.bool_), np.ones(num_users, np.int32)


def _select(matrix: csr_array, entries: np.ndarray) -> csr_array:
    offsets = np.concatenate([[0], np.cumsum(entries)])[matrix.indptr].astype(np.int32)
    return csr_array((matrix.data[entries], matrix.indices[entries], offsets), shape=matrix.shape)


def recommend(summary: Summary, period: Period, users: int) -> tuple[float, float]:
    """∞-AE on the summary: HR@10 of the users' last items, and of the most popular ones."""
    rows = summary.rows
    of_summary = TrainingRows(
        rows, np.ones(len(_lengths(rows))), np.ones(rows.shape[0], bool), _real(rows.shape[0])[2]
    )
    reg = summary.report["reg"]
    model = InfiniteAE(reg=reg).fit(of_summary, FitOptions(seed=0, memory_limit=LIMIT))
    asked = np.flatnonzero(_lengths(period.targets))[:users]
    counts = np.bincount(period.rows.interactions.indices, minlength=rows.shape[1]).astype(
        np.float32
    )
    found, popular = [], []
    block = max(1, 2**24 // rows.shape[1])
    scored = model.score_blocks(period.rows.interactions[asked], block)
    for start, scores in zip(range(0, len(asked), block), scored, strict=True):
        some = asked[start : start + block]
        contexts, targets = period.rows.interactions[some], period.targets[some]
        for values, into in ((scores, found), (np.tile(counts, (len(some), 1)), popular)):
            hits = find_hits(top_items(values, contexts, 10, 0), targets)
            into.append(hit_rate(hits, _lengths(targets)))
    return 100 * float(np.concatenate(found).mean()), 100 * float(np.concatenate(popular).mean())


def _lengths(rows: csr_array) -> np.ndarray:
    return np.diff(rows.indptr)


def product_seconds(num_items: int, settings: DistillSettings, seed: int) -> float:
    """Seconds of the seven dense products of one step over whole rows, on as many items as fit."""
    generator = np.random.default_rng(seed)
    width = min(num_items, _PRODUCT_ITEMS)
    batch = generator.random((settings.batch_size, width), dtype=np.float32)
    support = generator.random((settings.num_synthetic_users, width), dtype=np.float32)
    shares = batch @ support.T
    gram = support @ support.T
    times = []
    for _ in range(3):
        began = time.perf_counter()
        # K(X, S), K(S, S), f, and their transposes: to W, to S twice, to S again.
        for left, right in (
            (batch, support.T),
            (support, support.T),
            (shares, support),
            (batch, support.T),
            (shares.T, batch),
            (shares.T, batch),
            (gram, support),
        ):
            left @ right
        times.append(time.perf_counter() - began)
    return statistics.median(times) * num_items / width


def measure(num_items: int, arguments: argparse.Namespace) -> dict[str, float]:
    """Make a period, distil it, recommend from the summary."""
    period = make_period(arguments.users, num_items, arguments.per_user, arguments.seed)
    settings = DistillSettings(
        num_synthetic_users=arguments.synthetic,
        num_steps=arguments.steps,
        validate_every=min(25, max(2, arguments.steps)),
    )
    products = product_seconds(num_items, settings, arguments.seed)
    clock = Clock()
    began, used = time.perf_counter(), time.process_time()
    summary = distill(period.rows, settings, arguments.seed, listener=clock)
    distilled, used = time.perf_counter(), time.process_time() - used
    ours, popular = recommend(summary, period, arguments.asked)
    return {
        "seconds": distilled - began,
        "processor": used,
        "start": clock.at[0] - began,
        "step": clock.step_seconds,
        "products": products,
        "recommending": time.perf_counter() - distilled,
        "peak": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "interactions": int(period.rows.interactions.nnz),
        "items_met": int(summary.report["items_used"]),
        "users_used": int(summary.report["users_used"]),
        "synthetic": summary.num_rows,
        "steps": int(summary.report["steps"]),
        "best_step": int(summary.report["best_step"]),
        "validation": summary.report["validation"] or float("nan"),
        "hit_rate": ours,
        "popular": popular,
    }


def say_of_mvae(num_items: int, users: int) -> str:
    """MVAE's refusal of such a period under the limit, before anything is allocated."""
    rows = csr_array((users, num_items), dtype=np.float32)
    try:
        MVAE(max_updates=1).fit(
            TrainingRows(rows, *_real(users)), FitOptions(seed=0, memory_limit=LIMIT)
        )
    except UserError as error:
        return str(error)
    return "trained"


def draw(found: dict[int, dict[str, float]], path: Path) -> None:
    """Distillation time against |I|."""
    import matplotlib.pyplot as plt

    sizes = list(found)
    figure, axes = plt.subplots(figsize=(7, 4.6), layout="constrained")
    for name, label, marker in (
        ("processor", "the whole distillation, processor time", "o"),
        ("seconds", "the same, wall time", "s"),
        ("products", "one step's dense products, wall time", "^"),
    ):
        values = [found[size][name] for size in sizes]
        power = f", ~|I|^{power_law(sizes, values)[0]:.2f}" if len(sizes) > 1 else ""
        style = "--" if name == "products" else "-"
        axes.plot(sizes, values, style, marker=marker, label=label + power)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("items |I|")
    axes.set_ylabel(f"seconds, {round(found[sizes[0]]['steps'])} steps")
    figure.legend(loc="outside upper center")
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=130)


def read_results(path: Path, options: Sequence[str]) -> dict[int, dict[str, float]]:
    """Results of an earlier call with the same options."""
    if not path.is_file():
        return {}
    kept = json.loads(path.read_text())
    if kept["options"] != list(options):
        sys.exit(f"{path} was measured with other options; name another file")
    return {int(size): measured for size, measured in kept["sizes"].items()}


def show(found: dict[int, dict[str, float]], console: Console) -> None:
    """The tables."""
    times = Table(title="distillation")
    for column in (
        *("items", "met", "interactions", "users", "steps", "start s", "a step s"),
        *("products s", "ratio", "whole s", "CPU s", "peak GiB"),
    ):
        times.add_column(column, justify="right")
    worth = Table(title="recommending from the summary, HR@10 of the users' last items")
    for column in ("items", "validation HR@100", "best step", "∞-AE", "popularity", "seconds"):
        worth.add_column(column, justify="right")
    for size, each in found.items():
        times.add_row(
            f"{size:,}",
            f"{each['items_met']:,}",
            f"{each['interactions']:,}",
            f"{each['users_used']:,}",
            f"{each['steps']}",
            f"{each['start']:.1f}",
            f"{each['step']:.2f}",
            f"{each['products']:.2f}",
            f"{each['step'] / each['products']:.2f}",
            f"{each['seconds']:.0f}",
            f"{each['processor']:.0f}",
            f"{each['peak'] / 2**30:.2f}",
        )
        worth.add_row(
            f"{size:,}",
            f"{each['validation']:.2f}",
            f"{each['best_step']}",
            f"{each['hit_rate']:.2f}",
            f"{each['popular']:.2f}",
            f"{each['recommending']:.1f}",
        )
    console.print(times)
    console.print(worth)


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", nargs="+", type=int, default=list(SIZES))
    parser.add_argument("--users", type=int, default=50_000)
    parser.add_argument("--per-user", type=int, default=60, help="interactions, in the mean")
    parser.add_argument("--synthetic", type=int, default=500, help="synthetic users")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--asked", type=int, default=500, help="users who are recommended to")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, help="a JSON file that sizes are added to")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Measure size by size."""
    arguments = parse(words)
    if arguments.child is not None:
        print(json.dumps(measure(arguments.child, arguments)))
        return
    names = ("users", "per_user", "synthetic", "steps", "asked", "seed")
    options = [
        word
        for name in names
        for word in (f"--{name.replace('_', '-')}", str(getattr(arguments, name)))
    ]
    console = Console(width=130)
    found = {} if arguments.results is None else read_results(arguments.results, options)
    for size in arguments.items:
        if size not in found:
            found[size] = run_child("catalogue_scale", *options, "--child", size)
            console.print(size, found[size])
        if arguments.results is not None:
            kept = {"options": options, "sizes": found}
            arguments.results.write_text(json.dumps(kept, indent=1))
    found = dict(sorted(found.items()))
    show(found, console)
    if len(found) > 1:
        power = power_law(list(found), [each["processor"] for each in found.values()])[0]
        console.print(f"processor seconds of a distillation grow as |I|^{power:.2f}")
    console.print(f"MVAE: {say_of_mvae(max(found), arguments.users)}")
    if arguments.plot:
        draw(found, arguments.plot)


if __name__ == "__main__":
    main()
