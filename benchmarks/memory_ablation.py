"""Worth of each setting of the memory: `python -m benchmarks.memory_ablation`.

One setting of `distill-cf` differs from its defaults at a time, beside the strategies that bound
it. Each is followed over a log in 17 periods, and evaluated after the periods that defaults may be
chosen on, 3 to 7; the later ones stay for the confirmation. `--log` and `--model` are repeatable.
"""

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks import DATA
from perennial.models.registry import make_recipe
from perennial.replay.chain import Chain, Limits
from perennial.replay.evaluate import evaluate
from perennial.replay.logs import LogRequest, open_log
from perennial.replay.machine import Clock, Stopwatch
from perennial.replay.metrics.registry import default_metrics
from perennial.replay.strategies.distill_cf import WITH_REAL_USERS
from perennial.replay.strategies.registry import make_strategy
from perennial.storage.base import ignore_progress
from perennial.storage.store import Store
from perennial.stream.next_period import ProtocolSettings, build_evaluation

PERIODS = range(3, 8)
FIGURES = (("HR", 10), ("nDCG", 10), ("HR", 100), ("AUC", None))
LOGS = {"synthetic": None, "ml-100k": "ml-100k.parquet", "ml-1m": "ml-1m.parquet"}

Arm = tuple[str, str, Mapping[str, Any]]
"""Label, strategy and its settings."""


def arms() -> Iterator[Arm]:
    """Yield the bounds, the defaults, and one changed setting at a time."""
    for name in ("individual", "active", "joint", "user-rns", "ader"):
        yield name, name, {}
    yield "defaults", "distill-cf", {}
    for guide in (0.0, 0.5, 0.7, 0.9):
        yield f"guide {guide}", "distill-cf", {"distillation": _changed(guide=guide)}
    for scale in (0.7, 2.0):
        yield f"scale {scale}", "distill-cf", {"distillation": _changed(start_scale=scale)}
    for items in (100, 400):
        yield f"{items} items a row", "distill-cf", {"distillation": _changed(max_items=items)}
    for budget in (100, 1000, "256KiB"):
        yield f"budget {budget}", "distill-cf", {"budget": budget}
    yield "history period", "distill-cf", {"history": "period"}
    for weight in (0.5, 2.0):
        yield f"weight {weight}", "distill-cf", {"memory_weight": weight}
    for steps in (1, 10, 25, 50):
        changed = {"policy": "whole", "distillation": _changed(num_steps=steps)}
        yield f"whole log, {steps} step{'s' * (steps > 1)}", "distill-cf", changed


def _changed(**settings: Any) -> Any:
    return replace(WITH_REAL_USERS, **settings)


def follow(store: Store, arm: Arm, model: str, seed: int) -> tuple[NDArray[np.float64], float]:
    """Fit after each of the periods.

    Returns:
        Means of the figures `(4,)` over the periods, and seconds of the memory a period.
    """
    _, strategy, settings = arm
    recipe = make_recipe(model, {})
    chain = Chain(store, make_strategy(strategy, settings), recipe, seed, Limits(), {})
    found, watch = [], Stopwatch(Clock())
    for period in PERIODS:
        fitted, _ = chain.fit(chain.history(period), watch, ignore_progress)
        results = evaluate(
            fitted, build_evaluation(store, period, ProtocolSettings(), 0), default_metrics()
        )
        means = {(result.metric, result.k): result.values.mean for result in results}
        found.append([means[figure] for figure in FIGURES])
    # The first fit updates the memory with all periods before, of which the last is timed.
    return np.mean(found, axis=0), watch.stages.get("memory", 0.0) / len(PERIODS)


def compare(store: Store, name: str, model: str, seeds: Sequence[int], only: str) -> Table:
    """Follow every arm whose label has `only` in it, and lay the figures out."""
    table = Table(title=f"{name}, {model}, {len(seeds)} seeds, periods 3 to 7")
    for column in ("", "HR@10", "nDCG@10", "HR@100", "AUC", "memory, s"):
        table.add_column(column, justify="right" if column else "left")
    for arm in arms():
        if only not in arm[0]:
            continue
        runs = [follow(store, arm, model, seed) for seed in seeds]
        means = np.mean([figures for figures, _ in runs], axis=0)
        seconds = float(np.mean([taken for _, taken in runs]))
        table.add_row(arm[0], *(f"{mean:.2f}" for mean in means[:3]), f"{means[3]:.3f}",
                      f"{seconds:.1f}")  # fmt: skip
    return table


def main() -> None:
    """Print a table for each log and model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--log", action="append", choices=list(LOGS))
    parser.add_argument("--model", action="append")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="follow arms with this in their label")
    given = parser.parse_args()
    console = Console(width=100)
    for name in given.log or LOGS:
        source = LOGS[name]
        with tempfile.TemporaryDirectory() as folder:
            request = LogRequest(
                cache=Path(folder),
                source=None if source is None else str(DATA / source),
                store=Path(folder) / "log.duckdb",
            )
            with open_log(request, ignore_progress) as log:
                for model in given.model or ("infinite-ae", "mvae"):
                    seeds = range(given.seeds)
                    console.print(compare(log.store, name, model, seeds, given.only))


if __name__ == "__main__":
    main()
