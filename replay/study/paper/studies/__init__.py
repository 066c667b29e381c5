"""The studies on the paper's split, one file each."""
