"""Studies: many replays at once, in parallel where there are cores, and one report of them."""
