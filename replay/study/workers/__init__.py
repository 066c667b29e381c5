"""Executors and worker processes of a study."""
