"""The commands of `perennial`, a module for each room of the program; `cli.py` lists them."""
