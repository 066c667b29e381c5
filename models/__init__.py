"""The recommenders, one file each: fit(rows) -> model, and the model scores contexts."""
