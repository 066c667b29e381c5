"""Readers of files of interactions and of titles."""
