"""The live model of a store: ingest period files, evaluate, refit, publish."""
