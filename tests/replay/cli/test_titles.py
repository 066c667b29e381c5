"""Titles go into the store whole or not at all."""

from perennial.replay.cli.store import enter_titles
from perennial.storage.log.vocabulary import read_titles, write_titles
from perennial.storage.reading.titles import read_titles_file


def enter(store, path):
    return enter_titles(store, read_titles_file(path))


def test_titles_replace_those_of_the_same_items(store, tmp_path):
    write_titles(store, {"i1": "Old", "i2": "Two"})
    path = tmp_path / "titles.csv"
    path.write_text("item,title\ni1,One\ni3,Three\nsomething else,Nine\ni3,Drei\n,x\n")
    entered = enter(store, path)
    assert read_titles(store) == {"i1": "One", "i2": "Two", "i3": "Drei", "something else": "Nine"}
    told = entered.to_json()
    form = ("item", "title", "format", "header", "header_guessed", "separator", "encoding", "rows")
    values = ("item", "title", "text", True, True, ",", "UTF-8", 5)
    assert told.pop("read_as") == dict(zip(form, values, strict=True))
    assert told == {
        **{"titles": 3, "unknown": 1, "repeated": 1, "empty": 1, "cut": 0},
        **{"rejected": 0, "reject_reasons": {}, "in_store": 4, "remarks": []},
    }
    assert entered.describe() == (
        "3 titles; 1 of items that the store has not met yet; 1 rows without an item or a title "
        "left out; 1 rows replaced an earlier one of the same item"
    )
    assert enter(store, path).describe() == entered.describe()


def test_only_some_can_be_read(store):
    write_titles(store, {"1": "One", "2": "Two"})
    assert read_titles(store, [2, "3", 2]) == {"2": "Two"}
