"""Results in the store: runs, cells, fits, summaries, publications."""
