"""How the budget is shared among summaries."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.memory.budget import Policy, parse_policy, share_budget
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


@pytest.mark.parametrize("text", ["", "some", "recent", "recent:0", "recent:-1", "recent:x"])
def test_another_policy_is_refused(text):
    with pytest.raises(UserError, match="choose all, recent:K"):
        parse_policy(text)
