"""Every encoding and every type in which Parquet holds identifiers gives the same identifiers."""

import uuid
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from perennial.storage.errors import UserError
from perennial.storage.reading import parquet
from perennial.storage.reading.identifiers import USER_FAULTS, encode
from perennial.storage.reading.memory_budget import Budget
from perennial.storage.reading.settings import FileSettings

TEXT_TYPES = (
    pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(),
    pa.binary_view(), pa.dictionary(pa.int32(), pa.string()),
)  # fmt: skip
DELTA = ("DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY")
UUIDS = [uuid.UUID(int=7 << 120), uuid.UUID(int=2**128 - 1)]


def write(path, users, **options):
    """Write a log with these users in row groups of different lengths."""
    table = pa.table({"user_id": users, "item_id": pa.array(range(len(users)))})
    with pq.ParquetWriter(path, table.schema, **options) as writer:
        for start, stop in ((0, 1), (1, 5), (5, len(users))):
            writer.write_table(table.slice(start, stop - start))
    return path


def read_users(path, budget=None):
    """Read the users of a log, None where there is none."""
    read = parquet.read_columns(path, FileSettings(), budget or Budget())
    (users, items), num_rows = read.columns, read.num_rows
    assert num_rows == len(users) == len(items)
    encoded = encode(users, USER_FAULTS, typed=True)
    faults = np.zeros(num_rows) if encoded.faults is None else encoded.faults
    ids = encoded.ids.take(pa.array(encoded.codes)).to_pylist()
    return [None if fault else name for name, fault in zip(ids, faults, strict=True)]


@pytest.mark.parametrize("page", ["1.0", "2.0"])
@pytest.mark.parametrize("encoding", ["dictionary", "PLAIN", *DELTA])
@pytest.mark.parametrize("kind", TEXT_TYPES, ids=str)
def test_texts(tmp_path, kind, encoding, page):
    texts = ["x", None, "1.0", "x", "yé", *[f"u{number % 3}" for number in range(300)], None]
    users = pa.array(texts, pa.string())
    users = (
        users.dictionary_encode()
        if pa.types.is_dictionary(kind)
        else users.cast(pa.binary()).cast(kind)
    )
    options = (
        {"use_dictionary": True}
        if encoding == "dictionary"
        else {"use_dictionary": False, "column_encoding": {"user_id": encoding}}
    )
    path = write(tmp_path / "log.parquet", users, data_page_version=page, **options)
    assert read_users(path) == ["1" if text == "1.0" else text for text in texts]


@pytest.mark.parametrize("store_schema", [True, False])
@pytest.mark.parametrize("use_dictionary", [True, False])
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([*UUIDS, None, UUIDS[0]] * 2, pa.uuid()), [*UUIDS, None, UUIDS[0]] * 2),
        (pa.array([b"ab", None, b"cd"] * 2, pa.binary(2)), ["ab", None, "cd"] * 2),
        (pa.array([1.0, None, -0.0] * 2, pa.float16()), ["1", None, "0"] * 2),
        (pa.array([2**24 - 1, None, 0.0] * 2, pa.float32()), [2**24 - 1, None, "0"] * 2),
        (pa.array([2**53 - 1, None, 0.5] * 2, pa.float64()), [2**53 - 1, None, None] * 2),
        (pa.array([2**64 - 1, None, 0] * 2, pa.uint64()), [2**64 - 1, None, 0] * 2),
        *(
            (
                pa.array([Decimal(value) for value in values] * 2, kind),
                [None if "." in value else value for value in values] * 2,
            )
            for kind, values in (
                (pa.decimal32(5, 2), ["7", "1.25", "-999"]),
                (pa.decimal64(18, 0), ["9" * 18, "0", "-1"]),
                (pa.decimal128(38, 0), ["9" * 38, str(2**63), "0"]),
                (pa.decimal128(38, 9), ["9" * 29, "0.5", "0"]),
                (pa.decimal256(76, 0), ["9" * 76, "0", "-1"]),
            )
        ),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_other_types(tmp_path, values, expected, use_dictionary, store_schema):
    options = {"use_dictionary": use_dictionary, "store_schema": store_schema}
    path = write(tmp_path / "log.parquet", values, **options)
    assert read_users(path) == [None if value is None else str(value) for value in expected]


def test_uuids_in_a_version_of_arrow_without_their_type(tmp_path, monkeypatch):
    path = write(tmp_path / "log.parquet", pa.array(UUIDS * 3, pa.uuid()), store_schema=False)
    plain = pq.ParquetFile

    def without_extensions(*args, **options):
        return plain(*args, arrow_extensions_enabled=False, **options)

    monkeypatch.setattr(parquet.pq, "ParquetFile", without_extensions)
    assert read_users(path) == [str(one) for one in UUIDS * 3]


@pytest.mark.parametrize("encoding", DELTA)
def test_a_long_text_in_every_row_takes_no_memory_of_its_own(tmp_path, encoding):
    long, rows = "x" * 60_000, 3_000
    options = {"use_dictionary": False, "column_encoding": {"user_id": encoding}}
    path = write(tmp_path / "log.parquet", pa.array([long] * rows), **options)
    little = Budget(free=lambda: rows * len(long) // 10)
    assert set(read_users(path, little)) == {long}


@pytest.mark.parametrize("encoding", DELTA)
def test_different_long_texts_are_within_the_budget(tmp_path, encoding):
    texts = [f"{'x' * 10_000}{number}" for number in range(1_000)]
    options = {"use_dictionary": False, "column_encoding": {"user_id": encoding}}
    path = write(tmp_path / "log.parquet", pa.array(texts), **options)
    with pytest.raises(UserError, match="takes more than half of the"):
        read_users(path, Budget(free=lambda: 10**6))
    assert read_users(path, Budget(free=lambda: 10**8)) == texts


def test_values_of_a_great_fixed_width_are_refused(tmp_path):
    path = write(tmp_path / "log.parquet", pa.array([b"x" * 70_000] * 9, pa.binary(70_000)))
    with pytest.raises(UserError, match=r"values of type .* are too long; name another column"):
        read_users(path)
