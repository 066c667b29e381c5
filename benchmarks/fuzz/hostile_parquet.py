"""Named cases of Parquet: types that hold no log, absurd names, and metadata that lie."""

from collections.abc import Callable
from decimal import Decimal
from functools import partial

import pyarrow as pa

from benchmarks.fuzz.footers import (
    Field,
    column_chunks,
    read_footer,
    read_struct,
    with_footer,
    with_page_header,
)
from benchmarks.fuzz.hostile import Must, named
from benchmarks.fuzz.parquet import write_parquet

LONG_TEXTS = 300
"""Texts of 2 MB, each another, in a Parquet file of a few kilobytes."""


def _typed(**changes: pa.Array) -> dict[str, pa.Array]:
    count = len(next(iter(changes.values()))) if changes else 9
    sound = {
        "user_id": pa.array([n % 3 for n in range(count)]),
        "item_id": pa.array([n % 4 for n in range(count)]),
        "timestamp": pa.array([10**9 + n for n in range(count)]),
    }
    return {**sound, **changes}


def _written(**changes: pa.Array) -> bytes:
    return write_parquet(_typed(**changes))


for _name, _column in {
    "a list": pa.array([[1, 2], [3]]), "a structure": pa.array([{"user_id": 1}, {"user_id": 2}]),
    "a map": pa.array([[("a", 1)], []], pa.map_(pa.string(), pa.int64())),
    "nulls": pa.nulls(2), "booleans": pa.array([True, False]),
    "durations": pa.array([1, 2], pa.duration("s")),
    "fractions": pa.array([Decimal("1.50"), Decimal("2.25")]),
    "times of the day": pa.array([1, 2], pa.time64("us")),
    "inexact floats": pa.array([1.0, 2.0**53]),
    "inexact narrow floats": pa.array([1.0, 2.0**24 + 2], pa.float32()),
    "bytes of a great width": pa.array([b"x" * 70_000] * 2, pa.binary(70_000)),
    "no UTF-8": pa.Array.from_buffers(
        pa.string(), 2,
        [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0\4\0\0\0"), pa.py_buffer(b"\xff\xfe\xed\xa0")],
    ),
}.items():  # fmt: skip
    named(f"Parquet users: {_name}", "parquet", "be refused")(partial(_written, user_id=_column))
for _name, _column in {
    "wide decimals": pa.array([Decimal(10**50), Decimal(1)], pa.decimal256(60, 0)),
    "UUIDs": pa.array([b"\xff" * 16, b"\0" * 16], pa.uuid()),
    "whole floats": pa.array([-0.0, 2.0**53 - 1]),
    "floats and UUIDs as text": pa.array(["1.0", "{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}"]),
}.items():  # fmt: skip
    named(f"Parquet users: {_name}", "parquet", "be taken")(partial(_written, user_id=_column))
for _name, _column in {
    "durations": pa.array([1, 2], pa.duration("s")),
    "times of the day": pa.array([1, 2], pa.time32("s")),
    "the end of time": pa.array([2**63 - 1, -(2**63)], pa.timestamp("us")),
    "the end of days": pa.array([2**31 - 1, -(2**31)], pa.date32()),
    "the end of ms": pa.array([2**63 - 86_400_000, 0], pa.int64()).cast(pa.timestamp("ms")),
    "infinite": pa.array([float("inf"), float("nan")]), "a list": pa.array([[1], [2]]),
    "booleans": pa.array([True, False]), "bytes": pa.array([b"1", b"2"]),
    "past 63 bits": pa.array([2**64 - 1, 2**63], pa.uint64()),
}.items():  # fmt: skip
    named(f"Parquet times: {_name}", "parquet", "be refused")(partial(_written, timestamp=_column))
named("Parquet times: decimals", "parquet", "be taken")(
    partial(_written, timestamp=pa.array([Decimal("1.5"), Decimal("2.5")]))
)
named("Parquet twins", "parquet", "be refused")(
    lambda: write_parquet(
        pa.Table.from_arrays([pa.array([1])] * 3, ["user_id", "item_id", "item_id"])
    )
)
named("Parquet without row groups", "parquet", "be refused")(
    lambda: write_parquet(
        pa.schema([("user_id", pa.int64()), ("item_id", pa.int64())]).empty_table()
    )
)
named("Parquet without columns", "parquet", "be refused")(lambda: write_parquet(pa.table({})))
named("Parquet names: absurd", "parquet", "be refused")(
    lambda: write_parquet(
        {
            name: pa.array([1])
            for name in ("", "a\nb", "a\0b", "x" * 1_000_000, "'; DROP TABLE a", "\x1b[2J")
        }
    )
)
named("Parquet names: absurd ones beside good ones", "parquet", "be taken")(
    lambda: write_parquet(
        {**_typed(), "": pa.nulls(9), "a.b": pa.nulls(9), "a\n\0'\"": pa.nulls(9)}
    )
)
named("Parquet of a few bytes with the same long text over and over", "parquet", "be taken")(
    lambda: write_parquet(_typed(user_id=_shared(50_000, 100_000)))
)
for _encoding in ("DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"):
    named(f"Parquet of the same long text over and over, {_encoding}", "parquet", "be taken")(
        partial(
            write_parquet, _typed(user_id=pa.array(["x" * 50_000] * 2_000)), use_dictionary=False,
            column_encoding={"user_id": _encoding}, compression="zstd",
        )
    )  # fmt: skip
named("Parquet times: the same long text over and over", "parquet", "be refused")(
    lambda: write_parquet(_typed(timestamp=_shared(100_000, 100_000)))
)
named("Parquet of long texts that pack well", "parquet", None)(
    lambda: write_parquet(
        _typed(user_id=pa.array([f"{'x' * 2_000_000}{n}" for n in range(LONG_TEXTS)])),
        compression="zstd", use_dictionary=False, write_statistics=False,
    )
)  # fmt: skip
named("Parquet of a few bytes with 300 million rows", "parquet", None)(
    lambda: _repeated_groups(write_parquet(_typed(user_id=pa.array([1] * 1_000_000))), 300)
)


def _shared(length: int, count: int) -> pa.Array:
    """One long text in every row."""
    return pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), ["x" * length])


