"""∞-AE beside a straightforward dense implementation: `python -m benchmarks.infinite_ae_speed`.

Both do the same on the paper's split of ML-1M, in one process, in float32 and with the same number
of threads: the kernel matrix of 6,040 users, six λ evaluated by HR@100 on the validation items, the
best one fitted, all users' test items ranked by HR, nDCG and PSP at 10 and 100 and AUC. The dense
one takes its kernel from neural-tangents, solves for a dense α with LAPACK, scores validation and
test with two dense products per λ, and measures user by user in Python. Ours is the path that
`perennial replay` takes, which judges λ on 2,000 users; `--validation-users 0` judges it on all.

On a machine that others use, one core and `--clock processor` are better than the time of day:
`OPENBLAS_NUM_THREADS=1 taskset -c 0 python -m benchmarks.infinite_ae_speed --clock processor`.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.sparse import csr_array
from scipy.stats import rankdata

from benchmarks import DATA
from perennial.models import selection, solver
from perennial.models.base import FitOptions, Holdout, TrainingRows
from perennial.models.infinite_ae import exact_model, row_blocks
from perennial.models.infinite_ae.kernel import KernelSettings
from perennial.models.infinite_ae.recipe import InfiniteAE
from perennial.models.infinite_ae.stax_kernel import stax_values
from perennial.replay.evaluate import evaluate
from perennial.replay.metrics.psp import propensity_weights
from perennial.stream.evaluation import Evaluation
from perennial.stream.random_split import RandomSplit, read_paper_split

REGS = (0.5, 1.0, 5.0, 20.0, 50.0, 100.0)
CUTOFFS = (10, 100)


class Stopwatch:
    """Seconds by stage; a stage inside another counts for itself alone."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.seconds: dict[str, float] = defaultdict(float)
        self._inner: list[float] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what runs inside."""
        started = self._clock()
        self._inner.append(0.0)
        try:
            yield
        finally:
            spent = self._clock() - started
            self.seconds[name] += spent - self._inner.pop()
            if self._inner:
                self._inner[-1] += spent

    def wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed as a stage."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.stage(name):
                return function(*args, **kwargs)

        return timed

    @property
    def total(self) -> float:
        """All stages."""
        return sum(self.seconds.values())


Run = tuple[Stopwatch, float, dict[str, float]]
"""Seconds, the λ that was chosen, and the test figures."""


def run_dense(split: RandomSplit, watch: Stopwatch) -> tuple[float, dict[str, float]]:
    """The straightforward implementation: λ and the test figures."""
    settings = KernelSettings()
    rows = split.train.interactions.toarray()
    with watch.stage("kernel"):
        gram = stax_values(rows, None, settings)
        cross = stax_values(split.test.contexts.toarray(), rows, settings)
    judged = split.validation.users
    best: tuple[float, float, NDArray[np.float32]] | None = None
    for reg in REGS:
        with watch.stage("solve"):
            ridge = np.float32(reg * np.trace(gram) / len(gram))
            system = gram + ridge * np.eye(len(gram), dtype=np.float32)
            alpha = scipy.linalg.solve(system, rows, assume_a="pos", overwrite_a=True)
        with watch.stage("products, validation"):
            validation = gram[judged] @ alpha
        with watch.stage("products, test"):
            test = cross @ alpha
        with watch.stage("metrics"):
            score = measure_user_by_user(validation, split.validation)["HR@100"]
        if best is None or score > best[0]:
            best = (score, reg, test)
    assert best is not None
    with watch.stage("metrics"):
        return best[1], measure_user_by_user(best[2], split.test)


def measure_user_by_user(scores: NDArray[np.float32], asked: Evaluation) -> dict[str, float]:
    """The metrics as one writes them down: a sort and a loop per user."""
    weights = propensity_weights(asked.item_counts)
    sums: dict[str, float] = defaultdict(float)
    positives, negatives = [], []
    for user in range(len(scores)):
        seen = asked.contexts.indices[asked.contexts.indptr[user] : asked.contexts.indptr[user + 1]]
        liked = asked.targets.indices[asked.targets.indptr[user] : asked.targets.indptr[user + 1]]
        positives.append(scores[user, liked])
        negatives.append(scores[user, asked.negatives[user]])
        masked = scores[user].copy()
        masked[seen] = -np.inf
        order = np.argsort(-masked)
        wanted = set(liked.tolist())
        best_weights = sorted((weights[item] for item in liked), reverse=True)
        for k in CUTOFFS:
            reachable = min(k, len(wanted))
            hits, gain, ideal, found = 0, 0.0, 0.0, 0.0
            for rank, item in enumerate(order[:k].tolist()):
                if rank < len(wanted):
                    ideal += 1 / np.log2(rank + 2)
                if item in wanted:
                    hits += 1
                    gain += 1 / np.log2(rank + 2)
                    found += weights[item]
            sums[f"HR@{k}"] += 100 * hits / reachable
            sums[f"nDCG@{k}"] += 100 * gain / ideal
            sums[f"PSP@{k}"] += 100 * found / reachable / sum(best_weights[:reachable])
    figures = {name: total / len(scores) for name, total in sums.items()}
    liked_scores, other_scores = np.concatenate(positives), np.concatenate(negatives)
    ranks = rankdata(np.concatenate([liked_scores, other_scores]))[: len(liked_scores)]
    above = ranks.sum() - len(liked_scores) * (len(liked_scores) + 1) / 2
    figures["AUC"] = above / len(liked_scores) / len(other_scores)
    return figures


def run_ours(
    split: RandomSplit, watch: Stopwatch, validation_users: int | None
) -> tuple[float, dict[str, float]]:
    """The product's own path: λ and the test figures."""
    rows = TrainingRows.of_users(split.train)
    judged = split.validation
    some = np.arange(len(judged.users))
    if validation_users is not None:
        some = np.sort(np.random.default_rng(0).permutation(some)[:validation_users])
    targets: csr_array = judged.targets[some, : rows.num_items]
    held = Holdout(rows, judged.users[some].astype(np.int64), targets)
    recipe = InfiniteAE(regs=REGS)
    with _timed_stages(watch), watch.stage("the rest"):
        model = recipe.fit_with_holdout(held, rows, FitOptions(seed=0))
        with watch.stage("metrics"):
            results = evaluate(model, split.test)
    figures = {r.metric if r.k is None else f"{r.metric}@{r.k}": r.values.mean for r in results}
    return model.report["reg"], figures


