"""Parquet's own metadata, taken apart and put together again with lies in it.

The footer and the headers of pages are structures of Thrift's compact protocol. Only as much of it
is here as turns bytes into a tree and a changed tree into bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MAGIC = b"PAR1"
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
_INTEGERS = (_I16, _I32, _I64)


@dataclass
class Field:
    """A value of the tree.

    Attributes:
        kind: its type in the compact protocol.
        value: an integer, bytes, a list of `Field` or a mapping of numbers to `Field`.
    """

    kind: int
    value: Any

    def __getitem__(self, place: int) -> "Field":
        """A member of a structure, by its number, or of a list, by its place."""
        found: Field = self.value[place]
        return found


class _Reader:
    """Bytes, read from a place on."""

    def __init__(self, data: bytes, place: int) -> None:
        self.data, self.place = data, place

    def take(self, count: int) -> bytes:
        self.place += count
        return self.data[self.place - count : self.place]

    def varint(self) -> int:
        number = shift = 0
        while True:
            byte = self.take(1)[0]
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number

    def zigzag(self) -> int:
        number = self.varint()
        return (number >> 1) ^ -(number & 1)

    def value(self, kind: int) -> Field:
        if kind in (_TRUE, _FALSE):
            return Field(kind, None)
        if kind in _INTEGERS:
            return Field(kind, self.zigzag())
        if kind in (_BYTE, _DOUBLE):
            return Field(kind, self.take(1 if kind == _BYTE else 8))
        if kind == _BINARY:
            return Field(kind, self.take(self.varint()))
        if kind == _LIST:
            return self.list()
        if kind == _STRUCT:
            return self.struct()
        raise ValueError(f"Parquet has no use for values of the type {kind}")

    def list(self) -> Field:
        head = self.take(1)[0]
        count, kind = head >> 4, head & 0x0F
        count = self.varint() if count == 15 else count
        if kind in (_TRUE, _FALSE):
            return Field(_LIST, [Field(self.take(1)[0], None) for _ in range(count)])
        return Field(_LIST, [self.value(kind) for _ in range(count)])

    def struct(self) -> Field:
        members: dict[int, Field] = {}
        number = 0
        while head := self.take(1)[0]:
            number = number + (head >> 4) if head >> 4 else self.zigzag()
            members[number] = self.value(head & 0x0F)
        return Field(_STRUCT, members)


def read_struct(data: bytes, place: int) -> tuple[Field, int]:
    """The structure that begins at a place, and the place behind it."""
    reader = _Reader(data, place)
    return reader.struct(), reader.place


def write_struct(tree: Field) -> bytes:
    """The bytes of a structure."""
    parts, last = [], 0
    for number in sorted(tree.value):
        member = tree.value[number]
        step = number - last
        head = bytes([step << 4 | member.kind]) if 0 < step < 16 else bytes([member.kind])
        parts += [head, b"" if 0 < step < 16 else _zigzag(number), _write(member)]
        last = number
    return b"".join([*parts, b"\0"])


def _write(member: Field) -> bytes:
    if member.kind in (_TRUE, _FALSE):
        return b""
    if member.kind in _INTEGERS:
        return _zigzag(member.value)
    if member.kind in (_BYTE, _DOUBLE):
        return bytes(member.value)
    if member.kind == _BINARY:
        return _varint(len(member.value)) + bytes(member.value)
    if member.kind == _STRUCT:
        return write_struct(member)
    kind = member.value[0].kind if member.value else _STRUCT
    count = len(member.value)
    head = bytes([count << 4 | kind]) if count < 15 else bytes([0xF0 | kind]) + _varint(count)
    if kind in (_TRUE, _FALSE):
        return head + bytes(one.kind for one in member.value)
    return head + b"".join(_write(one) for one in member.value)


def _varint(number: int) -> bytes:
    number &= 2**64 - 1
    written = bytearray()
    while number >= 0x80:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*written, number])


def _zigzag(number: int) -> bytes:
    return _varint((number << 1) ^ (number >> 63))


def read_footer(content: bytes) -> Field:
    """The metadata of a Parquet file."""
    size = int.from_bytes(content[-8:-4], "little")
    return read_struct(content, len(content) - 8 - size)[0]


def with_footer(content: bytes, footer: Field) -> bytes:
    """A Parquet file with other metadata."""
    size = int.from_bytes(content[-8:-4], "little")
    written = write_struct(footer)
    return content[: len(content) - 8 - size] + written + len(written).to_bytes(4, "little") + MAGIC


def column_chunks(footer: Field) -> Iterator[Field]:
    """The metadata of all column chunks, row group by row group."""
    for group in footer[4].value:
        for chunk in group[1].value:
            yield chunk[3]


def leaves(tree: Field) -> Iterator[Field]:
    """All integers and bytes of a tree."""
    if tree.kind in (*_INTEGERS, _BINARY):
        yield tree
    elif tree.kind == _STRUCT:
        for member in tree.value.values():
            yield from leaves(member)
    elif tree.kind == _LIST:
        for member in tree.value:
            yield from leaves(member)


def lists(tree: Field) -> Iterator[Field]:
    """All lists of a tree that hold something."""
    members = tree.value.values() if tree.kind == _STRUCT else tree.value
    if tree.kind == _LIST and tree.value:
        yield tree
    if tree.kind in (_STRUCT, _LIST):
        for member in members:
            yield from lists(member)


def with_page_header(content: bytes, place: int, header: Field) -> bytes:
    """A Parquet file with another header for the page at a place; what lies behind moves along."""
    end = read_struct(content, place)[1]
    written = write_struct(header)
    moved = len(written) - (end - place)
    footer = read_footer(content)
    for chunk in column_chunks(footer):
        for number in (9, 10, 11):
            if number in chunk.value and chunk[number].value > place:
                chunk[number].value += moved
        if place in (chunk.value[n].value for n in (9, 11) if n in chunk.value):
            chunk[7].value += moved
    return with_footer(content[:place] + written + content[end:], footer)
