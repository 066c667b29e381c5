"""How long a person waits for `perennial --help`: a fresh process each time."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parent.parent


@click.command()
@click.option("--runs", default=20, show_default=True, help="Processes to start.")
def main(runs: int) -> None:
    """Print the median and the slowest of several starts."""
    for arguments in (["--help"], ["replay", "--help"], ["--version"]):
        seconds = []
        for _ in range(runs):
            start = time.perf_counter()
            subprocess.run(  # noqa: S603  # our own program
                [sys.executable, str(ROOT / "cli.py"), *arguments],
                check=True,
                stdout=subprocess.DEVNULL,
            )
            seconds.append(time.perf_counter() - start)
        middle, slowest = statistics.median(seconds), max(seconds)
        print(f"{' '.join(arguments):>16}: median {middle:.3f} s, slowest {slowest:.3f} s")


if __name__ == "__main__":
    main()
