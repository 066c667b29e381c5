"""Data sources, one file each: files, public data sets, the embedded synthetic stream."""
