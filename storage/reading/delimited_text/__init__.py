"""Reader of delimited text."""
