"""Identifiers are returned unchanged, and integers are distinguished from strings."""

import uuid
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perennial.storage.errors import UserError
from perennial.storage.reading.identifier_forms import canonical, canonical_texts, uuid_texts
from perennial.storage.reading.identifiers import (
    DIGITS,
    INTEGERS,
    ITEM_FAULTS,
    STRINGS,
    TEXT,
    USER_FAULTS,
    check_exact,
    describe_mixture,
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
        *(([7, 3, 7, 127, 0], kind()) for kind in (pa.int8, pa.int16, pa.int32, pa.int64)),
        *(([7, 3, 7, 127, 0], kind()) for kind in (pa.uint8, pa.uint32, pa.uint64)),
        *(([-128, 127, 0], pa.int8()), ([0, 10**9], pa.int64())),
        *(([2**64 - 1, 0, 5], pa.uint64()), ([2**64 - 1, 2**64 - 2], pa.uint64())),
        *(([-(2**63), 2**63 - 1, 0], pa.int64()), ([10**12, 10**12 + 1], pa.int64())),
        ([-(10**12), -(10**12) - 1], pa.int64()),
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
@settings(max_examples=100)
def test_any_integers(values):
    encoded = encode(column(values, pa.int64()), ITEM_FAULTS, typed=True)
    assert decode(encoded) == [str(value) for value in values]
    assert len(set(encoded.ids.to_pylist())) == len(encoded.ids)


@given(st.lists(st.text(), max_size=30))
@settings(max_examples=100)
def test_any_text(values):
    encoded = encode(column(values, pa.string()), ITEM_FAULTS, typed=True)
    good = [fault == Fault.NONE for fault in faults_of(encoded)]
    assert good == [value.strip() != "" for value in values]
    decoded = decode(encoded)
    assert [text for text, is_good in zip(decoded, good, strict=True) if is_good] == [
        canonical(value) for value, is_good in zip(values, good, strict=True) if is_good
    ]
    assert encoded.kind == STRINGS


@pytest.mark.parametrize(
    ("values", "integers"),
    [
        *((["1", *others], True) for others in (["20", "0", "-5"], [""], ["NaN"], [" 2"], ["2.0"])),
        *((["-0.0", "-3.00"], True), (["9" * 76, "5"], True), (["9" * 77, "5"], False)),
        *((["1", text], False) for text in ("007", "+2", "-0", "a", "١", "2\n", "2.", "2.5")),
        *((["1", text], False) for text in ("007.0", ".0", "+2.0", "2.0e1", "2.0\n")),
    ],
)
def test_text_is_integers_if_all_of_it_is_written_so(values, integers):
    untyped = encode(column(values, pa.string()), USER_FAULTS, typed=False)
    assert untyped.kind == (DIGITS if integers else TEXT)
    assert encode(column(values, pa.string()), USER_FAULTS, typed=True).kind == STRINGS


@pytest.mark.parametrize("values", [["a", "b", "a"], ["a", "a"]])
def test_a_dictionary_may_hold_a_value_twice(values):
    chunk = pa.DictionaryArray.from_arrays(range(len(values)), values)
    encoded = encode(pa.chunked_array([chunk]), USER_FAULTS, typed=True)
    assert decode(encoded) == values
    assert sorted(encoded.ids.to_pylist()) == sorted(set(values))


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


@pytest.mark.parametrize(
    ("kind", "last"),
    [(pa.float16(), 2**11 - 1), (pa.float32(), 2**24 - 1), (pa.float64(), 2**53 - 1)],
    ids=["float16", "float32", "float64"],
)
def test_floats_are_integers_up_to_the_last_exact_one(kind, last):
    values = [1.0, float("nan"), 2.5, -float(last), float("inf"), float(last), None, -0.0]
    encoded = encode(column(values, pa.float64()).cast(kind), USER_FAULTS, typed=True)
    none, fraction = Fault.NONE, Fault.FRACTION_USER
    expected = [none, Fault.NAN_USER, fraction, none, fraction, none, Fault.NO_USER, none]
    assert faults_of(encoded) == expected
    decoded = decode(encoded)
    assert [decoded[place] for place in (0, 3, 5, 7)] == ["1", str(-last), str(last), "0"]
    assert encoded.kind == INTEGERS
    beyond = column([1.0, float(last + 1)], pa.float64()).cast(kind)
    with pytest.raises(UserError, match=rf"up to {last:,} only, and there is {last + 1}\.0: write"):
        check_exact(beyond, encode(beyond, USER_FAULTS, typed=True).faults)


@pytest.mark.parametrize(
    ("kind", "largest"),
    [
        (pa.decimal32(9, 2), 10**7 - 1),
        (pa.decimal64(18, 0), 10**18 - 1),
        (pa.decimal128(38, 0), 10**38 - 1),
        (pa.decimal128(38, 10), 10**28 - 1),
        (pa.decimal256(76, 0), 10**76 - 1),
        (pa.decimal256(76, 70), 10**6 - 1),
    ],
    ids=str,
)
def test_whole_decimals_are_integers(kind, largest):
    values = [Decimal(value) for value in (largest, 0, -largest)]
    fractions = [Decimal("0.5")] if kind.scale else []
    encoded = encode(column([*values, None, *fractions], kind), ITEM_FAULTS, typed=True)
    faults = [Fault.NONE] * 3 + [Fault.NO_ITEM] + [Fault.FRACTION_ITEM] * len(fractions)
    assert faults_of(encoded) == faults
    assert decode(encoded)[:3] == [str(largest), "0", str(-largest)]
    assert encoded.kind == INTEGERS


UUID = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"


@pytest.mark.parametrize("typed", [True, False])
@pytest.mark.parametrize(
    ("text", "form"),
    [
        *(
            ("1.0", "1"),
            ("-20.00", "-20"),
            ("-0.0", "0"),
            ("0.0", "0"),
            (" 1.0\t", "1"),
            ("a b ", "a b"),
        ),
        *((text, text) for text in ("007.0", "1.50", "1.", "+1.0", "1e0")),
        *((UUID, UUID), (UUID.upper(), UUID), (f"{{{UUID.upper()}}}", UUID)),
        *((text, text) for text in (f"{{{UUID}", f"{UUID}}}", UUID.upper()[:-1], f"X{UUID}")),
        (UUID.upper().replace("-", ""), UUID.upper().replace("-", "")),
    ],
)
def test_one_identifier_has_one_form(text, form, typed):
    assert canonical(text) == form
    encoded = encode(column([text, form, "x"], pa.string()), USER_FAULTS, typed=typed)
    assert decode(encoded) == [form, form, "x"]
    assert len(encoded.ids) == 2


@given(
    st.lists(
        st.from_regex(r"\A-?[0-9]{1,3}(\.[0-9]{0,3})?\Z")
        | st.uuids().map(lambda one: f"{{{one}}}".upper())
        | st.text("{}0-a.", max_size=5)
    )
)
def test_texts_get_their_form_one_by_one_or_together(texts):
    together = canonical_texts(pa.array(texts, pa.string())).to_pylist()
    assert together == [canonical(text) for text in texts]
    assert [canonical(text) for text in together] == together


@given(st.lists(st.binary(min_size=16, max_size=16) | st.none(), min_size=1, max_size=9))
@settings(max_examples=50)
def test_uuids_are_written_as_text(values):
    texts = [None if value is None else str(uuid.UUID(bytes=value)) for value in values]
    array = pa.array([b"\xff" * 16, *values], pa.binary(16))
    assert uuid_texts(array)[1:].to_pylist() == uuid_texts(array[1:]).to_pylist() == texts


def test_rows_that_are_left_out_do_not_decide_the_kind():
    encoded = encode(column(["1", "x", "2.0", "x"], pa.string()), USER_FAULTS, typed=False)
    assert encoded.kind == TEXT
    kept = encoded.keep(np.array([True, False, True, False]))
    assert (decode(kept), kept.kind) == (["1", "2"], DIGITS)
    assert encoded.keep(np.array([True, True, False, False])).kind == TEXT
    typed = encode(column(["1", "x"], pa.string()), USER_FAULTS, typed=True)
    assert typed.keep(np.array([True, False])).kind == STRINGS


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
        *((None, kind, kind) for kind in (DIGITS, INTEGERS, TEXT, STRINGS)),
        *((kind, kind, kind) for kind in (DIGITS, INTEGERS, TEXT, STRINGS)),
        *((INTEGERS, DIGITS, INTEGERS), (DIGITS, INTEGERS, INTEGERS)),
        *((STRINGS, TEXT, STRINGS), (TEXT, STRINGS, STRINGS)),
        *((DIGITS, STRINGS, DIGITS), (DIGITS, TEXT, DIGITS)),
        *((STRINGS, DIGITS, STRINGS), (TEXT, DIGITS, TEXT)),
    ],
)
def test_the_first_identifiers_decide_the_kind(known, incoming, joint):
    assert join_kinds(known, incoming, "its users") == joint
    if known is not None:
        described = describe_mixture(known, incoming, "its users")
        assert (described is None) == (known.kind == incoming.kind)


@pytest.mark.parametrize("text", [STRINGS, TEXT])
@pytest.mark.parametrize("integers_first", [True, False])
def test_kinds_that_do_not_go_together(text, integers_first):
    known, incoming = (INTEGERS, text) if integers_first else (text, INTEGERS)
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
