"""Text in any encoding is read as the same rows."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.storage.errors import UserError
from perennial.storage.reading.delimited_text.encodings import detect_encoding, transcode
from perennial.storage.reading.formats import read_file
from perennial.storage.reading.settings import IngestSettings

TEXT = "user_id,item_id,time\nJosé,Ünal,1400000000\nZoë,naïve,1400000001\n"


@pytest.mark.parametrize(
    ("encoding", "given"),
    [
        ("utf-8", None), ("utf-8-sig", None), ("utf-16", None), ("utf-32", None),
        ("utf-16-be", "utf-16-be"), ("latin-1", "latin-1"), ("cp1252", "windows-1252"),
        ("utf-32", "utf-32"),
    ],
)  # fmt: skip
def test_rows_are_the_same_in_every_encoding(write, encoding, given):
    raw = read_file(write("log.csv", TEXT.encode(encoding)), IngestSettings(encoding=given))
    assert raw.users.to_pylist() == ["José", "Zoë"]
    assert raw.items.to_pylist() == ["Ünal", "naïve"]
    assert raw.layout.encoding is not None


@pytest.mark.parametrize("name", ["klingon", "rot13", "base64", "", "utf-8\x00"])
def test_unknown_encodings_are_refused(name):
    with pytest.raises(UserError, match="no encoding"):
        detect_encoding(b"", IngestSettings(encoding=name))


def test_text_in_another_encoding_than_given_is_refused(write):
    path = write("log.csv", TEXT.encode("latin-1"))
    with pytest.raises(UserError, match=r"not written in .*--encoding"):
        read_file(path, IngestSettings(encoding="ascii"))


@given(st.text(max_size=50), st.integers(1, 7), st.sampled_from(["utf-16", "utf-32", "gb18030"]))
def test_decoding_does_not_depend_on_the_size_of_the_parts(text, size, encoding):
    text = text.encode("utf-8", "replace").decode()
    stream = transcode(io.BytesIO(text.encode(encoding)), encoding)
    parts = []
    while part := stream.read(size):
        parts.append(part)
    assert b"".join(parts) == text.encode()
    assert all(len(part) == size for part in parts[:-1])


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("a.parquet", {"header": True}),
        ("a.jsonl", {"header": False}),
        ("a.pq", {"encoding": "ascii"}),
    ],
)
def test_options_that_a_format_does_not_have_are_refused(write, name, given):
    with pytest.raises(UserError, match=f"--{next(iter(given))} is given"):
        read_file(write(name, b""), IngestSettings(**given))
