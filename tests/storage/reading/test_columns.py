"""Column names are guessed in a fixed order, and never wrongly."""

import pytest

from perennial.storage.errors import UserError
from perennial.storage.reading.columns import ColumnChoice, Columns, find_columns, looks_like_header

GUESSES = [
    ("user_id item_id rating timestamp", (0, 1, 3)),
    ("userId,movieId,rating,timestamp", (0, 1, 3)),
    ("session_id,item_id", (0, 1, None)),
    ("ts sessionId itemId", (1, 2, 0)),
    ("household_id,store_id,basket_id,product_id,quantity,transaction_timestamp", (0, 3, 5)),
    ("reviewerID asin overall unixReviewTime", (0, 1, 3)),
    ("User,Item,Time", (0, 1, 2)),
    ("asin parent_asin user_id timestamp", (2, 1, 3)),
    ("session_id user_id item_id date", (1, 2, 3)),
    (" user id , item-id ,TIME", (0, 1, 2)),
]


@pytest.mark.parametrize(("names", "places"), GUESSES)
def test_common_names_are_found(names, places):
    split = names.split("," if "," in names else " ")
    assert find_columns(split, ColumnChoice()) == Columns(*places)
    assert looks_like_header(split)


def test_given_names_go_over_guesses():
    names = ["user_id", "item_id", "seller", "timestamp", "seen"]
    assert find_columns(names, ColumnChoice(user="seller")) == Columns(2, 1, 3)
    assert find_columns(names, ColumnChoice(item="seller", time="seen")) == Columns(0, 2, 4)


@pytest.mark.parametrize(
    ("names", "choice", "words"),
    [
        (["a", "item_id"], ColumnChoice(), "no user column among a, item_id: name it"),
        (["user_id", "b"], ColumnChoice(), "no item column among user_id, b: name it"),
        (["user_id", "item_id", "user_id"], ColumnChoice(), "several columns are called 'user_id'"),
        (["user_id", "item_id"], ColumnChoice(time="when"), "no column 'when' for the time"),
        (["user_id", "item_id"], ColumnChoice(user="item_id"), "must be different columns"),
        (["user_id", "item_id"], ColumnChoice(time="item_id"), "must be different columns"),
    ],
)
def test_what_cannot_be_found_is_named(names, choice, words):
    with pytest.raises(UserError, match=words):
        find_columns(names, choice)


def test_data_is_no_header():
    assert not looks_like_header(["196", "242", "3", "881250949"])
    assert not looks_like_header(["user_id", "rating"])
