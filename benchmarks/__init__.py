"""Measurements, each run by hand from the repository: `uv run python -m benchmarks.NAME`."""

from pathlib import Path

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
"""Folder of logs that may not be part of the project."""
