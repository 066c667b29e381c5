"""Quality on the paper's own random splits: `python -m benchmarks.paper_split`.

Fit on train; what is chosen by validation is judged with train as context and mask; test has train
and validation as context and mask, without another fit (design note 5). Propensities come from
train. The published figures stand beside ours. The data are not part of the project; `--data` is
the folder that has `ml-1m-paper-split.parquet` and `magazine-paper-split.parquet`.

Any recipe will do: `fit_with_holdout` chooses on a given holdout and fits on the rows.
"""

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from perennial.models.base import FitOptions, Recipe
from perennial.models.registry import MODELS, make_recipe
from perennial.replay.evaluate import evaluate
from perennial.replay.study.paper.published import PAPER, RERUN, SHOWN, Figure
from perennial.replay.study.paper.rows import split_holdout
from perennial.stream.random_split import RandomSplit, read_paper_split

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

SPLITS: Mapping[str, str] = {"ml-1m": "ml-1m", "magazine": "amazon-magazine"}
"""File of a split, by the first word of its name -> data set of the paper."""


def published(split: str, model: str) -> Mapping[Figure, float]:
    """The authors' code run on this very split where that was done, else the paper's table."""
    paper = SPLITS[split]
    return RERUN.get((paper, model)) or PAPER[paper].get(model, {})


@dataclass(frozen=True)
class Result:
    """One model on one split with one seed."""

    figures: Mapping[Figure, float]
    fit_seconds: float
    test_seconds: float
    chosen: str


def judge(recipe: Recipe, split: RandomSplit, seed: int, console: Console) -> Result:
    """Fit on train, test on train and validation."""
    held = split_holdout(split)
    options = FitOptions(seed=seed, progress=lambda text: console.print(f"  {text}", style="dim"))
    started = time.perf_counter()
    model = recipe.fit_with_holdout(held, held.training, options)
    fitted = time.perf_counter()
    figures = {(r.metric, r.k): r.values.mean for r in evaluate(model, split.test)}
    told = {key: model.report[key] for key in ("reg", "updates", "epochs") if key in model.report}
    chosen = {**told, **model.report.get("chosen", {})}
    return Result(
        figures=figures,
        fit_seconds=fitted - started,
        test_seconds=time.perf_counter() - fitted,
        chosen=", ".join(f"{key} {value}" for key, value in chosen.items()),
    )


def show(
    console: Console, title: str, results: Mapping[int, Result], theirs: Mapping[Figure, float]
) -> None:
    """Print ours, seed by seed, with the published figures below and the gap of the mean."""
    table = Table(title=title)
    for column in ("", *(metric if k is None else f"{metric}@{k}" for metric, k in SHOWN)):
        table.add_column(column, justify="right")
    table.add_column("chosen")
    table.add_column("fit s", justify="right")
    table.add_column("test s", justify="right")

    def cells(figures: Mapping[Figure, float]) -> list[str]:
        return [_format(figure, figures.get(figure)) for figure in SHOWN]

    for seed, result in results.items():
        times = (f"{result.fit_seconds:.1f}", f"{result.test_seconds:.1f}")
        table.add_row(f"seed {seed}", *cells(result.figures), result.chosen, *times)
    mean = {
        figure: float(np.mean([result.figures[figure] for result in results.values()]))
        for figure in SHOWN
    }
    table.add_row("mean", *cells(mean))
    table.add_row("published", *cells(theirs))
    gaps = [
        f"{100 * (mean[figure] / theirs[figure] - 1):+.2f}%" if figure in theirs else ""
        for figure in SHOWN
    ]
    table.add_row("gap", *gaps)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--split", nargs="+", default=["ml-1m", "magazine"])
    parser.add_argument("--model", nargs="+", default=["infinite-ae"], choices=sorted(MODELS))
    parser.add_argument("--seed", nargs="+", type=int, default=[0])
    parser.add_argument(
        "--reg", nargs="+", type=float, help="λ grid of infinite-ae; its default unless given"
    )
    parser.add_argument(
        "--mvae",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="settings of mvae that differ from its defaults, e.g. batch_size=208 max_updates=600",
    )
    parser.add_argument(
        "--keep-repeats",
        action="store_true",
        help="count targets that stand in the context as misses, as the authors do",
    )
    arguments = parser.parse_args()
    console = Console(width=120)
    for name in arguments.split:
        for model in arguments.model:
            settings: dict[str, object] = {}
            if model == "infinite-ae" and arguments.reg:
                settings["regs"] = tuple(arguments.reg)
            if model == "mvae":
                settings |= dict(setting.split("=", 1) for setting in arguments.mvae)
            recipe = make_recipe(model, settings)
            results = {}
            for seed in arguments.seed:
                split = read_paper_split(
                    arguments.data / f"{name}-paper-split.parquet",
                    seed=seed,
                    keep_repeats=arguments.keep_repeats,
                )
                results[seed] = judge(recipe, split, seed, console)
            show(console, f"{model} on {name}", results, published(name, model))


def _format(figure: Figure, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if figure[0] == "AUC" else f"{value:.2f}"


if __name__ == "__main__":
    main()
