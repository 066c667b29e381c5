"""What ∞-AE on centres is worth beside the exact one: `python -m benchmarks.infinite_ae_centres`.

`split FILE`: a random split in the paper's form, where both fit. λ is chosen and all is judged as
`benchmarks.paper_split` does, exactly and on each number of centres. With `--steps` the last
centres are also solved by conjugate gradients with Falkon's preconditioner (Rudi, Carratino &
Rosasco, NIPS 2017), the whole catalogue at once, which says what one pass for A saves.

`log SOURCE`: the last period of a log, by the product's own protocol, after a fit of all users
before it (`joint`) under one memory limit: the exact solver takes the newest rows that fit, the one
on centres all of them. Each fit is a process of its own.

Differences are paired over users, with 95% intervals; time is the processor's. On a machine that
others use, `OPENBLAS_NUM_THREADS=1` keeps its threads from waiting for each other.
"""

import argparse
import json
import resource
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_array

from benchmarks.scaling import run_child
from perennial.models.base import FitOptions, Json, TrainingRows
from perennial.models.infinite_ae.fitted_nystrom import FittedNystromAE
from perennial.models.infinite_ae.nystrom import NormalEquations, blocks_of
from perennial.models.infinite_ae.recipe import InfiniteAE
from perennial.replay.evaluate import evaluate
from perennial.replay.logs import LogRequest, open_log
from perennial.replay.study.paper.rows import split_holdout
from perennial.storage.log.periods import list_periods
from perennial.stream.evaluation import Evaluation
from perennial.stream.history import History
from perennial.stream.next_period import ProtocolSettings, build_evaluation
from perennial.stream.random_split import RandomSplit, read_paper_split

METRICS = (("HR", 10), ("HR", 100), ("nDCG", 10), ("nDCG", 100))

Centres = int | None
"""m, or `None` for the exact solver."""


@dataclass(frozen=True)
class Judged:
    """One fit and what it is worth.

    Attributes:
        name: of the solver.
        values: metric and k -> `(users,)` per cent.
        seconds: of the processor, for the fit.
        peak: bytes of the process; 0 where it was not its own.
        report: of the fit.
    """

    name: str
    values: Mapping[tuple[str, int], NDArray[np.float64]]
    seconds: float
    peak: int
    report: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True)
class OnFeatures:
    """f(x) = φ(x)ᵀ γ for any γ, `(m, d)`."""

    equations: NormalEquations
    gamma: NDArray[np.float64]
    report: Mapping[str, Json] = field(default_factory=dict)

    @property
    def num_items(self) -> int:
        """The width of γ."""
        return int(self.gamma.shape[1])

    def score_blocks(self, contexts: csr_array, block_rows: int) -> Iterator[NDArray[np.float32]]:
        """In blocks of a tile, or shorter."""
        centres = self.equations.centres
        for start in range(0, contexts.shape[0], block_rows):
            block = contexts[start : start + block_rows]
            parts = [centres.features(part) @ self.gamma for _, part in blocks_of(block, centres)]
            yield np.concatenate(parts).astype(np.float32)


def name_of(centres: Centres) -> str:
    """For people."""
    return "exact" if centres is None else f"{centres:,} centres"


def values_of(model: Any, evaluation: Evaluation) -> dict[tuple[str, int], NDArray[np.float64]]:
    """Metric by metric, a value a user."""
    found = {(r.metric, r.k): r.values.values for r in evaluate(model, evaluation)}
    return {(metric, k): found[metric, k] for metric, k in METRICS}


