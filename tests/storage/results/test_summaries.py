"""Summaries come back as they went in, or not at all."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stored_results import make_summary

from perennial.storage.errors import UserError
from perennial.storage.results.summaries import (
    StoredSummary,
    find_summary,
    insert_summary,
    list_summaries,
)
from perennial.storage.store import Store


@st.composite
def dense_summaries(draw):
    num_rows, num_items = draw(st.integers(0, 6)), draw(st.integers(1, 9))
    generator = np.random.default_rng(draw(st.integers(0, 1000)))
    dense = generator.random((num_rows, num_items)) * (
        generator.random((num_rows, num_items)) > 0.5
    )
    dense[np.arange(num_rows), generator.integers(0, num_items, num_rows)] = 1.0
    return dense.astype(np.float32)


@given(dense_summaries())
def test_summary_round_trip(dense):
    with Store.open(":memory:") as store:
        summary = make_summary(dense)
        insert_summary(store, summary)
        found = find_summary(store, "a")
    assert found is not None
    assert found.record == summary.record
    np.testing.assert_array_equal(found.rows.toarray(), dense)
    assert found.rows.dtype == np.float32
    assert found.rows.has_canonical_format


def test_the_same_key_stays_as_it_is(store):
    insert_summary(store, make_summary([[1.0, 0.0]]))
    insert_summary(store, make_summary([[0.0, 0.5]]))
    np.testing.assert_array_equal(find_summary(store, "a").rows.toarray(), [[1.0, 0.0]])
    assert find_summary(store, "b") is None


def test_they_are_listed_by_period_and_seed(store):
    for key, period, seed in (("a", 2, 1), ("b", 1, 0), ("c", 2, 0)):
        insert_summary(store, make_summary([[1.0]], key, period, seed))
    assert [record.key for record in list_summaries(store)] == ["b", "c", "a"]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE summary_entries SET weight = 2",
        "UPDATE summary_entries SET weight = 'nan'::FLOAT",
        "UPDATE summary_entries SET weight = 0",
        "UPDATE summary_entries SET item_index = 7",
        "UPDATE summary_entries SET item_index = -1",
        "DELETE FROM summary_entries WHERE row = 0",
        "UPDATE summary_entries SET row = 1, item_index = 0",
    ],
)
def test_a_damaged_summary_is_refused(store, damage):
    insert_summary(store, make_summary([[1.0, 0.0], [0.0, 0.5]]))
    store.connection.execute(damage)
    with pytest.raises(UserError, match="period 3 is damaged"):
        find_summary(store, "a")


def test_a_summary_that_cannot_be_written_leaves_nothing(store):
    broken = make_summary([[1.0]])
    record = dataclasses.replace(broken.record, report={"loss": float("nan")})
    with pytest.raises(ValueError, match="JSON"):
        insert_summary(store, StoredSummary(record, broken.rows))
    assert list_summaries(store) == ()
    assert store.rows("SELECT count(*) FROM summary_entries") == [(0,)]
