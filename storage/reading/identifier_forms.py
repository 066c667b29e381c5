"""The forms of an identifier: its text in the store, its value in JSON, a column of a file."""

import re
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

LARGEST_JSON_INTEGER = 2**53 - 1
"""Largest integer that every JSON reader represents exactly (RFC 8259, section 6)."""

# Only what an integer would be written as: "007" and "+7" are strings. So are more digits than the
# widest decimals of a file have; Python itself refuses integers of thousands of digits.
INTEGER = "0|-?[1-9][0-9]{0,75}"
"""Regular expression of the identifiers that are integers."""

_IS_INTEGER = re.compile(INTEGER)
_WHOLE = r"-?(?:0|[1-9][0-9]*)\.0+"
_BARE_UUID = "[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
_UUID = rf"{_BARE_UUID}|\{{{_BARE_UUID}\}}"
_EXPONENT = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?[eE]([+-]?[0-9]+)")
_IS_WHOLE, _IS_UUID = re.compile(_WHOLE), re.compile(_UUID)
_BLANKS = " \t"
_MOST_DIGITS = len(str(LARGEST_JSON_INTEGER))
_DASHES = (8, 13, 18, 23)
UUID_BYTES, _UUID_LETTERS = 16, 36


def canonical(identifier: str | int) -> str:
    """Return the text by which the store finds an identifier, however it is written.

    Blanks around it are dropped. "5.0" becomes "5", as floats in text files are written; "007" and
    "007.0" stay. A UUID gets lower-case letters and loses its braces (RFC 9562, section 4). Any
    other text stays.
    """
    text = str(identifier).strip(_BLANKS)
    if _IS_WHOLE.fullmatch(text):
        whole = text.partition(".")[0]
        return "0" if whole == "-0" else whole
    if _IS_UUID.fullmatch(text):
        return text.strip("{}").lower()
    return text


class InexactNumber(str):
    """Text of a whole JSON number with an exponent that a float may not represent exactly."""

    __slots__ = ()


def write_number(text: str) -> str:
    """Return the text of a JSON number; whole numbers lose their exponent: `1e3` becomes "1000".

    Numbers without an exponent and fractions stay. So do whole numbers above `LARGEST_JSON_INTEGER`
    that have an exponent, as an `InexactNumber`.
    """
    match = _EXPONENT.fullmatch(text)
    if match is None:
        return text
    sign, whole, fraction, power = match.groups("")
    digits = (whole + fraction).lstrip("0")
    significant = digits.rstrip("0")
    if not significant:
        return "0"
    # The float limits the exponent, which may have thousands of digits.
    zeros = len(digits) - len(significant) - len(fraction) + float(power)
    if zeros < 0:
        return text
    if len(significant) + zeros > _MOST_DIGITS:
        return InexactNumber(text)
    number = significant + "0" * int(zeros)
    return InexactNumber(text) if int(number) > LARGEST_JSON_INTEGER else sign + number


def canonical_texts(texts: pa.StringArray) -> pa.StringArray:
    """Return `canonical` of each text; the same array if that changes none."""
    if pc.any(pc.match_substring_regex(texts, r"^[ \t]|[ \t]$")).as_py():
        texts = pc.utf8_trim(texts, _BLANKS)
    chosen = pc.match_substring_regex(texts, f"^(?:{_WHOLE}|{_UUID})$")
    chosen = pc.fill_null(chosen, False)
    if not pc.any(chosen).as_py():
        return texts
    candidates = texts.filter(chosen)
    whole = pc.replace_substring_regex(candidates, r"\.0+$", "")
    whole = pc.if_else(pc.equal(whole, "-0"), "0", whole)
    forms = pc.utf8_lower(pc.utf8_trim(whole, "{}"))
    return texts if forms.equals(candidates) else pc.replace_with_mask(texts, chosen, forms)


def are_integers(texts: pa.StringArray) -> bool:
    """Return True if all texts are written as integers would be."""
    return pc.all(pc.match_substring_regex(texts, f"^(?:{INTEGER})$")).as_py() is not False


def uuid_texts(values: pa.FixedSizeBinaryArray) -> pa.StringArray:
    """Write UUIDs of 16 bytes as text of 36 letters; nulls stay."""
    values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    data = np.frombuffer(values.buffers()[1] or b"", np.uint8)
    start = values.offset * UUID_BYTES
    data = data[start : start + len(values) * UUID_BYTES].reshape(-1, UUID_BYTES)
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    letters = np.full((len(values), _UUID_LETTERS), ord("-"), np.uint8)
    places = np.delete(np.arange(_UUID_LETTERS), _DASHES)
    letters[:, places[0::2]], letters[:, places[1::2]] = digits[data >> 4], digits[data & 15]
    offsets = np.arange(len(values) + 1, dtype=np.int32) * np.int32(_UUID_LETTERS)
    texts = pa.StringArray.from_buffers(len(values), pa.py_buffer(offsets), pa.py_buffer(letters))
    return pc.if_else(pc.is_valid(values), texts, pa.scalar(None, pa.string()))


def to_values(texts: Iterable[str]) -> list[str | int]:
    """Return the identifiers of a vocabulary of integers: `int` where the text is an integer."""
    return [int(text) if _IS_INTEGER.fullmatch(text) else text for text in texts]


def to_json_identifier(identifier: str | int) -> str | int:
    """Return an identifier for JSON: integers in which JavaScript would lose digits become text."""
    if isinstance(identifier, int) and abs(identifier) > LARGEST_JSON_INTEGER:
        return str(identifier)
    return identifier


def to_column(identifiers: Sequence[str | int], kind: pa.DataType) -> pa.Array:
    """Return `(n,)` identifiers as a column of one of the types of `identifier_type`."""
    return pa.array(map(str, identifiers) if kind == pa.string() else identifiers, kind)
