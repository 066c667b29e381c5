"""The studies, one file each: which cells they have, and what is read from them."""
