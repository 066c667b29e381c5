"""Strategies, the period loop, metrics and reports."""
