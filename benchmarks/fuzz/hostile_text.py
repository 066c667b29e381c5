"""Named cases of text and gzip: bombs, lines and names beyond all measure, encodings, values."""

import gzip
import io
import zipfile

from benchmarks.fuzz.case import FuzzCase
from benchmarks.fuzz.hostile import HOSTILE, constant, named
from benchmarks.fuzz.text import STRANGE_IDS
from perennial.storage.reading.settings import IngestSettings

BOMB_BYTES = 1_200_000_000
"""Size that a bomb expands to."""
_HEAD = b"user_id,item_id,timestamp\n"
_LINES = b"".join(b"%d,%d,%d\n" % (n % 7, n % 11, 10**9 + n) for n in range(60))


def _bomb(line: bytes, head: bytes = _HEAD) -> bytes:
    """Much text, packed; the same member over and over, so that it is made at once."""
    part = line * max(1, 10_000_000 // len(line))
    return gzip.compress(head, mtime=0) + gzip.compress(part, mtime=0) * (BOMB_BYTES // len(part))


# Bombs. What a machine with enough memory may take must still never go beyond what it has.
named("bomb of good rows", "csv.gz", None)(lambda: _bomb(b"1,2,1000000000\n"))
named("bomb of bad rows", "csv.gz", "be refused")(lambda: _bomb(b"1,2\n"))
named("bomb of newlines", "csv.gz", "be refused")(lambda: _bomb(b"\n"))
named("bomb of zeros", "csv.gz", "be refused")(lambda: _bomb(b"\0"))
named("bomb of quotes", "csv.gz", "be refused")(lambda: _bomb(b'"'))
named("bomb of commas", "csv.gz", "be refused")(lambda: _bomb(b","))
named("bomb of short lines", "ader.txt.gz", None)(lambda: _bomb(b"1 2\n", b""))
named("bomb of blanks", "ader.txt.gz", "be refused")(lambda: _bomb(b" ", b"1 2\n"))
named("bomb of objects", "jsonl.gz", None)(lambda: _bomb(b'{"user_id":1,"item_id":2}\n', b""))
named("bomb of brackets", "jsonl.gz", "be refused")(lambda: _bomb(b"[", b'{"user":1,"item":2}\n'))
named("bomb of elements", "jsonl.gz", None)(
    lambda: _bomb(b'{"user":1,"item":2,"a":[' + b"{}," * 300_000 + b"{}]}\n", b"")
)
named("bomb of blocks", "txt.gz", "be refused")(lambda: _bomb(b"1:\n", b"1:\n2,3,2005-01-01\n"))
named("bomb in a bomb", "csv.gz", "be refused")(
    lambda: gzip.compress(_bomb(b"1,2,1000000000\n"), mtime=0)
)


@named("a zip file by another name", "csv", "be refused")
def _zipped() -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("log.csv", _HEAD + _LINES)
    return sink.getvalue()


named("a zip file called gzip", "csv.gz", "be refused")(_zipped)
named("a zip file called Parquet", "parquet", "be refused")(_zipped)

# Lines and names.
constant(
    "a line of 10 MB",
    "csv",
    "be taken",
    b"user_id,item_id,note\nu,a," + b"x" * 10_000_000 + b"\nv,b,2\n",
)
constant("an id of 10 MB", "csv", "be refused", _HEAD + b"u," + b"x" * 10_000_000 + b",1\nv,b,2\n")
constant(
    "an id of 10 MB among good ones",
    "csv",
    "be taken",
    _HEAD + b"u," + b"x" * 10_000_000 + b",1\n" + _LINES,
)
constant("a line of 40 MB", "csv", "be refused", _HEAD + b"u," + b"x" * 40_000_000 + b",1\n")
constant("10 MB without a newline", "csv", "be refused", b"x" * 10_000_000)
constant("10 MB of commas in a line", "csv", "be refused", _HEAD + b"," * 10_000_000 + b"\n")
constant("10 MB of quotes in a line", "csv", "be refused", _HEAD + b'"' * 10_000_000 + b"\n")
constant("a name of 1 MB", "csv", "be refused", b"x" * 1_000_000 + b"," + _HEAD + b"5," + _LINES)
constant("a name of 60 kB", "csv", "be refused", b"x" * 60_000 + b",y\n1,2\n")
constant("30,000 columns", "csv", "be refused", b"a," * 30_000 + b"b\n" + b"1," * 30_000 + b"2\n")
constant("30,000 twins", "csv", "be refused", b"item_id," * 8_000 + b"user_id\n" + b"1\n")
for _name, _text in {
    "empty": b'"",,""', "NUL": b"a\0b,\0", "a return": b"a\rb,c", "quotes": b'"a""b","""c"',
    "SQL": b"'; DROP TABLE users; --,x", "line separators": b"a\xe2\x80\xa8b,c\xc2\x85d,\x0b,\x1d",
    "escapes": b"\x1b[2J\x1b[31m,\x07", "no UTF-8": b"\xff\xfe\xfd,\xed\xa0\x80",
    "formulas": b"=cmd|' /C calc'!A0,@SUM(1)", "an unclosed quote": b'"user_id,item_id',
}.items():  # fmt: skip
    constant(f"names: {_name}", "csv", "be refused", _text + b"\n1,2\n3,4\n")
constant("names: odd ones beside good ones", "csv", "be taken",
          b"\0,\"a\"\"b\",user_id,'; DROP TABLE users; --,item_id,\n1,2,u,4,v,6\n")  # fmt: skip
constant("BOM", "csv", "be taken", b"\xef\xbb\xbf" + _HEAD + _LINES)
constant("two BOMs", "csv", None, b"\xef\xbb\xbf" * 2 + _HEAD + _LINES)
constant("UTF-16", "csv", "be taken", (_HEAD + _LINES).decode().encode("utf-16"))
constant("UTF-16 without a BOM", "csv", "be refused", (_HEAD + _LINES).decode().encode("utf-16-le"))
constant("UTF-32", "csv", "be taken", (_HEAD + _LINES).decode().encode("utf-32"))
constant("Latin 1", "csv", "be refused", _HEAD + b"\xe9,\xfc,1\n" * 50)
constant("returns alone", "csv", "be refused", (_HEAD + _LINES).replace(b"\n", b"\r"))
constant("returns inside lines", "csv", "be refused", _HEAD + b"u\rv,a\r,1\n" * 9)
constant("a return that makes two lines of one", "csv", "be refused", _HEAD + b"u,a,1\rv,b,2\n" * 9)
constant("a return inside quotes", "csv", None, _HEAD + b'"u\rv",a,1\n' * 9)
constant("a return in a quoted first line", "csv", None, b'"user_id",item\rx,item_id\n1,2,3\n')
constant("mixed line ends", "csv", "be taken", _HEAD + _LINES.replace(b"5\n", b"5\r\n") + b"\r\n\n")
constant("unclosed quotes", "csv", "be refused", _HEAD + b'"u,a,1\n' * 20)
constant("an unclosed quote, then good lines", "csv", "be taken", _HEAD + b'"u,a,1\n' + _LINES)
constant("the separator that stands for two", "dat", "be refused", b"1\x1f2::3::1000000000\n" * 9)
constant("only a header", "csv", "be refused", _HEAD)
constant("nothing", "csv", "be refused", b"")
constant("nothing, packed", "csv.gz", "be refused", gzip.compress(b"", mtime=0))
constant("gzip cut off", "csv.gz", "be refused", gzip.compress(_HEAD + _LINES, mtime=0)[:-9])
constant(
    "gzip with junk behind it",
    "csv.gz",
    "be refused",
    gzip.compress(_HEAD + _LINES, mtime=0) + b"junk",
)
constant("gzip with a name of 1 MB", "csv.gz", "be taken",
          b"\x1f\x8b\x08\x08" + b"\0" * 6 + b"n" * 1_000_000 + b"\0"
          + gzip.compress(_HEAD + _LINES, mtime=0)[10:])  # fmt: skip

# Values.
for _name, _time in {
    "far away": b"9" * 19, "past 64 bits": b"9" * 40, "negative": b"-1", "infinite": b"inf",
    "NaN": b"nan", "past any float": b"1e999", "the year 294247": b"294247-01-10T04:00:54",
    "the year 300000": b"300000-01-01", "BC": b"0044-03-15 (BC)", "of 5000 digits": b"1" * 5000,
    "infinity as a moment": b"infinity", "a zone of 999 hours": b"2020-01-01T00:00:00+999:99",
}.items():  # fmt: skip
    constant(f"times: {_name}", "csv", "be refused", _HEAD + b"u,a," + _time + b"\n")
    constant(f"times: {_name}, once", "csv", "be taken", _HEAD + b"u,a," + _time + b"\n" + _LINES)
constant("ids past 64 bits", "csv", "be taken", _HEAD + b"".join(
    b"%d,%d,1\n" % (2**64 + n, -(2**70) - n) for n in range(9)))  # fmt: skip
constant(
    "ids of 5000 digits", "csv", "be taken", _HEAD + b"9" * 5000 + b",1" + b"0" * 4999 + b",1\n"
)
constant("NaN and infinite ids", "csv", "be refused", _HEAD + b"nan,inf,1\n-inf,NaN,1\n")


def _strange() -> FuzzCase:
    rows = [(one, other) for one in STRANGE_IDS for other in STRANGE_IDS[:3]]
    quoted = (tuple('"' + text.replace('"', '""') + '"' for text in row) for row in rows)
    lines = "".join(f"{user},{item},{10**9 + n}\n" for n, (user, item) in enumerate(quoted))
    return FuzzCase(
        "named.csv", _HEAD + lines.encode(), "named", IngestSettings(), frozenset(rows), "be taken"
    )


HOSTILE["ids that look like SQL, paths and formulas"] = _strange
