"""Strategies, one file each: what a model is refitted on at period t."""
