"""Ranking metrics, one file each."""
