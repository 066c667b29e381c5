"""Identifiers are returned unchanged, and integers are distinguished from strings."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perennial.storage.errors import UserError
from perennial.storage.reading.identifiers import (
    DIGITS,
    INTEGERS,
    ITEM_FAULTS,
    STRINGS,
    USER_FAULTS,
    encode,
    join_kinds,
    merge,
)
from perennial.storage.reading.rejects import Fault


def column(values, kind):
    half = len(values) // 2
    return pa.chunked_array([pa.array(values[:half], kind), pa.array(values[half:], kind)], kind)


def decode(encoded):
    return encoded.ids.take(pa.array(encoded.codes)).to_pylist()


def faults_of(encoded):
    faults = [0] * len(encoded.codes) if encoded.faults is None else encoded.faults
    return [Fault(fault) for fault in faults]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        *(
            ([7, 3, 7, 127, 0], kind())
            for kind in (pa.int8, pa.int16, pa.int32, pa.int64, pa.uint8, pa.uint32, pa.uint64)
        ),
        ([-128, 127, 0], pa.int8()),
        ([-(2**63), 2**63 - 1, 0], pa.int64()),
        ([2**64 - 1, 0, 5], pa.uint64()),
        ([2**64 - 1, 2**64 - 2], pa.uint64()),
        ([10**12, 10**12 + 1], pa.int64()),
        ([-(10**12), -(10**12) - 1], pa.int64()),
        ([0, 10**9], pa.int64()),
    ],
)
def test_integers_of_every_width(values, kind):
    encoded = encode(column(values, kind), USER_FAULTS, typed=True)
    assert decode(encoded) == [str(value) for value in values]
    assert encoded.kind == INTEGERS
    assert encoded.faults is None


@pytest.mark.parametrize("values", [[5, 3, 5, -2, 3], [], [-(2**31), 2**31 - 1, 0]])
def test_arrays_are_encoded_like_columns(values):
    encoded = encode(np.array(values, np.int32), USER_FAULTS, typed=True)
    assert decode(encoded) == [str(value) for value in values]
    assert encoded.kind == INTEGERS
    lent = pa.chunked_array([pa.array(values, pa.int32())])
    assert decode(encode(lent, USER_FAULTS, typed=True)) == decode(encoded)
    assert lent.to_pylist() == values


@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-50, 50), max_size=30))
@settings(max_examples=100, deadline=None)
def test_any_integers(values):
    encoded = encode(column(values, pa.int64()), ITEM_FAULTS, typed=True)
    assert decode(encoded) == [str(value) for value in values]
    assert len(set(encoded.ids.to_pylist())) == len(encoded.ids)


@given(st.lists(st.text(), max_size=30))
@settings(max_examples=100, deadline=None)
def test_any_text(values):
    encoded = encode(column(values, pa.string()), ITEM_FAULTS, typed=True)
    good = [fault == Fault.NONE for fault in faults_of(encoded)]
    assert good == [value.strip() != "" for value in values]
    decoded = decode(encoded)
    assert [text for text, is_good in zip(decoded, good, strict=True) if is_good] == [
        value for value, is_good in zip(values, good, strict=True) if is_good
    ]
    assert encoded.kind == STRINGS


@pytest.mark.parametrize(
    ("values", "integers"),
    [
        (["1", "20", "0", "-5"], True),
        (["123456789012345678901234567890", "5"], True),
        (["1", ""], True),
        (["1", "NaN"], True),
        (["007", "1"], False),
        (["1", "+2"], False),
        (["1", "-0"], False),
        (["1", " 2"], False),
        (["1", "2.0"], False),
        (["1", "a"], False),
        (["1", "١"], False),
        (["1", "2\n"], False),
    ],
)
def test_text_is_integers_if_all_of_it_is_written_so(values, integers):
    untyped = encode(column(values, pa.string()), USER_FAULTS, typed=False)
    assert untyped.kind == (DIGITS if integers else STRINGS)
    assert encode(column(values, pa.string()), USER_FAULTS, typed=True).kind == STRINGS


def test_words_for_nothing_in_text_files_only():
    values = ["a", "", " ", "NULL", "null", "\\N", "NaN", "nan", "Nan Goldin"]
    missing, nan, none = Fault.NO_ITEM, Fault.NAN_ITEM, Fault.NONE
    text = encode(column(values, pa.string()), ITEM_FAULTS, typed=False)
    assert faults_of(text) == [none, missing, missing, missing, missing, missing, nan, nan, none]
    typed = encode(column(values, pa.string()), ITEM_FAULTS, typed=True)
    assert faults_of(typed) == [none, missing, missing, none, none, none, none, none, none]


@pytest.mark.parametrize("kind", [pa.int64(), pa.float64(), pa.string(), pa.binary()])
def test_nulls_are_missing(kind):
    good = pa.scalar("5").cast(kind).as_py()
    encoded = encode(column([good, None, good, None], kind), USER_FAULTS, typed=True)
    assert faults_of(encoded) == [Fault.NONE, Fault.NO_USER, Fault.NONE, Fault.NO_USER]
    assert decode(encoded)[0] == decode(encoded)[2] == "5"


def test_whole_floats_are_integers():
    values = [1.0, float("nan"), 2.5, -3.0, float("inf"), 2.0**60, None, 0.0]
    encoded = encode(column(values, pa.float64()), USER_FAULTS, typed=True)
    none, fraction = Fault.NONE, Fault.FRACTION_USER
    expected = [none, Fault.NAN_USER, fraction, none, fraction, fraction, Fault.NO_USER, none]
    assert faults_of(encoded) == expected
    decoded = decode(encoded)
    assert [decoded[place] for place in (0, 3, 7)] == ["1", "-3", "0"]
    assert encoded.kind == INTEGERS


def test_bytes_must_be_utf8():
    encoded = encode(
        column([b"a", b"\xff", "é".encode(), b"\xff"], pa.binary()), USER_FAULTS, typed=True
    )
    assert faults_of(encoded) == [Fault.NONE, Fault.BAD_UTF8, Fault.NONE, Fault.BAD_UTF8]
    assert decode(encoded)[0::2] == ["a", "é"]


@pytest.mark.parametrize("kind", [pa.bool_(), pa.timestamp("s"), pa.list_(pa.int64()), pa.null()])
def test_other_types_are_refused(kind):
    with pytest.raises(UserError, match="cannot hold identifiers"):
        encode(column([None], kind), USER_FAULTS, typed=True)


@pytest.mark.parametrize(
    ("known", "incoming", "joint"),
    [
        *((None, DIGITS, DIGITS), (None, STRINGS, STRINGS), (INTEGERS, INTEGERS, INTEGERS)),
        *((INTEGERS, DIGITS, INTEGERS), (DIGITS, INTEGERS, INTEGERS), (DIGITS, DIGITS, DIGITS)),
        *((DIGITS, STRINGS, STRINGS), (STRINGS, DIGITS, STRINGS), (STRINGS, STRINGS, STRINGS)),
    ],
)
def test_kinds_that_go_together(known, incoming, joint):
    assert join_kinds(known, incoming, "its users") == joint


@pytest.mark.parametrize(("known", "incoming"), [(INTEGERS, STRINGS), (STRINGS, INTEGERS)])
def test_kinds_that_do_not(known, incoming):
    words = f"its items are {incoming.kind}s, and those before them are {known.kind}s"
    with pytest.raises(UserError, match=words):
        join_kinds(known, incoming, "its items")


def test_columns_of_several_files_are_merged():
    columns = [
        encode(column([*texts], pa.string()), USER_FAULTS, typed=True)
        for texts in ("bab", "", "cbda")
    ]
    merged = merge(columns, STRINGS)
    assert decode(merged) == [*"babcbda"]
    assert sorted(merged.ids.to_pylist()) == ["a", "b", "c", "d"]
    assert merged.codes.dtype == np.int32
    assert decode(merge(columns[1:2] * 2, STRINGS)) == []
