"""Sizes that arrays are padded to, so that few shapes are compiled."""


def round_up(count: int, step: int) -> int:
    """The least multiple of `step` that is at least `count`, and at least `step`."""
    return step * max(1, -(-count // step))


def next_power(count: int) -> int:
    """The least power of two that is at least `count`, and at least 1."""
    return 1 << max(0, count - 1).bit_length()
