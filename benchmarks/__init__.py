"""Measurements, each run by hand from the project's root: `uv run python -m benchmarks.NAME`."""
