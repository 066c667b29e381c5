"""Drawing Parquet files: sound ones, ones of types that hold no log, and ones that lie."""

import io
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.fuzz.case import FuzzCase
from benchmarks.fuzz.footers import (
    Field,
    column_chunks,
    leaves,
    lists,
    read_footer,
    read_struct,
    with_footer,
    with_page_header,
)
from benchmarks.fuzz.text import draw_ids
from perennial.storage.reading.parquet_batches import is_text, plain_type
from perennial.storage.reading.settings import IngestSettings

_SOUND_INTEGERS = (
    pa.int8(),
    pa.int16(),
    pa.int32(),
    pa.int64(),
    pa.uint8(),
    pa.uint32(),
    pa.uint64(),
)
_SOUND_TEXTS = (
    pa.string(), pa.large_string(), pa.binary(), pa.string_view(),
    pa.dictionary(pa.int32(), pa.string()),
)  # fmt: skip
_OTHERS = (
    pa.float64(), pa.float32(), pa.float16(), pa.decimal128(20, 0), pa.decimal256(60, 0),
    pa.decimal128(10, 2), pa.bool_(), pa.date32(), pa.time64("us"), pa.duration("us"), pa.null(),
    pa.binary(4), pa.list_(pa.int64()), pa.struct([("user_id", pa.int64())]),
    pa.map_(pa.string(), pa.int64()), pa.list_(pa.int32(), 3), pa.large_binary(), pa.binary_view(),
    pa.uuid(), pa.binary(16), pa.decimal32(9, 4), pa.decimal64(18, 0), pa.decimal256(76, 70),
)  # fmt: skip
_TEXT_ENCODINGS = ("PLAIN", "DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY")
_TIMES = (
    pa.int64(), pa.int32(), pa.timestamp("s"), pa.timestamp("ms"),
    pa.timestamp("us", "Europe/Berlin"),
    pa.timestamp("ns"), pa.date32(), pa.date64(), pa.float64(), pa.string(), pa.uint64(),
)  # fmt: skip
_EDGES = (
    0, 1, -1, 2, 127, 128, 2**15, 2**16, 2**31 - 1, 2**31, -(2**31), 2**32, 2**40, 2**62, 2**63 - 1,
    -(2**63),
)  # fmt: skip


def write_parquet(columns: dict[str, pa.Array] | pa.Table, **options: object) -> bytes:
    """A table as the bytes of a Parquet file."""
    sink = io.BytesIO()
    table = columns if isinstance(columns, pa.Table) else pa.table(columns)
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def draw_parquet(rng: np.random.Generator) -> FuzzCase:
    """A Parquet file of any types; where they are sound, its rows are known."""
    count = int(rng.integers(0, 60))
    users, known_users = _draw_column(rng, count)
    items, known_items = _draw_column(rng, count)
    columns = {"user_id": users, "item_id": items}
    with_times = rng.random() < 0.8
    if with_times:
        columns["timestamp"] = _draw_times(rng, count)
    if rng.random() < 0.3:
        columns["other"] = _draw_column(rng, count)[0]
    content = write_parquet(columns, **_draw_options(rng, columns))
    case = FuzzCase("drawn.parquet", content, "drawn", IngestSettings(max_reject_share=1.0))
    if count and known_users is not None and known_items is not None:
        pairs = frozenset(zip(known_users, known_items, strict=True))
        return replace(case, pairs=pairs, must="be taken")
    return case


def _draw_options(rng: np.random.Generator, columns: dict[str, pa.Array]) -> dict[str, object]:
    texts = [name for name, column in columns.items() if is_text(plain_type(column.type))]
    encodings = {}
    if rng.random() < 0.3:
        encodings = {name: str(rng.choice(_TEXT_ENCODINGS)) for name in texts}
    return {
        "compression": str(rng.choice(["none", "snappy", "gzip", "zstd", "brotli", "lz4"])),
        "use_dictionary": not encodings and bool(rng.random() < 0.5),
        "column_encoding": encodings or None,
        "write_statistics": bool(rng.random() < 0.7),
        "row_group_size": int(rng.choice([1, 7, 20, 1000])),
        "data_page_version": str(rng.choice(["1.0", "2.0"])),
        "write_page_index": bool(rng.random() < 0.2),
        "write_page_checksum": bool(rng.random() < 0.2),
        "store_schema": bool(rng.random() < 0.8),
    }


