"""The library: what `import perennial` offers, over the functions that the commands call."""
