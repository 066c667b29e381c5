"""Readers of columns of times."""
