"""Perennial: recommenders refitted period by period, with a memory of synthetic users."""
