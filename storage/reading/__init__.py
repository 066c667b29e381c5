"""Reading files of interactions and of titles."""
