"""JSON lines: their paths, their rows and their reader."""
