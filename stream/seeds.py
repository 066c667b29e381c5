"""Seeds derived from their purpose, so that results do not depend on the order of the work."""

import hashlib


def derive_seed(*parts: int | str) -> int:
    """Hash `parts` into a seed in [0, 2^63).

    Args:
        parts: purpose of the random numbers, e.g. `(seed, period, strategy, model)`.

    Returns:
        The same number for the same parts on every machine; `1` and `"1"` differ.
    """
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
