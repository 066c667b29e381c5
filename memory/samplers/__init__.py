"""Samplers, one file each: which real users' rows a memory keeps; baselines for DISTILL-CF."""
