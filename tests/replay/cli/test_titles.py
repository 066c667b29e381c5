"""Titles go into the store whole or not at all."""

from dataclasses import asdict

import pytest

from perennial.replay.cli.store import enter_titles
from perennial.storage.errors import UserError
from perennial.storage.log.vocabulary import read_titles, write_titles


def test_titles_replace_those_of_the_same_items(store, tmp_path):
    write_titles(store, {"i1": "Old", "i2": "Two"})
    path = tmp_path / "titles.csv"
    path.write_text("item,title\ni1,One\ni3,Three\nsomething else,Nine\ni3,Drei\n,x\n")
    entered = enter_titles(store, path)
    assert read_titles(store) == {"i1": "One", "i2": "Two", "i3": "Drei", "something else": "Nine"}
    assert asdict(entered) == {
        **{"titles": 3, "unknown": 1, "repeated": 1, "empty": 1, "cut": 0},
        "in_store": 4,
    }
    assert entered.describe() == (
        "3 titles; 1 of items that the store has not met yet; 1 rows without an item or a title "
        "left out; 1 rows replaced an earlier one of the same item"
    )
    assert enter_titles(store, path) == entered


def test_a_bad_file_changes_nothing(store, tmp_path):
    write_titles(store, {"i1": "Old"})
    path = tmp_path / "titles.csv"
    path.write_text("item,title\ni1,One\ni2\n")
    with pytest.raises(UserError, match="row 3"):
        enter_titles(store, path)
    assert read_titles(store) == {"i1": "Old"}


def test_only_some_can_be_read(store):
    write_titles(store, {"1": "One", "2": "Two"})
    assert read_titles(store, [2, "3", 2]) == {"2": "Two"}
