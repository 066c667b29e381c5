"""Thousands of bad files, ingested one by one: `python -m benchmarks.fuzz_ingest --files 10000`.

Each is made the next period of a store that holds one. It must be taken whole, with what went in
coming back, or be refused in one line, with the store as it was; `benchmarks.fuzz.check` looks. The
work is done in a process of its own, whose address space may grow by 4 GiB for one file: what takes
more, what ends the process and what never ends are findings as well. Every finding is saved with
its seed and number, and the command then exits with 1.
"""

import argparse
import json
import resource
import select
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from benchmarks.fuzz.check import Judge
from benchmarks.fuzz.files import make_case
from benchmarks.fuzz.hostile import HOSTILE

PATIENCE = 180
"""Seconds for one file, after which the process counts as stuck."""
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Line:
    """A message of the worker before or after a file.

    Attributes:
        number: of the file.
        name: of the file.
        origin: how it came about.
        format: by its name.
        verdict: "begun", or as in `benchmarks.fuzz.check.Outcome`.
        words: the refusal, or what is wrong.
        seconds: for making and judging it.
        peak: bytes of memory at most while it was checked.
    """

    number: int
    name: str
    origin: str
    format: str
    verdict: str
    words: str = ""
    seconds: float = 0.0
    peak: int = 0


def work(seed: int, first: int, last: int, limit: int) -> None:
    """Check the files `first..last - 1` and print a line about each."""
    with tempfile.TemporaryDirectory() as folder, Judge(Path(folder)) as judge:
        for number in range(first, last):
            start = time.perf_counter()
            case = make_case(seed, number)
            told = (number, case.name, case.origin, case.format)
            print(json.dumps(asdict(Line(*told, "begun"))), flush=True)
            pa.default_memory_pool().release_unused()
            _RESET.write_text("5")
            _limit_growth(limit)
            outcome = judge.judge(case)
            _limit_growth(None)
            seconds = time.perf_counter() - start
            line = Line(*told, outcome.verdict, outcome.words[:500], seconds, _peak())
            print(json.dumps(asdict(line)), flush=True)


def _limit_growth(limit: int | None) -> None:
    """Let the address space grow by so many bytes at most, or freely."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    soft = hard if limit is None else psutil.Process().memory_info().vms + limit
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _peak() -> int:
    """Bytes that the process held at most since the mark was reset."""
    lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines() if ":" in line)
    return int(lines["VmHWM"].split()[0]) * 1024


def watch(seed: int, first: int, count: int, limit: int, console: Console) -> list[Line]:
    """Run workers until all files are checked; a worker that ends or sticks is a finding."""
    lines: list[Line] = []
    with tempfile.TemporaryFile() as errors:
        while len(lines) < count:
            command = [sys.executable, "-m", "benchmarks.fuzz_ingest", "--seed", str(seed)]
            command += [
                "--limit",
                str(limit),
                "--worker",
                str(first + len(lines)),
                str(first + count),
            ]
            with subprocess.Popen(  # noqa: S603  # ourselves
                command, stdout=subprocess.PIPE, stderr=errors, text=True
            ) as worker:
                begun, ends = _listen(worker, lines, console)
            if begun is not None:
                how = f"ends with {worker.returncode}" if ends else "is stuck"
                known = {**asdict(begun), "verdict": "finding", "words": f"the process {how}"}
                lines.append(Line(**known))
            elif len(lines) < count:
                errors.seek(0)
                raise RuntimeError(f"the worker fails: {errors.read()[-2000:].decode()}")
    return lines


def _listen(
    worker: "subprocess.Popen[str]", lines: list[Line], console: Console
) -> tuple[Line | None, bool]:
    """Collect the output of a worker until it ends, or is silent for too long and is killed.

    Returns:
        The file it was at, if it was at one, and whether it ended by itself.
    """
    begun, ends = None, False
    assert worker.stdout is not None
    while select.select([worker.stdout], [], [], PATIENCE)[0]:
        text = worker.stdout.readline()
        if ends := not text:
            break
        line = Line(**json.loads(text))
        begun = line if line.verdict == "begun" else None
        if begun is None:
            lines.append(line)
            if len(lines) % 500 == 0:
                bad = sum(one.verdict == "finding" for one in lines)
                console.print(f"{len(lines)} files, {bad} findings", highlight=False)
    if not ends:
        worker.kill()
    worker.wait()
    return begun, ends


def save(lines: list[Line], seed: int, folder: Path) -> None:
    """Write the files of the findings, and what was found."""
    for line in lines:
        folder.mkdir(parents=True, exist_ok=True)
        case = make_case(seed, line.number)
        (folder / f"{seed}-{case.name}").write_bytes(case.content)
        told = {**asdict(line), "seed": seed, "settings": asdict(case.settings)}
        told["typed_store"] = case.typed_store
        (folder / f"{seed}-{case.name}.json").write_text(json.dumps(told, indent=1))


def make_table(lines: list[Line]) -> Table:
    """Files by format and origin."""
    table = Table(box=None)
    for name in ("format", "files", "drawn", "damaged", "named", "taken", "refused", "findings"):
        table.add_column(name, justify="left" if name == "format" else "right")
    table.add_column("peak MiB", justify="right")
    table.add_column("seconds", justify="right")
    formats = sorted({line.format for line in lines})
    for name in [*formats, "all"]:
        some = [line for line in lines if name in ("all", line.format)]
        count = Counter([line.origin for line in some] + [line.verdict for line in some])
        keys = ("drawn", "damaged", "named", "taken", "refused", "finding")
        table.add_row(
            name,
            f"{len(some):,}",
            *(f"{count[key]:,}" for key in keys),
            f"{max(line.peak for line in some) / 2**20:,.0f}",
            f"{sum(line.seconds for line in some):,.1f}",
        )
    return table


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, default=4 * 2**30, help="bytes for a file")
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"), help="folder")
    parser.add_argument("--json", type=Path, help="write a line for each file there")
    parser.add_argument("--worker", type=int, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        first, last = arguments.worker
        work(arguments.seed, first, last, arguments.limit)
        return
    console = Console(width=110)
    start = time.perf_counter()
    lines = watch(arguments.seed, arguments.first, arguments.files, arguments.limit, console)
    findings = [line for line in lines if line.verdict == "finding"]
    save(findings, arguments.seed, arguments.findings)
    if arguments.json:
        arguments.json.write_text("".join(json.dumps(asdict(line)) + "\n" for line in lines))
    console.print(make_table(lines))
    named = sum(line.number < len(HOSTILE) for line in lines)
    console.print(
        f"seed {arguments.seed}; {named} named cases; at most "
        f"{arguments.limit / 2**30:g} GiB for a file; {time.perf_counter() - start:,.0f} s in all",
        highlight=False,
    )
    for line in findings:
        console.print(f"{line.number} {line.name}: {line.words[:300]!r}", markup=False)
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
