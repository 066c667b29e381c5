"""What a strategy keeps of the past when the log itself is not replayed."""
