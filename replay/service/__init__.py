"""The published model over HTTP, and what answers for it."""
