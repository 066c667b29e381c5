"""Blocks of the Netflix prize are recognised by their first line."""

import pytest

from perennial.storage.errors import UserError
from perennial.storage.reading.formats import read_file
from perennial.storage.reading.settings import IngestSettings

BLOCKS = "1:\n30878,4,2005-12-26\n822109,5,2005-05-13\n\n13:\n885013,4,2005-10-19"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(("name", "choice"), [("a.txt", None), ("a.csv", "netflix")])
def test_rows_have_the_item_of_their_block(write, name, choice, end):
    path = write(name, BLOCKS.replace("\n", end).encode())
    raw = read_file(path, IngestSettings(format=choice))
    assert raw.users.to_pylist() == ["30878", "822109", "885013"]
    assert raw.items.to_pylist() == ["1", "1", "13"]
    assert raw.times.to_pylist() == ["2005-12-26", "2005-05-13", "2005-10-19"]
    assert raw.line_numbers().tolist() == [2, 3, 6]
    assert (raw.num_lines, len(raw.rejects)) == (3, 0)


def test_ratings_may_decide_which_rows_count(write):
    raw = read_file(write("a.txt", BLOCKS), IngestSettings(min_rating=5))
    assert (raw.users.to_pylist(), raw.items.to_pylist()) == (["822109"], ["1"])


def test_lines_of_users_and_dates_are_read(write):
    raw = read_file(write("qualifying.txt", "1:\n1046323,2005-12-19\n"), IngestSettings())
    assert raw.times.to_pylist() == ["2005-12-19"]


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_blocks_may_be_cut_anywhere(write, monkeypatch, size):
    monkeypatch.setattr("perennial.storage.reading.netflix.BLOCK_BYTES", max(size, 30))
    assert read_file(write("a.txt", BLOCKS), IngestSettings()).items.to_pylist() == ["1", "1", "13"]


def test_rows_after_a_broken_block_have_no_item(write):
    path = write("a.txt", BLOCKS.replace("13:", "13"))
    raw = read_file(path, IngestSettings())
    assert (raw.items.to_pylist(), raw.rejects.lines.tolist()) == (["1", "1", ""], [5])


@pytest.mark.parametrize("content", ["user,item\n1,2\n", "1:\n2,3,4,5\n", "1:\n", ""])
def test_other_files_are_refused(write, content):
    with pytest.raises(UserError, match="not a file of the Netflix prize"):
        read_file(write("a.txt", content), IngestSettings(format="netflix"))
