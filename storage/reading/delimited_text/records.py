"""Records of delimited text: lines, joined where quotes enclose the newline (RFC 4180)."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perennial.storage.errors import UserError
from perennial.storage.reading.delimited_text.encodings import ByteStream

BOM = b"\xef\xbb\xbf"
NEWLINE, RETURN, QUOTE, TAB, SPACE = b'\n\r"\t '
_MANY_LINES = 1 << 20
_LONGEST_RECORD = 1 << 20
_ESCAPED = re.compile(rb'(?<!\\)((?:\\\\)*)\\"')


@dataclass(frozen=True)
class Quoting:
    """Rules of quotes in a file.

    Attributes:
        delimiter: the byte between two values.
        spaced: True if blanks may be between a delimiter and a quote.
    """

    delimiter: int
    spaced: bool


@dataclass(frozen=True)
class Records:
    """The records of a block: record k is `data[starts[k]:ends[k]]`, without its newline.

    Attributes:
        data: `(b,)` uint8, the block.
        starts: `(n,)` int64.
        ends: `(n,)` int64.
        open: start of a last record whose quote is not closed in the block.
    """

    data: NDArray[np.uint8]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    open: int | None = None

    @classmethod
    def find(cls, data: NDArray[np.uint8], quoting: Quoting | None) -> "Records":
        """Find the records of `(b,)` uint8 that end with a newline; unquoted, each line is one."""
        ends = np.flatnonzero(data == NEWLINE)
        unclosed = None
        if quoting is not None and (quotes := np.flatnonzero(data == QUOTE)).size:
            ends, unclosed = _join_lines(data, ends, quotes, quoting)
        return cls(data, np.concatenate([[0], ends[:-1] + 1]), ends, unclosed)

    def before(self, data: NDArray[np.uint8]) -> "Records":
        """Return the records in the first bytes of the block, `(c,)` uint8, which end with one."""
        count = int(np.searchsorted(self.ends, len(data)))
        return Records(data, self.starts[:count], self.ends[:count])

    def select(self, chosen: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Return the bytes of the chosen records: `(n,)` bool -> `(c,)` uint8."""
        if chosen.all():
            return self.data
        return self.data[np.repeat(chosen, self.ends - self.starts + 1)]


def read_lines(stream: ByteStream, block_bytes: int) -> Iterator[bytes]:
    """Split a stream into blocks of whole lines; `UserError` if a line is longer than a block.

    The last line gets its newline.
    """
    return _few_lines(_blocks(stream, block_bytes))


def read_records(
    stream: ByteStream, block_bytes: int, quoting: Quoting | None
) -> Iterator[tuple[bytes, Records]]:
    """Split a stream into blocks of whole records; otherwise as `read_lines`."""
    blocks = read_lines(stream, block_bytes)
    if quoting is None:
        return ((block, Records.find(np.frombuffer(block, np.uint8), None)) for block in blocks)
    return _whole_records((double_escaped(block, quoting) for block in blocks), quoting)


def _blocks(stream: ByteStream, block_bytes: int) -> Iterator[bytes]:
    """Split a stream after newlines, so that lines stay whole; the last line gets its newline."""
    rest = b""
    start = True
    while data := stream.read(block_bytes):
        data = data.removeprefix(BOM) if start else data
        start = False
        whole, newline, tail = data.rpartition(b"\n")
        if newline:
            yield rest + whole + newline
            rest = tail
        else:
            rest += data
        if len(rest) > block_bytes:
            raise UserError(f"a line is longer than {block_bytes} bytes; is it a text file?")
    if rest:
        yield rest + b"\n"