def _repeated_groups(content: bytes, times: int) -> bytes:
    """One row group listed many times, at one place in the file."""
    footer = read_footer(content)
    footer[4].value *= times
    footer[3].value *= times
    return with_footer(content, footer)


def _lying(
    name: str,
    change: Callable[[Field], None],
    *,
    page: bool = False,
    must: Must = "be refused",
) -> None:
    """Enter a case whose footer, or first page header, was changed."""

    def make() -> bytes:
        content = write_parquet(_typed(), use_dictionary=False)
        if page:
            place = next(column_chunks(read_footer(content)))[9].value
            header = read_struct(content, place)[0]
            change(header)
            return with_page_header(content, place, header)
        footer = read_footer(content)
        change(footer)
        return with_footer(content, footer)

    named(f"Parquet lies: {name}", "parquet", None if page else must)(make)


def _set(*path: int, value: object) -> Callable[[Field], None]:
    def change(tree: Field) -> None:
        for step in path:
            tree = tree[step]
        tree.value = value

    return change


def _set_rows(value: int) -> Callable[[Field], None]:
    def change(footer: Field) -> None:
        footer[3].value = footer[4][0][3].value = value
        for chunk in column_chunks(footer):
            chunk[5].value = value

    return change


for _number in (0, 1, 8, 10, 10**6, 10**9, 10**12, 2**62, -1, -(2**63)):
    _lying(f"{_number} rows", _set(3, value=_number))
    _lying(f"{_number} rows in a group", _set(4, 0, 3, value=_number))
    if _number not in (1, 8):
        _lying(f"{_number} rows everywhere", _set_rows(_number))
for _number in (0, 1, 10**9, 2**31 - 1, -1):
    _lying(f"{_number} bytes unpacked", _set(2, value=_number), page=True)
    _lying(f"{_number} bytes packed", _set(3, value=_number), page=True)
    _lying(f"{_number} values in a page", _set(5, 1, value=_number), page=True)
for _number in (-1, 0, 10**9, 2**62):
    _lying(f"a page at {_number}", _set(4, 0, 1, 0, 3, 9, value=_number))
    _lying(f"a chunk of {_number} bytes", _set(4, 0, 1, 0, 3, 7, value=_number))
for _number in (5, 6):
    _lying(
        f"an end of the statistics, {_number}",
        _set(4, 0, 1, 0, 3, 12, _number, value=(2**40).to_bytes(8, "little")),
        must="be taken",
    )
_lying("a name that is no UTF-8", _set(2, 1, 4, value=b"\xff\xfe"))
_lying("a path that is no column", _set(4, 0, 1, 0, 3, 3, 0, value=b"else"), must=None)
_lying("a billion children", _set(2, 0, 5, value=10**9))
_lying("children of itself", _set(2, 0, 5, value=-1))
_lying("another file", lambda footer: footer[4][0][1][0].value.__setitem__(
    1, Field(8, b"../../etc/passwd")), must=None)  # fmt: skip
_lying("no row groups", lambda footer: footer[4].value.clear())
_lying("level histograms", _set(4, 0, 1, 0, 3, 16, 2, value=[Field(6, 1)] * 3), must=None)
_lying("half a schema", lambda footer: footer[2].value.pop())
