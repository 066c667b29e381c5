"""Fuzzing led by coverage: `uv run --with atheris python -m benchmarks.fuzz_coverage --minutes 5`.

Atheris counts the branches that an input takes in `storage`, keeps the inputs that take new ones,
and changes them further. The first byte of an input chooses the format, the others are the file.
Each is read, without the transaction that `benchmarks.fuzz_ingest` has as well. The first finding
ends the run, and its input is left in the folder of findings. Atheris comes for Linux and macOS,
and is no dependency of this project.
"""

import argparse
import importlib.util
import sys
import tempfile
from pathlib import Path

_SUFFIXES = ("csv", "tsv", "dat", "inter", "ader.txt", "parquet", "csv.gz", "ader.txt.gz")
_SEEDS = 400


def make_corpus(folder: Path) -> None:
    """Write inputs to begin with: drawn and damaged files, as the campaign has them."""
    from benchmarks.fuzz.files import make_case
    from benchmarks.fuzz.hostile import HOSTILE

    for number in range(len(HOSTILE), len(HOSTILE) + _SEEDS):
        case = make_case(0, number)
        place = next(n for n, suffix in enumerate(_SUFFIXES) if case.name.endswith(suffix[-3:]))
        (folder / str(number)).write_bytes(bytes([place]) + case.content)


def fuzz(minutes: float, findings: Path, corpus: Path, scratch: Path) -> None:
    """Fuzz until the time is over; does not return."""
    import atheris  # type: ignore[import-untyped, import-not-found, unused-ignore]

    # Modules count branches only if they are imported here for the first time.
    with atheris.instrument_imports(include=["storage"]):
        from benchmarks.fuzz.case import FuzzCase
        from benchmarks.fuzz.check import judge_reading
        from perennial.storage.log.ingest import IngestSettings
        from perennial.storage.store import Store

    if not any(corpus.iterdir()):
        make_corpus(corpus)

    store = Store.open(":memory:")
    settings = IngestSettings(max_reject_share=1.0)

    def judge_one(data: bytes) -> None:
        suffix = _SUFFIXES[data[0] % len(_SUFFIXES)] if data else _SUFFIXES[0]
        case = FuzzCase(f"input.{suffix}", data[1:], "damaged", settings)
        judge_reading(case, scratch / case.name, store.connection)

    findings.mkdir(parents=True, exist_ok=True)
    limits = [f"-max_total_time={int(minutes * 60)}", "-rss_limit_mb=4096", "-timeout=120"]
    places = [f"-artifact_prefix={findings}/", str(corpus)]
    atheris.Setup(
        [sys.argv[0], *limits, "-max_len=65536", "-print_final_stats=1", *places], judge_one
    )
    atheris.Fuzz()


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"), help="folder")
    parser.add_argument("--corpus", type=Path, help="folder of inputs, kept and added to")
    arguments = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        sys.exit("atheris is not installed: run this with `uv run --with atheris python -m ...`")
    with tempfile.TemporaryDirectory() as name:
        scratch, corpus = Path(name) / "scratch", arguments.corpus or Path(name) / "corpus"
        for folder in (scratch, corpus):
            folder.mkdir(parents=True, exist_ok=True)
        fuzz(arguments.minutes, arguments.findings, corpus, scratch)


if __name__ == "__main__":
    main()