def _few_lines(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Split blocks of very short lines again: a line takes dozens of bytes while it is read."""
    for block in blocks:
        if block.count(b"\n") <= _MANY_LINES:
            yield block
            continue
        start = 0
        while start < len(block):
            # A long line among short ones becomes a part of its own.
            stop = block.rfind(b"\n", start, start + _MANY_LINES) + 1
            stop = stop or block.find(b"\n", start) + 1
            yield block[start:stop]
            start = stop


def _whole_records(blocks: Iterator[bytes], quoting: Quoting) -> Iterator[tuple[bytes, Records]]:
    """Move a record that is open at the end of a block to the next block."""
    rest = b""
    for block in blocks:
        block = rest + block
        records = Records.find(np.frombuffer(block, np.uint8), quoting)
        start = len(block) if records.open is None else records.open
        # A quote that nothing closes must not swallow the file.
        start = start if len(block) - start <= _LONGEST_RECORD else len(block)
        rest = block[start:]
        if start:
            whole = block[:start]
            yield whole, records.before(np.frombuffer(whole, np.uint8))
    if rest:
        yield rest, Records.find(np.frombuffer(rest, np.uint8), quoting)


def double_escaped(block: bytes, quoting: Quoting) -> bytes:
    """Double the quotes that follow a backslash, in the lines where they cannot close a value.

    Some writers escape a quote in this way (MySQL, R). By RFC 4180 such a quote ends the value, so
    that only a delimiter, another quote or the end of the line may follow.
    """
    sure = re.compile(rb'\\"[^"\r\n' + re.escape(bytes([quoting.delimiter])) + rb"]")
    parts, done = [], 0
    for match in sure.finditer(block):
        if match.start() < done:
            continue
        start = max(done, block.rfind(b"\n", done, match.start()) + 1)
        end = block.find(b"\n", match.end())
        end = len(block) if end < 0 else end
        parts += [block[done:start], _ESCAPED.sub(rb'\1""', block[start:end])]
        done = end
    return b"".join([*parts, block[done:]]) if parts else block


def split_records(lines: Sequence[str], quoting: Quoting | None) -> list[str]:
    """Join lines that are one record, with quotes doubled; the last record may be incomplete."""
    if quoting is None:
        return list(lines)
    data = double_escaped("".join(f"{line}\n" for line in lines).encode(), quoting)
    found = Records.find(np.frombuffer(data, np.uint8), quoting)
    spans = zip(found.starts.tolist(), found.ends.tolist(), strict=True)
    return [data[start:end].decode() for start, end in spans]


def _join_lines(
    data: NDArray[np.uint8], ends: NDArray[np.int64], quotes: NDArray[np.int64], quoting: Quoting
) -> tuple[NDArray[np.int64], int | None]:
    """Leave out newlines inside quotes; return ends of records, and the start of one that is open.

    A line with an odd number of quotes begins a record that ends with the next such line, if all
    quotes between are where RFC 4180 has them. If not, the line is a bad record of its own.
    """
    line = np.searchsorted(ends, quotes)
    first, counts = np.unique(line, return_counts=True)
    odd = first[counts % 2 == 1].tolist()
    inside = np.zeros(len(ends), np.bool_)
    place = 0
    while place < len(odd):
        begin = odd[place]
        start = int(ends[begin - 1]) + 1 if begin else 0
        if place + 1 == len(odd):
            tail = quotes[np.searchsorted(quotes, start) :]
            is_open = not _are_misplaced(data, start, tail, quoting)
            return ends[~inside], start if is_open else None
        stop = odd[place + 1]
        among = slice(*np.searchsorted(quotes, [start, int(ends[stop])]))
        if _are_misplaced(data, start, quotes[among], quoting):
            place += 1
        else:
            inside[begin:stop] = True
            place += 2
    return ends[~inside], None


def _are_misplaced(
    data: NDArray[np.uint8], start: int, quotes: NDArray[np.int64], quoting: Quoting
) -> bool:
    """Return True if the quotes of a record that begins at `start` break RFC 4180."""
    opening, closing = quotes[::2], quotes[1::2]
    before = np.where(opening == start, NEWLINE, data[opening - 1])
    may_precede = (NEWLINE, quoting.delimiter, QUOTE, *([SPACE] if quoting.spaced else []))
    well_opened = np.isin(before, may_precede)
    well_closed = np.isin(data[closing + 1], (NEWLINE, RETURN, quoting.delimiter, QUOTE))
    return not (well_opened.all() and well_closed.all())


def find_enclosed(records: Records, quotes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Find bytes with an odd number of quotes `(q,)` before them in their record: `(b,)` bool."""
    toggles = np.zeros(len(records.data), np.int8)
    toggles[quotes] = 1
    parity = np.bitwise_xor.accumulate(toggles)
    at_start = np.concatenate([[0], parity[records.ends[:-1]]]).astype(np.int8)
    lengths = records.ends - records.starts + 1
    return (parity ^ np.repeat(at_start, lengths)).astype(np.bool_)
