"""Memories of the periods before the newest, for strategies that do not read the whole log."""
