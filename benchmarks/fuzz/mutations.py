"""Damage to bytes: what disks, networks, careless programs and careful attackers do to files."""

from collections.abc import Callable

import numpy as np

Mutation = Callable[[bytes, np.random.Generator], bytes]

_TOKENS = (
    b"\0", b"\r", b"\n", b"\r\n", b'"', b'""', b",", b";", b"\t", b"::", b"|", b" ", b"\x1f",
    b"\xef\xbb\xbf", b"\xff\xfe", b"\x80", b"\xed\xa0\x80", b"\xc2\x85", b"\xe2\x80\xa8", b"\x1a",
    b"nan", b"inf", b"-1", b"1e999", b"9" * 30, b"NULL", b"2020-02-30", b"'; DROP TABLE users; --",
    b"PAR1", b"\x1f\x8b", b"\xff\xff\xff\x7f", b"\0" * 8, b"\xff" * 8,
)  # fmt: skip


def _place(content: bytes, rng: np.random.Generator) -> int:
    return int(rng.integers(0, len(content) + 1))


def _span(content: bytes, rng: np.random.Generator) -> tuple[int, int]:
    first = _place(content, rng)
    longest = max(1, len(content) // int(rng.choice([2, 8, 64])))
    return first, min(len(content), first + int(rng.integers(1, longest + 1)))


def flip_bits(content: bytes, rng: np.random.Generator) -> bytes:
    """A few bits turned over."""
    if not content:
        return content
    data = np.frombuffer(content, np.uint8).copy()
    for place in rng.integers(0, len(data), rng.integers(1, 9)):
        data[place] ^= np.uint8(1 << rng.integers(0, 8))
    return data.tobytes()


def set_bytes(content: bytes, rng: np.random.Generator) -> bytes:
    """A run of bytes overwritten with noise, or with one and the same."""
    first, last = _span(content, rng)
    last = min(last, first + 16)
    noise = rng.bytes(last - first) if rng.random() < 0.5 else rng.bytes(1) * (last - first)
    return content[:first] + noise + content[last:]


def truncate(content: bytes, rng: np.random.Generator) -> bytes:
    """The rest is missing, or the beginning."""
    place = _place(content, rng)
    return content[:place] if rng.random() < 0.7 else content[place:]


def cut_out(content: bytes, rng: np.random.Generator) -> bytes:
    """A piece is missing in the middle."""
    first, last = _span(content, rng)
    return content[:first] + content[last:]


def repeat_block(content: bytes, rng: np.random.Generator) -> bytes:
    """A piece stands there several times."""
    first, last = _span(content, rng)
    times = int(rng.integers(1, 5))
    return content[:last] + content[first:last] * times + content[last:]


def move_block(content: bytes, rng: np.random.Generator) -> bytes:
    """A piece stands elsewhere."""
    first, last = _span(content, rng)
    rest = content[:first] + content[last:]
    place = _place(rest, rng)
    return rest[:place] + content[first:last] + rest[place:]


def insert_noise(content: bytes, rng: np.random.Generator) -> bytes:
    """Random bytes in between."""
    place = _place(content, rng)
    return content[:place] + rng.bytes(int(rng.integers(1, 40))) + content[place:]


def insert_tokens(content: bytes, rng: np.random.Generator) -> bytes:
    """Bytes in between that mean something to one reader or another."""
    for _ in range(rng.integers(1, 5)):
        place = _place(content, rng)
        content = content[:place] + _TOKENS[rng.integers(len(_TOKENS))] + content[place:]
    return content


def swap_ends(content: bytes, rng: np.random.Generator) -> bytes:
    """The first bytes and the last ones changed for each other."""
    size = int(rng.integers(1, 13))
    return content[-size:] + content[size:-size] + content[:size]


MUTATIONS: tuple[Mutation, ...] = (
    flip_bits, set_bytes, truncate, cut_out, repeat_block, move_block, insert_noise, insert_tokens,
    swap_ends,
)  # fmt: skip


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """One to three damages, one after the other."""
    for _ in range(rng.integers(1, 4)):
        content = MUTATIONS[rng.integers(len(MUTATIONS))](content, rng)
    return content


def splice(one: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """The beginning of a file and the end of another."""
    return one[: _place(one, rng)] + other[_place(other, rng) :]
