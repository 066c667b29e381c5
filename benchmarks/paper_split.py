"""Quality on the paper's own random splits: `python -m benchmarks.paper_split`.

Fit on train; what is chosen by validation is judged with train as context and mask; test has train
and validation as context and mask, without another fit (design note 5). Propensities come from
train. The published figures stand beside ours. The data are not part of the project; `--data` is
the folder that has `ml-1m-paper-split.parquet` and `magazine-paper-split.parquet`.

A model is any recipe with `fit_judged(held, rows, options)`: choose on a given hold-out, fit on
rows.
"""

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import numpy as np
from rich.console import Console
from rich.table import Table

from models.protocol import FitOptions, FittedModel, TrainingRows
from models.registry import MODELS, make_recipe
from models.validation import HoldOut
from replay.evaluate import evaluate
from stream.paper_split import PaperSplit, read_paper_split

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

Figure = tuple[str, int | None]
"""A metric and its cut-off."""


def _printed(hr: float, ndcg: float, long_ndcg: float, psp: float) -> Mapping[Figure, float]:
    """A row of the paper's Table 1."""
    return {("HR", 10): hr, ("nDCG", 10): ndcg, ("nDCG", 100): long_ndcg, ("PSP", 10): psp}


PUBLISHED: Mapping[tuple[str, str], Mapping[Figure, float]] = {
    # The authors' code run on this very split, λ = 5 by validation.
    ("ml-1m", "infinite-ae"): {
        ("HR", 10): 31.91,
        ("HR", 100): 60.91,
        ("nDCG", 10): 33.39,
        ("nDCG", 100): 43.33,
        ("PSP", 10): 3.29,
        ("AUC", None): 0.9457,
    },
    # The paper's table.
    ("ml-1m", "mvae"): {("HR", 10): 21.70, ("nDCG", 10): 22.14},
    ("ml-1m", "ease"): _printed(28.54, 29.88, 40.16, 3.06),
    ("ml-1m", "mf"): _printed(24.63, 25.65, 35.62, 2.41),
    ("ml-1m", "bias"): _printed(12.93, 13.74, 19.13, 1.07),
    ("ml-1m", "pop"): _printed(13.07, 13.84, 19.49, 1.10),
    ("magazine", "infinite-ae"): {("HR", 10): 27.09, ("nDCG", 10): 23.06},
    ("magazine", "ease"): _printed(26.31, 22.84, 28.27, 12.96),
    ("magazine", "mf"): _printed(18.36, 13.10, 21.76, 9.24),
    ("magazine", "bias"): _printed(14.36, 8.33, 19.31, 6.73),
    ("magazine", "pop"): _printed(14.35, 8.42, 19.38, 6.85),
}

SHOWN: tuple[Figure, ...] = (
    ("HR", 10),
    ("HR", 100),
    ("nDCG", 10),
    ("nDCG", 100),
    ("PSP", 10),
    ("AUC", None),
)


class JudgedRecipe(Protocol):
    """A recipe that can choose on a hold-out that it is given."""

    def fit_judged(self, held: HoldOut, rows: TrainingRows, options: FitOptions) -> FittedModel:
        """Choose on `held`, fit on `rows`."""
        ...


@dataclass(frozen=True)
class Result:
    """One model on one split with one seed."""

    figures: Mapping[Figure, float]
    fit_seconds: float
    test_seconds: float
    chosen: str


def judge(recipe: JudgedRecipe, split: PaperSplit, seed: int, console: Console) -> Result:
    """Fit on train, test on train and validation."""
    rows = TrainingRows.of_users(split.train)
    judged = split.validation
    held = HoldOut(rows, judged.users.astype(np.int64), judged.targets[:, : rows.num_items])
    options = FitOptions(seed=seed, progress=lambda text: console.print(f"  {text}", style="dim"))
    started = time.perf_counter()
    model = recipe.fit_judged(held, rows, options)
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
    console: Console, title: str, results: Mapping[int, Result], published: Mapping[Figure, float]
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
    table.add_row("published", *cells(published))
    gaps = [
        f"{100 * (mean[figure] / published[figure] - 1):+.2f}%" if figure in published else ""
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
                results[seed] = judge(cast(JudgedRecipe, recipe), split, seed, console)
            show(console, f"{model} on {name}", results, PUBLISHED.get((name, model), {}))


def _format(figure: Figure, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if figure[0] == "AUC" else f"{value:.2f}"


if __name__ == "__main__":
    main()
