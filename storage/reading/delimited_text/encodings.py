"""Encodings and compression of text files."""

import codecs
import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Protocol, cast

from perennial.storage.errors import UserError
from perennial.storage.reading.columns import printable
from perennial.storage.reading.settings import IngestSettings

_OTHER_KINDS = {
    b"PK\x03\x04": "a ZIP archive or a spreadsheet; unpack it, or save it as CSV",
    b"PAR1": "a Parquet file; name the format parquet",
    b"\x1f\x8b": "packed twice; unpack it once",
    b"\x28\xb5\x2f\xfd": "packed with zstd; unpack it",
    b"\xfd7zXZ\0": "packed with xz; unpack it",
    b"BZh": "packed with bzip2; unpack it",
}
_GZIP = b"\x1f\x8b"
_UTF32 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class ByteStream(Protocol):
    """Bytes that can be read from the beginning to the end."""

    def read(self, size: int, /) -> bytes:
        """Return `size` bytes, or fewer at the end."""


def detect_encoding(head: bytes, settings: IngestSettings) -> str:
    """Return the encoding of a text file, as Python names it; `UserError` if it is no text."""
    for magic, words in _OTHER_KINDS.items():
        if head.startswith(magic):
            raise UserError(words)
    if settings.encoding is not None:
        return check_encoding(settings.encoding)
    # The mark of UTF-32 begins with that of UTF-16.
    if head.startswith(_UTF32):
        return "utf-32"
    if head.startswith(_UTF16):
        return "utf-16"
    if len(head) >= 16 and not (head[0:16:2].strip(b"\0") and head[1:16:2].strip(b"\0")):
        raise UserError("written in UTF-16; give --encoding utf-16-le or utf-16-be")
    return "utf-8"


def check_encoding(name: str) -> str:
    """Return the standard name of an encoding of text; raise `UserError` if Python has none."""
    try:
        info = codecs.lookup(name)
        # Other codecs, such as rot13, refuse bytes.
        bytes(4).decode(info.name)
    except (LookupError, ValueError):
        raise UserError(
            f"no encoding '{printable(name, 40)}'; use a usual name, such as utf-8, latin-1, "
            "cp1252, utf-16, gb18030 or shift_jis"
        ) from None
    return info.name


class _Transcoder:
    """Bytes of a text as UTF-8, decoded as they are read."""

    def __init__(self, stream: BinaryIO, encoding: str) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._rest = b""

    def read(self, size: int, /) -> bytes:
        """Return `size` bytes, or fewer at the end; `UnicodeDecodeError` in another encoding."""
        parts, length = [self._rest], len(self._rest)
        while length < size and (data := self._stream.read(size)):
            parts.append(self._decoder.decode(data).encode())
            length += len(parts[-1])
        if length < size:
            parts.append(self._decoder.decode(b"", final=True).encode())
        whole = b"".join(parts)
        self._rest = whole[size:]
        return whole[:size]


def transcode(stream: BinaryIO, encoding: str) -> ByteStream:
    """Return the bytes of a text as UTF-8."""
    return stream if encoding == "utf-8" else _Transcoder(stream, encoding)


@contextmanager
def unpacked(packed: BinaryIO) -> Iterator[BinaryIO]:
    """Yield the bytes of a file, decompressed if they are gzip, whatever the file's name."""
    magic = packed.read(len(_GZIP))
    packed.seek(0)
    if magic == _GZIP:
        with gzip.open(packed) as unpacked:
            yield cast(BinaryIO, unpacked)
    else:
        yield packed
