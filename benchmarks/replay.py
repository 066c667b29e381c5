"""Replays with the defaults, as a user starts them: wall time, memory, time by stage.

`python -m benchmarks.replay` replays the embedded stream and the real logs that are there; each in
a fresh process with a fresh store. The targets stand beside the figures.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"


@dataclass(frozen=True)
class Job:
    """A replay and what it is meant to stay under.

    Attributes:
        source: file or folder under the data folder; `None` is the embedded stream.
        options: of `perennial replay`.
        seconds: wall time to stay under.
        gibibytes: peak memory to stay under.
    """

    source: str | None
    options: tuple[str, ...]
    seconds: float
    gibibytes: float


JOBS: Mapping[str, Job] = {
    "synthetic": Job(None, (), 120, 8),
    "ml-100k": Job("ml-100k.parquet", (), 90, 8),
    "ml-1m": Job("ml-1m.parquet", (), 900, 8),
    "diginetica": Job(
        "diginetica",
        ("--cut", "files", "--model", "infinite-ae", "--strategy", "individual"),
        3600,
        16,
    ),
}


@dataclass(frozen=True)
class Outcome:
    """Costs and results of a replay."""

    seconds: float
    cpu_seconds: float
    gibibytes: float
    answer: dict[str, Any]


def run_job(job: Job, data: Path) -> Outcome:
    """Replay in a process of its own, with the store in a folder that goes away."""
    with tempfile.TemporaryDirectory() as folder:
        source = [] if job.source is None else [str(data / job.source)]
        command = [sys.executable, str(ROOT / "cli.py"), "replay", *source, *job.options, "--json"]
        answer_file = Path(folder) / "answer.json"
        start = time.perf_counter()
        with answer_file.open("wb") as answer:
            process = subprocess.Popen([*command, "--store", f"{folder}/log.duckdb"], stdout=answer)  # noqa: S603
            _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        if os.waitstatus_to_exitcode(status):
            raise SystemExit(f"{' '.join(command)} failed")
        return Outcome(
            seconds,
            usage.ru_utime + usage.ru_stime,
            usage.ru_maxrss / 2**20,
            json.loads(answer_file.read_text()),
        )


def stage_table(name: str, outcome: Outcome) -> Table:
    """Seconds by model, strategy and stage, summed over periods and seeds."""
    sums: dict[tuple[str, str], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    stages: dict[str, None] = {}
    for cell in outcome.answer["timings"]:
        for stage, seconds in cell["seconds"].items():
            sums[cell["model"], cell["strategy"]][stage] += seconds
            stages[stage] = None
    table = Table(title=f"{name}: seconds by stage, all periods")
    for column in ("model", "strategy", *stages, "all"):
        table.add_column(column, justify="left" if column in {"model", "strategy"} else "right")
    for (model, strategy), by_stage in sums.items():
        figures = [f"{by_stage[stage]:.1f}" for stage in stages]
        table.add_row(model, strategy, *figures, f"{sum(by_stage.values()):.1f}")
    return table


def quality_table(name: str, outcome: Outcome) -> Table:
    """Means over the evaluated periods with their standard errors."""
    shown = [("HR", 10), ("HR", 100), ("nDCG", 10), ("nDCG", 100), ("PSP", 10), ("AUC", None)]
    means = {
        (mean["model"], mean["strategy"], mean["metric"], mean["k"]): mean
        for mean in outcome.answer["means"]
    }
    table = Table(title=f"{name}: mean over the evaluated periods ± standard error")
    for column in ("model", "strategy", *(f"{metric}@{k}" if k else metric for metric, k in shown)):
        table.add_column(column)
    for model, strategy in dict.fromkeys(key[:2] for key in means):
        cells = []
        for metric, k in shown:
            mean = means[model, strategy, metric, k]
            digits = 4 if k is None else 2
            cells.append(f"{mean['mean']:.{digits}f} ± {mean['stderr']:.{digits}f}")
        table.add_row(model, strategy, *cells)
    return table


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(tuple(JOBS)))
@click.option("--data", type=click.Path(path_type=Path), default=DATA, help="Folder of real logs.")
def main(names: Sequence[str], data: Path) -> None:
    """Replay NAMES, all by default, and print what each takes."""
    console = Console(width=120)
    overview = Table(title="Whole replays")
    for column in ("log", "wall s", "target s", "CPU s", "peak GiB", "target GiB"):
        overview.add_column(column, justify="right")
    for name in names or tuple(JOBS):
        job = JOBS[name]
        if job.source is not None and not (data / job.source).exists():
            console.print(f"{name}: skipped, {data / job.source} is not there")
            continue
        outcome = run_job(job, data)
        console.print(stage_table(name, outcome))
        console.print(quality_table(name, outcome))
        overview.add_row(
            name,
            f"{outcome.seconds:.0f}",
            f"{job.seconds:.0f}",
            f"{outcome.cpu_seconds:.0f}",
            f"{outcome.gibibytes:.2f}",
            f"{job.gibibytes:.0f}",
        )
    console.print(overview)


if __name__ == "__main__":
    main()
