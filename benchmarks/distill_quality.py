"""What a summary is worth on the paper's own splits: `python -m benchmarks.distill_quality`.

∞-AE is fitted on all users, on random users and on distilled ones, and judged on the test
interactions (design note 5: train and validation are context and mask). λ is chosen on the
validation interactions each time. `EASE` fitted on the same rows shows whether a summary serves a
model it was not made with.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.sparse import csr_array

from benchmarks.paper_split import DATA, SHOWN, Figure
from memory.distill import distill_judged
from memory.settings import DistillSettings
from models.infinite_ae import InfiniteAE
from models.protocol import FitOptions, TrainingRows
from models.validation import HoldOut, validation_score
from replay.evaluate import evaluate
from stream.paper_split import PaperSplit, read_paper_split

SETTINGS = {
    "200 items": DistillSettings(),
    "650 items": DistillSettings(max_items=650),
    "any number of items": DistillSettings(max_items=None),
    "200 items, 1,000 users": DistillSettings(num_synthetic_users=1000),
    "200 items, hard": DistillSettings(export="hard"),
    "200 items, rows as targets": DistillSettings(guide=0.0),
    "200 items, multinomial": DistillSettings(loss="multinomial"),
    "the paper's method": DistillSettings.paper(num_steps=75),
    "the paper's method, 200 items": DistillSettings.paper(num_steps=75, max_items=200),
}
"""Rows of the table."""

ALL_USERS, ALL_USERS_EASE = "all users", "all users, EASE"

ALL_USERS_REG = {"ml-1m": 5.0, "magazine": 20.0}
"""λ of ∞-AE on all users, as `benchmarks.paper_split` chooses it by validation."""


@dataclass(frozen=True)
class Ease:
    """EASE: a ridge regression of items on items without a diagonal (Steck, WWW 2019)."""

    weights: NDArray[np.float32]

    @classmethod
    def fit(cls, rows: csr_array, reg: float) -> "Ease":
        """In closed form."""
        gram = np.asarray((rows.T @ rows).toarray(), dtype=np.float64)
        gram[np.diag_indices_from(gram)] += reg
        inverse = np.linalg.inv(gram)
        weights = -inverse / inverse.diagonal()[None, :]
        np.fill_diagonal(weights, 0)
        return cls(weights.astype(np.float32))

    @property
    def num_items(self) -> int:
        """Items it knows."""
        return len(self.weights)

    @property
    def report(self) -> dict[str, object]:
        """Nothing to tell."""
        return {}

    def score_blocks(self, contexts: csr_array, block_rows: int) -> Iterator[NDArray[np.float32]]:
        """Contexts times weights."""
        for start in range(0, contexts.shape[0], block_rows):
            yield np.asarray(contexts[start : start + block_rows] @ self.weights)

    def to_arrays(self) -> tuple[dict[str, NDArray[np.float32]], dict[str, object]]:
        """The weights."""
        return {"weights": self.weights}, {}


Figures = dict[Figure, float]


def judge_infinite_ae(split: PaperSplit, rows: csr_array, reg: float) -> Figures:
    """Test figures of ∞-AE fitted on some rows."""
    training = TrainingRows(
        rows,
        np.ones(rows.shape[0]),
        np.ones(rows.shape[0], dtype=np.bool_),
        np.ones(rows.shape[0], dtype=np.int32),
    )
    model = InfiniteAE(reg=reg).fit(training, FitOptions(seed=0))
    return {(r.metric, r.k): r.values.mean for r in evaluate(model, split.test)}


def judge_ease(split: PaperSplit, held: HoldOut, rows: csr_array, regs: list[float]) -> Figures:
    """Test figures of EASE, its λ by validation."""

    def score(reg: float) -> float:
        blocks = Ease.fit(rows, reg).score_blocks(held.contexts, 1024)
        return validation_score(blocks, held, "HR")

    model = Ease.fit(rows, max(regs, key=score))
    return {(r.metric, r.k): r.values.mean for r in evaluate(model, split.test)}


def best_reg(held: HoldOut, rows: csr_array, regs: tuple[float, ...]) -> float:
    """λ of ∞-AE fitted on some rows, by the validation users."""
    scores = {}
    for reg in regs:
        training = TrainingRows(
            rows,
            np.ones(rows.shape[0]),
            np.ones(rows.shape[0], dtype=np.bool_),
            np.ones(rows.shape[0], dtype=np.int32),
        )
        model = InfiniteAE(reg=reg).fit(training, FitOptions(seed=0))
        scores[reg] = validation_score(model.score_blocks(held.contexts, 1024), held, "HR")
    return max(scores, key=lambda reg: scores[reg])


def tabulate(found: dict[str, list[Figures]]) -> Table:
    """Mean over seeds ± its standard error; below, the share of the same model on all users."""
    table = Table(title="mean over seeds ± standard error; share of the model on all users")
    for column in ("trained on", *(m if k is None else f"{m}@{k}" for m, k in SHOWN)):
        table.add_column(column, justify="right")
    for name, all_figures in found.items():
        values = np.array([[figures[f] for f in SHOWN] for figures in all_figures])
        means = values.mean(axis=0)
        errors = values.std(axis=0, ddof=1) / len(values) ** 0.5 if len(values) > 1 else means * 0
        decimals = [4 if metric == "AUC" else 2 for metric, _ in SHOWN]
        rounded = zip(means, errors, decimals, strict=True)
        table.add_row(name, *(f"{mean:.{d}f} ± {error:.{d}f}" for mean, error, d in rounded))
        whole = found.get(ALL_USERS_EASE if name.endswith("EASE") else ALL_USERS)
        if whole is not None and all_figures is not whole:
            base = np.array([[figures[f] for f in SHOWN] for figures in whole]).mean(axis=0)
            table.add_row("", *(f"{share:.1f}%" for share in 100 * means / base), style="dim")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--split", default="ml-1m")
    parser.add_argument("--seed", nargs="+", type=int, default=[0])
    parser.add_argument("--only", nargs="+", choices=sorted(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--ease", action="store_true", help="also fit EASE on each summary")
    parser.add_argument("--all-users", action="store_true", help="all and random users too")
    arguments = parser.parse_args()
    console = Console(width=150)
    found: dict[str, list[Figures]] = {}

    def add(name: str, seed: int, figures: Figures, *rest: str) -> None:
        found.setdefault(name, []).append(figures)
        cells = [f"{figures[f]:.4f}" if f[0] == "AUC" else f"{figures[f]:.2f}" for f in SHOWN]
        console.print(name, f"seed {seed}:", *cells, *rest)

    for seed in arguments.seed:
        split = read_paper_split(
            arguments.data / f"{arguments.split}-paper-split.parquet", seed=seed
        )
        rows = TrainingRows.of_users(split.train)
        asked = split.validation
        held = HoldOut(rows, asked.users.astype(np.int64), asked.targets[:, : rows.num_items])
        if arguments.all_users:
            reg = ALL_USERS_REG[arguments.split]
            add(ALL_USERS, seed, judge_infinite_ae(split, rows.interactions, reg))
            if arguments.ease:
                regs = [200.0, 700.0, 1000.0, 2000.0]
                add(ALL_USERS_EASE, seed, judge_ease(split, held, rows.interactions, regs))
            drawn = np.random.default_rng(seed).choice(rows.num_rows, 500, replace=False)
            few = rows.interactions[drawn]
            reg = best_reg(held, few, (0.3, 1.0, 5.0, 20.0))
            add("500 random users", seed, judge_infinite_ae(split, few, reg))
        for name in arguments.only:
            summary = distill_judged(held, SETTINGS[name], seed)
            report = summary.report
            rest = (
                f"{summary.rows.nnz / summary.num_rows:.0f} weights a row,",
                f"step {report['best_step']},",
                f"λ {report['reg']:g},",
                f"{report['seconds']:.0f} s",
            )
            add(name, seed, judge_infinite_ae(split, summary.rows, report["reg"]), *rest)
            if arguments.ease:
                regs = [0.1, 1.0, 5.0, 20.0]
                add(f"{name}, EASE", seed, judge_ease(split, held, summary.rows, regs))
    console.print(tabulate(found))


if __name__ == "__main__":
    main()
