"""Time and memory of ∞-AE against its number of rows: `python -m benchmarks.infinite_ae_rows`.

The exact solver and the one on centres, each fit in a process of its own: one λ, and the scores
of 1,000 contexts. Time is the processor's, on one core unless `--cores` is given, since a
machine that others use stretches the time of day; memory is the peak of the process less what it
held before, as Linux reports it. A power of n is fitted to each line, from `--fit-from` rows on,
where what does not depend on n no longer hides it. `--plot` draws both; with `--costs` what was
measured is kept in a file, and a command that was stopped goes on from there.

The rows are made up, like ML-1M's (3,706 items, 165 a user, a few of them popular); with `--source`
they are those of a log's users, in order, as often over as it takes.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.sparse import csr_array, vstack

from benchmarks.scaling import power_law, run_child
from perennial.models.base import FitOptions, TrainingRows
from perennial.models.infinite_ae.recipe import InfiniteAE
from perennial.replay.logs import LogRequest, open_log
from perennial.storage.base import ignore_progress
from perennial.storage.log.periods import list_periods
from perennial.stream.history import History

NUM_ITEMS = 3_706
PER_USER = 165
REG = 5.0
CONTEXTS = 1_000

LOOKS = (("#000000", "o"), ("#0072b2", "s"), ("#e69f00", "^"), ("#cc79a7", "D"))
"""A colour and a marker for each solver, distinguished by the colour-blind too."""

Centres = int | None
"""m, or `None` for the exact solver."""


@dataclass(frozen=True)
class Cost:
    """Costs of a fit.

    Attributes:
        rows: n.
        centres: m; `None` for the exact solver.
        seconds: of the processor.
        wall: seconds of the day.
        bytes: the peak less what the process held before.
    """

    rows: int
    centres: Centres
    seconds: float
    wall: float
    bytes: int


def make_rows(num_rows: int, num_items: int = NUM_ITEMS, seed: int = 0) -> csr_array:
    """Binary rows; each has items of its own taste among all, popular ones first."""
    generator = np.random.default_rng(seed)
    lengths = np.minimum(generator.geometric(1 / PER_USER, num_rows), num_items // 4)
    # A power of a uniform number: a few items have most of the entries.
    skew = np.repeat(generator.uniform(1.5, 4.0, num_rows), lengths)
    items = (num_items * generator.random(int(lengths.sum())) ** skew).astype(np.int32)
    users = np.repeat(np.arange(num_rows, dtype=np.int32), lengths)
    rows = csr_array((np.ones(len(items), np.float32), (users, items)), (num_rows, num_items))
    rows.sum_duplicates()
    rows.data[:] = 1
    return rows


def read_rows(source: str, store: Path, num_rows: int) -> csr_array:
    """The rows of a log's users, over and over."""
    with open_log(LogRequest(Path(), None, source, store, None, 2), ignore_progress) as log:
        last = list_periods(log.store)[-1].period
        rows = History(log.store, last).rows(first=1).interactions
    whole = vstack([rows] * -(-num_rows // rows.shape[0]), format="csr")
    return csr_array(whole[:num_rows])


def measure(rows: csr_array, centres: Centres) -> Cost:
    """Fit once and score, after a small fit that compiles what both need."""
    recipe = InfiniteAE(reg=REG, centres=centres)
    _fit_and_score(recipe, rows[:100])
    before = _forget_peak()
    processor, wall = time.process_time(), time.perf_counter()
    _fit_and_score(recipe, rows)
    return Cost(
        rows.shape[0],
        centres,
        time.process_time() - processor,
        time.perf_counter() - wall,
        _peak() - before,
    )


def _fit_and_score(recipe: InfiniteAE, rows: csr_array) -> None:
    num_rows = rows.shape[0]
    training = TrainingRows(
        rows, np.ones(num_rows), np.zeros(num_rows, np.bool_), np.ones(num_rows, np.int32)
    )
    model = recipe.fit(training, FitOptions(seed=0))
    for block in model.score_blocks(rows[:CONTEXTS], CONTEXTS):
        if not np.isfinite(block).all():
            raise SystemExit("a score is not finite")


def _forget_peak() -> int:
    """Bytes that the process holds; from here on the kernel counts its peak anew."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _peak() -> int:
    """The most bytes held since."""
    return _status("VmHWM")


def _status(name: str) -> int:
    """A size that the kernel reports of this process, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return 1024 * int(line.split()[1])
    raise SystemExit(f"the kernel does not report {name}")


def measure_apart(num_rows: int, centres: Centres, arguments: argparse.Namespace) -> Cost:
    """`measure` in a process of its own."""
    words = ["--child", num_rows, "--centres", *([] if centres is None else [centres])]
    words += ["--cores", arguments.cores]
    if arguments.source is not None:
        words += ["--source", arguments.source, "--store", arguments.store]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": str(arguments.cores)}
    return Cost(**run_child("infinite_ae_rows", *words, environment=environment))


def measure_all(
    asked: Sequence[tuple[int, Centres]], arguments: argparse.Namespace, console: Console
) -> Iterator[Cost]:
    """`measure_apart` of each n and m that the file of costs does not have yet."""
    kept: dict[tuple[int, Centres], Cost] = {}
    if arguments.costs is not None and arguments.costs.exists():
        for line in arguments.costs.read_text().splitlines():
            cost = Cost(**json.loads(line))
            kept[cost.rows, cost.centres] = cost
    for size, centres in asked:
        if (size, centres) not in kept:
            kept[size, centres] = measure_apart(size, centres, arguments)
            console.print(kept[size, centres], style="dim")
            if arguments.costs is not None:
                with arguments.costs.open("a") as file:
                    file.write(json.dumps(asdict(kept[size, centres])) + "\n")
        yield kept[size, centres]


def lines(costs: Sequence[Cost]) -> Mapping[str, list[Cost]]:
    """The costs of each solver, in order of n."""
    found: dict[str, list[Cost]] = {}
    for cost in costs:
        name = "exact" if cost.centres is None else f"{cost.centres:,} centres"
        found.setdefault(name, []).append(cost)
    return {name: sorted(line, key=lambda cost: cost.rows) for name, line in found.items()}


def show(costs: Sequence[Cost], fit_from: int, console: Console) -> None:
    """The figures, and the powers of n."""
    exact = {cost.rows: cost for cost in costs if cost.centres is None}
    table = Table(title=f"∞-AE, one λ = {REG:g} and {CONTEXTS:,} contexts")
    for column in ("solver", "rows", "processor s", "wall s", "MiB", "exact / it, s", "MiB"):
        table.add_column(column, justify="right")
    for name, line in lines(costs).items():
        for cost in line:
            other = exact.get(cost.rows)
            ratios = ["", ""]
            if other is not None and cost.centres is not None:
                ratios = [f"{other.seconds / cost.seconds:.2f}", f"{other.bytes / cost.bytes:.2f}"]
            table.add_row(
                name,
                f"{cost.rows:,}",
                f"{cost.seconds:.2f}",
                f"{cost.wall:.2f}",
                f"{cost.bytes / 2**20:,.0f}",
                *ratios,
            )
    console.print(table)
    for name, line in lines(costs).items():
        late = [cost for cost in line if cost.rows >= fit_from]
        if len(late) < 2:
            continue
        sizes = [cost.rows for cost in late]
        seconds, _ = power_law(sizes, [cost.seconds for cost in late])
        memory, _ = power_law(sizes, [float(cost.bytes) for cost in late])
        console.print(
            f"{name}: time ~ n^{seconds:.2f}, memory ~ n^{memory:.2f} "
            f"from {sizes[0]:,} to {sizes[-1]:,} rows",
            highlight=False,
        )


def plot(costs: Sequence[Cost], fit_from: int, path: Path) -> None:
    """Time and memory against n, with the fitted powers as dashes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    time_axis, memory_axis = figure.subplots(1, 2)
    for number, (name, line) in enumerate(lines(costs).items()):
        colour, marker = LOOKS[number % len(LOOKS)]
        sizes = [cost.rows for cost in line]
        for axis, values in (
            (time_axis, [cost.seconds for cost in line]),
            (memory_axis, [cost.bytes / 2**20 for cost in line]),
        ):
            late = [place for place, size in enumerate(sizes) if size >= fit_from]
            label = name
            if len(late) > 1:
                ends = [sizes[place] for place in late]
                power, factor = power_law(ends, [values[place] for place in late])
                label = f"{name}: n^{power:.2f}"
                fitted = [factor * size**power for size in ends]
                axis.plot(ends, fitted, "--", color=colour, linewidth=1)
            axis.plot(sizes, values, marker, color=colour, markersize=5, label=label)
    for axis, title in (
        (time_axis, "processor seconds, one λ"),
        (memory_axis, "peak memory of the fit, MiB"),
    ):
        axis.set(xscale="log", yscale="log", xlabel="rows n", title=title)
        axis.grid(visible=True, which="both", alpha=0.25)
        axis.legend(frameon=False, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--rows", nargs="*", type=int, default=[1000, 2000, 4000, 8000, 16_000], help="exact"
    )
    parser.add_argument(
        "--more-rows", nargs="*", type=int, default=[32_000, 64_000], help="on centres alone"
    )
    parser.add_argument("--centres", nargs="*", type=int, default=[500, 1000, 2000])
    parser.add_argument("--fit-from", type=int, default=4000)
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--source", help="a log as for `perennial replay`")
    parser.add_argument("--store", type=Path, help="takes the log")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--costs", type=Path, help="keeps a line for each fit, and is read first")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.source is not None and given.store is None:
        parser.error("--source needs --store")
    if given.child is not None:
        # Before JAX makes its threads.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: given.cores])
        rows = (
            make_rows(given.child)
            if given.source is None
            else read_rows(given.source, given.store, given.child)
        )
        print(json.dumps(asdict(measure(rows, given.centres[0] if given.centres else None))))
        return
    console = Console(width=110)
    asked = [(size, None) for size in given.rows]
    asked += [(size, m) for m in given.centres for size in (*given.rows, *given.more_rows)]
    costs = list(measure_all(asked, given, console))
    show(costs, given.fit_from, console)
    if given.plot is not None:
        plot(costs, given.fit_from, given.plot)


if __name__ == "__main__":
    main()