def falkon(
    equations: NormalEquations, rows: TrainingRows, reg: float, steps: Sequence[int]
) -> Iterator[tuple[int, float, NDArray[np.float64]]]:
    """Conjugate gradients on (A + λ'I) γ = B without A, all columns at once.

    The preconditioner takes the centres for the rows: n/m Σ_C φφᵀ + λ'I = n/m LᵀL + λ'I.

    Yields:
        The steps so far, the seconds they took, and γ.
    """
    centres, ridge = equations.centres, reg * equations.mean_diagonal
    upper = np.triu(centres.factor)
    scale = float(rows.weights.sum()) / len(centres)
    preconditioner = cho_factor(scale * upper @ upper.T + ridge * np.eye(len(centres)))

    def apply(direction: NDArray[np.float64]) -> NDArray[np.float64]:
        product = ridge * direction
        for start, block in blocks_of(rows.interactions, centres):
            features = centres.features(block)
            weights = rows.weights[start : start + len(block), None]
            product += features.T @ (weights * (features @ direction))
        return product

    began = time.process_time()
    residual = equations.right.T.astype(np.float64)
    gamma = np.zeros_like(residual)
    solved = cho_solve(preconditioner, residual)
    direction, norms = solved, (residual * solved).sum(axis=0)
    for step in range(1, max(steps) + 1):
        product = apply(direction)
        curved = (direction * product).sum(axis=0)
        length = np.divide(norms, curved, out=np.zeros_like(norms), where=curved > 0)
        gamma += length * direction
        residual -= length * product
        solved = cho_solve(preconditioner, residual)
        last, norms = norms, (residual * solved).sum(axis=0)
        direction = solved + np.divide(norms, last, out=np.zeros_like(last), where=last > 0) * (
            direction
        )
        if step in steps:
            yield step, time.process_time() - began, gamma


def on_split(
    split: RandomSplit, centres: Sequence[Centres], steps: Sequence[int], console: Console
) -> list[Judged]:
    """Every solver on a split, λ by validation; then conjugate gradients on the last centres."""
    held = split_holdout(split)
    found, model = [], None
    for count in centres:
        began = time.process_time()
        model = InfiniteAE(centres=count).fit_with_holdout(held, held.training, FitOptions(seed=0))
        seconds = time.process_time() - began
        values = values_of(model, split.test)
        found.append(Judged(name_of(count), values, seconds, 0, model.report))
        console.print(f"{name_of(count)}: {seconds:.1f} s", style="dim", highlight=False)
    if not steps or not isinstance(model, FittedNystromAE):
        return found
    reg = float(model.report["reg"])
    began = time.process_time()
    direct = InfiniteAE(centres=centres[-1], reg=reg).fit(held.training, FitOptions(seed=0))
    console.print(f"the same centres and λ again: {time.process_time() - began:.1f} s in one pass")
    (wanted,) = direct.score_blocks(split.test.contexts[:500], 500)
    for step, seconds, gamma in falkon(model.equations, held.training, reg, steps):
        iterated = OnFeatures(model.equations, gamma)
        (scores,) = iterated.score_blocks(split.test.contexts[:500], 500)
        wrong = float(np.abs(scores - wanted).max() / np.abs(wanted).max())
        name = f"{step} steps of CG"
        found.append(Judged(name, values_of(iterated, split.test), seconds, 0, {"reg": reg}))
        console.print(f"{name}: {seconds:.1f} s, scores off by {wrong:.1e} of the largest")
    return found


def on_log(arguments: argparse.Namespace, console: Console) -> list[Judged]:
    """Every solver on the last period of a log, in processes of their own."""
    found = []
    for count in (None, *arguments.centres):
        words = ["log", arguments.source, "--store", arguments.store, "--cut", arguments.cut]
        words += ["--memory-limit", arguments.memory_limit]
        words += [] if arguments.reg is None else ["--reg", arguments.reg]
        words += ["--child", "exact" if count is None else count]
        told = run_child("infinite_ae_centres", *words)
        values = {
            metric: np.asarray(users)
            for metric, users in zip(METRICS, told.pop("values"), strict=True)
        }
        found.append(Judged(name_of(count), values, **told))
        means = ", ".join(f"{m}@{k} {users.mean():.2f}" for (m, k), users in values.items())
        console.print(
            f"{found[-1].name}: {found[-1].report['rows_used']:,} rows, {found[-1].seconds:.0f} s, "
            f"peak {found[-1].peak / 2**30:.2f} GiB, {means}",
            style="dim",
            highlight=False,
        )
    return found


