"""The log in the store: ingestion, periods, matrices, export."""
