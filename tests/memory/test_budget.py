"""Budgets in rows and bytes, and their shares among summaries."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.memory.budget import Policy, ReplayBudget, parse_budget, parse_policy, share_budget
from perennial.storage.base import sparse_bytes
from perennial.storage.errors import UserError

SIZES = st.lists(st.integers(0, 60), max_size=8)
POLICIES = st.sampled_from([Policy("all"), Policy("recent", 1), Policy("recent", 3)])


@pytest.mark.parametrize(
    ("budget", "sizes", "policy", "shares"),
    [
        (10, [10], "all", (10,)),
        (10, [10, 10, 10], "all", (3, 3, 4)),
        (10, [10, 10, 10], "recent:2", (0, 5, 5)),
        (10, [10, 10, 10], "recent:1", (0, 0, 10)),
        (10, [1, 10, 10], "all", (1, 3, 6)),
        (10, [10, 10, 2], "all", (3, 5, 2)),
        (10, [10, 10], "rolling", (0, 10)),
        (10, [10, 10], "whole", (0, 10)),
        (2, [10, 10, 10], "all", (0, 0, 2)),
        (10, [], "all", ()),
    ],
)
def test_known_shares(budget, sizes, policy, shares):
    assert share_budget(budget, sizes, parse_policy(policy)) == shares


@given(st.integers(1, 100), SIZES, POLICIES)
def test_the_budget_is_used_and_never_exceeded(budget, sizes, policy):
    shares = share_budget(budget, sizes, policy)
    counted = sizes[-policy.periods :] if policy.name == "recent" else sizes
    assert sum(shares) == min(budget, sum(counted))
    assert all(0 <= share <= size for share, size in zip(shares, sizes, strict=True))


LENGTHS = st.lists(st.lists(st.integers(1, 30), max_size=20), max_size=5)


@given(st.integers(12, 3000), LENGTHS, POLICIES)
def test_bytes_are_used_and_never_exceeded(amount, lengths, policy):
    entries = [np.cumsum(part, dtype=np.int64) for part in lengths]
    counts = ReplayBudget(amount, in_bytes=True).share(entries, policy)
    taken = [part[:count] for part, count in zip(lengths, counts, strict=True)]
    left = amount - sum(sparse_bytes(len(part), sum(part)) for part in taken)
    assert left >= 0
    if lengths and counts[-1] < len(lengths[-1]):
        assert left < sparse_bytes(1, lengths[-1][counts[-1]]), "the newest has room for a row"
    if policy.name == "recent":
        assert not any(counts[: -policy.periods])


@given(st.integers(1, 100), LENGTHS, POLICIES)
def test_rows_count_whatever_their_length(amount, lengths, policy):
    counts = ReplayBudget(amount).share([np.cumsum(part) for part in lengths], policy)
    assert counts == share_budget(amount, [len(part) for part in lengths], policy)


@given(st.integers(12, 10**6), st.integers(1, 300))
def test_bytes_hold_rows_with_all_items_that_they_may_have(amount, num_items):
    budget = ReplayBudget(amount, in_bytes=True)
    if amount < sparse_bytes(1, num_items):
        with pytest.raises(ValueError, match="too small for a row"):
            budget.rows_of(num_items)
        return
    rows = budget.rows_of(num_items)
    assert sparse_bytes(rows, rows * num_items) <= amount
    assert sparse_bytes(rows + 1, (rows + 1) * num_items) > amount


@pytest.mark.parametrize(
    ("given_as", "budget"),
    [
        (500, ReplayBudget(500)),
        ("500", ReplayBudget(500)),
        (" 256KiB ", ReplayBudget(2**18, in_bytes=True)),
        ("1.5 mb", ReplayBudget(3 * 2**19, in_bytes=True)),
        ("12B", ReplayBudget(12, in_bytes=True)),
    ],
)
def test_rows_and_bytes(given_as, budget):
    assert parse_budget(given_as) == budget


@pytest.mark.parametrize(
    "text", ["99999999999GiB", 0, "0", -1, "500.0", "KiB", "some", "", "0KiB", "11B"]
)
def test_another_budget_is_refused(text):
    with pytest.raises(ValueError, match="budget"):
        parse_budget(text)


@pytest.mark.parametrize("text", ["", "some", "recent", "recent:0", "recent:-1", "recent:x"])
def test_another_policy_is_refused(text):
    with pytest.raises(UserError, match="choose all, recent:K"):
        parse_policy(text)