@contextmanager
def _timed_stages(watch: Stopwatch) -> Iterator[None]:
    """Time the product's steps by their functions, from outside."""
    steps: list[tuple[str, Any, str]] = [
        ("kernel", exact_model, "gram_below"),
        ("kernel", exact_model, "cross_kernel"),
        ("solve", solver.LapackSystem, "factorise"),
        ("solve", solver.LapackFactor, "solve"),
        ("products", row_blocks.RowBlock, "combine"),
        ("metrics", selection, "validation_score"),
    ]
    with ExitStack() as stack:
        for name, owner, attribute in steps:
            timed = watch.wrap(name, getattr(owner, attribute))
            stack.enter_context(patch.object(owner, attribute, timed))
        # The rows of the inverse come from generators: time what makes each block.
        original = solver.LapackSystem.inverse_rows

        def inverse_rows(*args: Any) -> Iterator[Any]:
            blocks = original(*args)
            while True:
                with watch.stage("solve"):
                    block = next(blocks, None)
                if block is None:
                    return
                yield block

        stack.enter_context(patch.object(solver.LapackSystem, "inverse_rows", inverse_rows))
        scored = exact_model.FittedInfiniteAE.score_blocks

        def score_blocks(*args: Any) -> Iterator[Any]:
            blocks = scored(*args)
            while True:
                with watch.stage("the rest"):
                    block = next(blocks, None)
                if block is None:
                    return
                yield block

        stack.enter_context(
            patch.object(exact_model.FittedInfiniteAE, "score_blocks", score_blocks)
        )
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--repeats", type=int, default=1, help="the fastest of so many runs each")
    parser.add_argument(
        "--validation-users",
        type=int,
        default=InfiniteAE().validation_users,
        help="evaluate λ on so many users in ours; 0 means all",
    )
    parser.add_argument("--clock", choices=["wall", "processor"], default="wall")
    arguments = parser.parse_args()
    split = read_paper_split(arguments.data / "ml-1m-paper-split.parquet")
    clock = time.perf_counter if arguments.clock == "wall" else time.process_time
    ours: list[Run] = []
    dense: list[Run] = []
    for _ in range(arguments.repeats):
        watch = Stopwatch(clock)
        ours.append((watch, *run_ours(split, watch, arguments.validation_users or None)))
        watch = Stopwatch(clock)
        dense.append((watch, *run_dense(split, watch)))
    report(min(ours, key=lambda run: run[0].total), min(dense, key=lambda run: run[0].total))


def report(ours: Run, dense: Run) -> None:
    """Print stage by stage, the ratio, and what the metrics alone save."""
    console = Console(width=120)
    our_watch, our_reg, our_figures = ours
    dense_watch, dense_reg, dense_figures = dense
    table = Table(title="∞-AE on ML-1M, 6,040 users, six λ: seconds")
    for column in ("stage", "ours", "dense"):
        table.add_column(column, justify="right")
    for name in dict.fromkeys([*our_watch.seconds, *dense_watch.seconds]):
        cells = [
            f"{w.seconds[name]:.2f}" if name in w.seconds else "" for w in (our_watch, dense_watch)
        ]
        table.add_row(name, *cells)
    table.add_row("all", f"{our_watch.total:.2f}", f"{dense_watch.total:.2f}", style="bold")
    console.print(table)
    saved = dense_watch.total - our_watch.total
    by_metrics = dense_watch.seconds["metrics"] - our_watch.seconds["metrics"]
    lean = dense_watch.total - dense_watch.seconds["products, test"] * (1 - 1 / len(REGS))
    console.print(f"ours / dense: {our_watch.total / dense_watch.total:.3f}")
    console.print(
        f"the same with the test scored for the best λ only: {our_watch.total / lean:.3f}"
    )
    console.print(f"of the {saved:.1f} s saved the metrics alone save {by_metrics / saved:.0%}")
    console.print(f"λ: {our_reg:g} and {dense_reg:g}")
    for name, value in dense_figures.items():
        console.print(f"{name}: {our_figures[name]:.4f} and {value:.4f}")


if __name__ == "__main__":
    main()