def fit_on_log(arguments: argparse.Namespace) -> dict[str, Json]:
    """What a child tells: one solver on all users up to the last period but one, judged on it."""
    count = None if arguments.child == "exact" else int(arguments.child)
    request = LogRequest(arguments.source, arguments.store, arguments.cut, None, {})
    with open_log(request, cache=Path()) as log:
        period = list_periods(log.store)[-1].period - 1
        rows = TrainingRows.of_users(History(log.store, period).rows(first=1))
        evaluation = build_evaluation(log.store, period, ProtocolSettings(), seed=0)
    options = FitOptions(
        seed=0,
        memory_limit=arguments.memory_limit,
        progress=lambda text: print(text, file=sys.stderr),
    )
    began = time.process_time()
    model = InfiniteAE(centres=count, reg=arguments.reg).fit(rows, options)
    seconds = time.process_time() - began
    values = values_of(model, evaluation)
    return {
        "values": [values[metric].tolist() for metric in METRICS],
        "seconds": seconds,
        "peak": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "report": dict(model.report),
    }


def show(title: str, found: Sequence[Judged], console: Console) -> None:
    """Means, and differences from the first with intervals."""
    table = Table(title=title)
    for column in ("solver", "rows", "λ", "processor s", "peak GiB"):
        table.add_column(column, justify="right")
    for metric, k in METRICS:
        table.add_column(f"{metric}@{k}", justify="right")
    first = found[0]
    for judged in found:
        cells = []
        for asked in METRICS:
            mean = f"{judged.values[asked].mean():.2f}"
            if judged is not first:
                less = judged.values[asked] - first.values[asked]
                half = 1.96 * less.std(ddof=1) / np.sqrt(len(less))
                mean += f"\n{less.mean():+.2f} ± {half:.2f}"
            cells.append(mean)
        table.add_row(
            judged.name,
            f"{judged.report.get('rows_used', ''):,}" if "rows_used" in judged.report else "",
            f"{judged.report['reg']:g}",
            f"{judged.seconds:.1f}",
            f"{judged.peak / 2**30:.2f}" if judged.peak else "",
            *cells,
        )
    console.print(table)
    times = ", ".join(f"{judged.name} {first.seconds / judged.seconds:.2f}" for judged in found[1:])
    console.print(f"times of {first.name} over those of: {times}", highlight=False)


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    split = commands.add_parser("split", help="a random split in the paper's form")
    split.add_argument("file", type=Path)
    split.add_argument("--centres", nargs="+", type=int, default=[500, 1000, 4000, 2000])
    split.add_argument("--steps", nargs="*", type=int, default=[], help="of conjugate gradients")
    log = commands.add_parser("log", help="the last period of a log")
    log.add_argument("source", help="as for `perennial replay`")
    log.add_argument("--store", type=Path, required=True, help="takes the log")
    log.add_argument("--cut", default="files")
    log.add_argument("--centres", nargs="+", type=int, default=[1000, 2000])
    log.add_argument("--memory-limit", type=int, default=2 << 30, help="bytes")
    log.add_argument("--reg", type=float, help="λ; chosen by validation if not given")
    log.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    console = Console(width=140)
    if given.command == "split":
        found = on_split(
            read_paper_split(given.file, seed=0), (None, *given.centres), given.steps, console
        )
        show(f"{given.file.stem}, {found[0].report['rows_used']:,} rows", found, console)
    elif given.child is not None:
        print(json.dumps(fit_on_log(given)))
    else:
        found = on_log(given, console)
        title = f"{Path(given.source).stem}, joint, memory limit {given.memory_limit / 2**30:g} GiB"
        show(title, found, console)


if __name__ == "__main__":
    main()
