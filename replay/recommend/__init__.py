"""Recommendations from a fitted model."""
