"""What a summary is worth on the paper's own splits: `python -m benchmarks.distill_quality`.

∞-AE is fitted on all users, on random users and on distilled ones, and judged on the test
interactions (design note 5: train and validation are context and mask). λ is chosen on the
validation interactions each time. EASE fitted on the same rows shows whether a summary serves a
model it was not made with.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.sparse import csr_array

from benchmarks.paper_split import DATA, SHOWN, Figure
from perennial.memory.distill.loop import distill_with_holdout
from perennial.memory.distill.settings import DistillSettings
from perennial.models.base import FitOptions, FittedModel, Holdout, Recipe, TrainingRows
from perennial.models.ease import Ease
from perennial.models.holdout import validation_score
from perennial.models.infinite_ae.recipe import InfiniteAE
from perennial.replay.evaluate import evaluate
from perennial.stream.random_split import RandomSplit, read_paper_split

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


Figures = dict[Figure, float]


def judge_on(split: RandomSplit, rows: csr_array, recipe: Recipe) -> Figures:
    """Test figures of a model fitted on some rows."""
    model = fit_on(rows, recipe)
    return {(r.metric, r.k): r.values.mean for r in evaluate(model, split.test)}


def fit_on(rows: csr_array, recipe: Recipe) -> FittedModel:
    """Fit on rows of weight 1, none of which may be held out."""
    training = TrainingRows(
        rows,
        np.ones(rows.shape[0]),
        np.ones(rows.shape[0], dtype=np.bool_),
        np.ones(rows.shape[0], dtype=np.int32),
    )
    return recipe.fit(training, FitOptions(seed=0))


def choose_recipe(held: Holdout, rows: csr_array, recipes: Sequence[Recipe]) -> Recipe:
    """The best for the validation users, each fitted on some rows.

    They are no rows of the users, so what a recipe chooses itself on a hold-out is not asked.
    """

    def score(recipe: Recipe) -> float:
        blocks = fit_on(rows, recipe).score_blocks(held.contexts, 1024)
        return validation_score(blocks, held, "HR")

    return max(recipes, key=score)


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
        held = Holdout(rows, asked.users.astype(np.int64), asked.targets[:, : rows.num_items])
        if arguments.all_users:
            reg = ALL_USERS_REG[arguments.split]
            add(ALL_USERS, seed, judge_on(split, rows.interactions, InfiniteAE(reg=reg)))
            if arguments.ease:
                model = Ease().fit_with_holdout(held, rows, FitOptions(seed=0))
                figures = {(r.metric, r.k): r.values.mean for r in evaluate(model, split.test)}
                add(ALL_USERS_EASE, seed, figures)
            drawn = np.random.default_rng(seed).choice(rows.num_rows, 500, replace=False)
            few = rows.interactions[drawn]
            kernels = [InfiniteAE(reg=reg) for reg in (0.3, 1.0, 5.0, 20.0)]
            add("500 random users", seed, judge_on(split, few, choose_recipe(held, few, kernels)))
        for name in arguments.only:
            summary = distill_with_holdout(held, SETTINGS[name], seed)
            report = summary.report
            rest = (
                f"{summary.rows.nnz / summary.num_rows:.0f} weights a row,",
                f"step {report['best_step']},",
                f"λ {report['reg']:g},",
                f"{report['seconds']:.0f} s",
            )
            recipe = InfiniteAE(reg=report["reg"])
            add(name, seed, judge_on(split, summary.rows, recipe), *rest)
            if arguments.ease:
                grid = [Ease(regs=(reg,)) for reg in (0.1, 1.0, 5.0, 20.0)]
                chosen = choose_recipe(held, summary.rows, grid)
                add(f"{name}, EASE", seed, judge_on(split, summary.rows, chosen))
    console.print(tabulate(found))


if __name__ == "__main__":
    main()