def _draw_column(rng: np.random.Generator, count: int) -> tuple[pa.Array, list[str] | None]:
    """A column, and its identifiers as text where they must all be kept."""
    choice = rng.random()
    if choice < 0.35:
        kind = _SOUND_INTEGERS[rng.integers(len(_SOUND_INTEGERS))]
        values = _integers(rng, kind, count)
        return pa.array(values, kind), [str(value) for value in values]
    if choice < 0.7:
        kind = _SOUND_TEXTS[rng.integers(len(_SOUND_TEXTS))]
        texts = draw_ids(rng, count, True)
        plain = pa.array(texts, pa.string())
        return (
            plain.dictionary_encode() if pa.types.is_dictionary(kind) else plain.cast(kind)
        ), texts
    kind = _OTHERS[rng.integers(len(_OTHERS))]
    return pa.array([_value(rng, kind) for _ in range(count)], kind), None


def _integers(rng: np.random.Generator, kind: pa.DataType, count: int) -> list[int]:
    limits = np.iinfo(kind.to_pandas_dtype())
    if rng.random() < 0.5:
        return [int(value) for value in rng.integers(0, 50, count)]
    edges = [edge for edge in (*_EDGES, 2**64 - 1) if limits.min <= edge <= limits.max]
    return [edges[place] for place in rng.integers(0, len(edges), count)]


def _value(rng: np.random.Generator, kind: pa.DataType) -> object:
    if rng.random() < 0.1:
        return None
    number = _EDGES[rng.integers(len(_EDGES))] if rng.random() < 0.3 else int(rng.integers(0, 90))
    small = abs(number) % 90
    if pa.types.is_floating(kind):
        odd = (float("nan"), float("inf"), -0.0, 0.5)
        return np.dtype(kind.to_pandas_dtype()).type(
            odd[rng.integers(4)] if rng.random() < 0.2 else small
        )
    if pa.types.is_decimal(kind):
        return Decimal(number % 10 ** min(7, kind.precision - kind.scale))
    if pa.types.is_boolean(kind):
        return small % 2 == 0
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return rng.bytes(small % 5)
    if pa.types.is_fixed_size_binary(kind):
        return rng.bytes(kind.byte_width)
    if isinstance(kind, pa.UuidType):
        return rng.bytes(16)
    if pa.types.is_struct(kind):
        return {"user_id": small}
    if pa.types.is_map(kind):
        return [("a", small)]
    if pa.types.is_nested(kind):
        return [small] * 3
    if pa.types.is_null(kind):
        return None
    return small


def _draw_times(rng: np.random.Generator, count: int) -> pa.Array:
    kind = _TIMES[rng.integers(len(_TIMES))]
    seconds = rng.integers(10**9, 2 * 10**9, count)
    if pa.types.is_date(kind):
        return pa.array(seconds // 86_400, pa.int32()).cast(pa.date32()).cast(kind)
    if pa.types.is_timestamp(kind):
        return pa.array(seconds).cast(pa.timestamp("s")).cast(pa.timestamp(kind.unit)).cast(kind)
    return pa.array(seconds).cast(kind)


def lie(content: bytes, rng: np.random.Generator) -> bytes:
    """A Parquet file whose footer, or the header of one of its pages, has something else."""
    footer = read_footer(content)
    if rng.random() < 0.4:
        places = [
            chunk[number].value
            for chunk in column_chunks(footer)
            for number in (9, 11)
            # A chunk without rows has no page at the place that it names.
            if number in chunk.value and chunk[5].value > 0
        ]
        if places:
            place = places[rng.integers(len(places))]
            header = read_struct(content, place)[0]
            _change(header, rng)
            return with_page_header(content, place, header)
    for _ in range(rng.integers(1, 4)):
        _change(footer, rng)
    return with_footer(content, footer)


def _change(tree: Field, rng: np.random.Generator) -> None:
    """Change a number or a text, or a list by one member."""
    held = list(lists(tree))
    if held and rng.random() < 0.15:
        chosen = held[rng.integers(len(held))].value
        place = int(rng.integers(len(chosen)))
        if rng.random() < 0.5:
            chosen.insert(place, chosen[place])
        else:
            del chosen[place]
        return
    found = list(leaves(tree))
    if not found:
        return
    leaf = found[rng.integers(len(found))]
    if isinstance(leaf.value, bytes):
        texts = (b"", b"\0", b"user_id", b"\xff\xfe", b"x" * 300, b"a\nb", rng.bytes(8))
        leaf.value = texts[rng.integers(len(texts))]
    elif rng.random() < 0.5:
        leaf.value += int(rng.integers(-3, 4))
    else:
        leaf.value = _EDGES[rng.integers(len(_EDGES))]
