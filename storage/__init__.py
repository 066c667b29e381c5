"""The DuckDB store: schema and migrations, ingestion, reading matrices, runs, fitted models."""
