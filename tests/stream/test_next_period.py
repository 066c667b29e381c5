import math
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perennial.storage.errors import UserError
from perennial.storage.log.matrices import read_events
from perennial.storage.log.vocabulary import item_ids, lookup_items, lookup_users, user_ids
from perennial.stream.history import HeldOutUsers
from perennial.stream.next_period import ProtocolSettings, build_evaluation

RETURNING = ProtocolSettings(protocol="returning")


def sets_of(store, evaluation):
    """Context and targets per user, in the log's own identifiers."""
    users = user_ids(store, evaluation.users)
    return {
        int(user): tuple(
            {int(item) for item in item_ids(store, matrix[[row]].indices)}
            for matrix in (evaluation.contexts, evaluation.targets)
        )
        for row, user in enumerate(users)
    }


def visits(user, items, period, start=0):
    return [(user, item, period, start + place) for place, item in enumerate(items)]


def evaluate(store_of, log, settings=ProtocolSettings()):  # noqa: B008
    """The evaluation on period 2 of a log, and its context and targets per user."""
    with store_of(log) as store:
        evaluation = build_evaluation(store, 1, settings, seed=0)
        return evaluation, sets_of(store, evaluation), evaluation.counts


def test_users_without_a_context_are_counted_among_the_skipped(store_of):
    # User 1 has a history and nothing but a repeat, user 2 has one event only.
    _, found, counts = evaluate(store_of, [*visits(1, [10, 11], 1), (1, 10, 2, 0), (2, 10, 2, 1)])
    assert found == {}
    assert (counts.skipped_users, counts.without_context) == (2, 1)


@pytest.mark.parametrize(
    ("share", "length", "num_context"),
    [
        *((0.8, 2, 1), (0.8, 5, 4), (0.8, 9, 7), (0.8, 15, 12)),
        *((0.29, 100, 29), (0.99, 3, 2), (0, 4, 0)),
    ],
)
def test_the_share_is_rounded_down(store_of, share, length, num_context):
    log = [(1, 0, 1, 0), *visits(1, range(1, length + 1), 2)]
    _, found, counts = evaluate(store_of, log, ProtocolSettings(context_share=share))
    # The rest of the context is unseen, and dropped.
    assert found == {1: ({0}, set(range(num_context + 1, length + 1)))}
    assert counts.dropped_context_items == num_context


def test_item_counts_are_events_of_the_whole_past(store_of):
    log = visits(1, [10, 10, 11], 1) + visits(2, [10, 12], 2) + visits(2, [10, 11, 12, 13], 3)
    with store_of(log) as store:
        evaluation = build_evaluation(store, 2, ProtocolSettings(), seed=0)
        items = lookup_items(store, [10, 11, 12, 13])
    assert evaluation.item_counts[items].tolist() == [3, 1, 1, 0]


def test_negatives_are_known_items_outside_context_and_targets(store_of):
    log = visits(9, range(400), 1) + visits(1, range(0, 400, 40), 2) + visits(2, [3, 999], 2, 500)
    with store_of(log) as store:
        evaluation = build_evaluation(store, 1, ProtocolSettings(), seed=0)
        evaluated = sets_of(store, evaluation)
        users = user_ids(store, evaluation.users)
        assert evaluation.negatives.shape == (2, 50)
        for row, user in enumerate(users):
            drawn = {int(item) for item in item_ids(store, evaluation.negatives[row])}
            context, targets = evaluated[int(user)]
            assert len(drawn) == 50
            assert drawn <= set(range(400)) - context - targets


def test_the_seed_and_the_period_set_the_draws_and_nothing_else(store_of):
    log = [row for period in (1, 2, 3) for row in visits(1, range(300), period)]
    settings_ = ProtocolSettings(mask_context=False)
    with store_of(log) as store:
        one, again = (build_evaluation(store, 1, settings_, seed=5) for _ in range(2))
        other = build_evaluation(store, 1, settings_, seed=6)
    np.testing.assert_array_equal(one.negatives, again.negatives)
    assert one.tie_seed == again.tie_seed
    assert one.tie_seed != other.tie_seed
    np.testing.assert_array_equal(one.targets.toarray(), other.targets.toarray())


@pytest.mark.parametrize("num_periods", [1, 2])
def test_there_must_be_a_next_period(store_of, num_periods):
    log = [(1, 10, period, 0) for period in range(1, num_periods + 1)]
    with store_of(log) as store, pytest.raises(UserError, match=f"period {num_periods + 1} is not"):
        build_evaluation(store, num_periods, ProtocolSettings(), seed=0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"protocol": "fold"}, "unknown protocol 'fold'; choose from fold-in, returning"),
        ({"context_share": 1.0}, "not in"),
        ({"context_share": math.nan}, "not in"),
        ({"num_negatives": 0}, "at least 1"),
    ],
)
def test_settings_are_checked(wrong, message):
    with pytest.raises(UserError, match=message):
        ProtocolSettings(**wrong)


def evaluate_naively(events, past, settings_):
    """The protocol as the design states it, user by user."""
    known = {item for _, item in past}
    history, present = defaultdict(set), defaultdict(list)
    for user, item in past:
        history[user].add(item)
    for user, item in events:
        present[user].append(item)
    evaluated, skipped, masked, dropped = {}, 0, 0, 0
    for user, items in present.items():
        cut = 0
        if settings_.protocol == "fold-in":
            cut = min(int(0.8 * len(items)), len(items) - 1)
        context = history[user] | set(items[:cut])
        targets = set(items[cut:])
        if not context:
            skipped += 1
            continue
        if settings_.mask_context:
            masked += len(targets & context)
            targets -= context
        if not targets:
            skipped += 1
            continue
        dropped += len(context - known)
        evaluated[user] = (context & known, targets)
    return evaluated, skipped, masked, dropped


@settings(max_examples=40)
@given(
    rows=st.lists(
        st.tuples(st.integers(1, 6), st.integers(100, 115), st.integers(1, 3), st.integers(0, 30)),
        min_size=1,
        max_size=60,
    ),
    protocol=st.sampled_from(["fold-in", "returning"]),
    mask_context=st.booleans(),
)
def test_agrees_with_the_protocol_user_by_user(store_of, rows, protocol, mask_context):
    rows = [(1, 100, 1, 0), (1, 101, 2, 0), *rows, (2, 100, 3, 0)]
    settings_ = ProtocolSettings(protocol=protocol, mask_context=mask_context)
    with store_of(rows) as store:
        evaluation = build_evaluation(store, 2, settings_, seed=1)
        in_order = read_events(store, 3, 3)
        users, items = user_ids(store, in_order.users), item_ids(store, in_order.items)
        events = [(int(user), int(item)) for user, item in zip(users, items, strict=True)]
        assert sorted(set(events)) == sorted({row[:2] for row in rows if row[2] == 3})
        past = [row[:2] for row in rows if row[2] < 3]
        evaluated, skipped, masked, dropped = evaluate_naively(events, past, settings_)
        assert sets_of(store, evaluation) == evaluated
        assert evaluation.users.tolist() == sorted(lookup_users(store, list(evaluated)).tolist())
    counts = evaluation.counts
    known = {item for _, item in past}
    assert evaluation.num_items == len(known)
    assert (counts.skipped_users, counts.masked_targets) == (skipped, masked)
    assert counts.dropped_context_items == dropped
    assert counts.empty_contexts == sum(not context for context, _ in evaluated.values())
    assert counts.targets == sum(len(targets) for _, targets in evaluated.values())
    assert counts.unseen_targets == sum(len(targets - known) for _, targets in evaluated.values())


class TestAnyPeriod:
    """Evaluations on any period, before or after that of the fit."""

    # Two users over four periods; an item that is new in each.
    LOG = (
        *(visits(1, [10, 11], 1) + visits(2, [10, 12], 1, start=50)),
        *(visits(1, [20, 12], 2) + visits(2, [20, 11], 2, start=50)),
        *(visits(1, [30, 40, 41, 42, 43], 3) + visits(2, [30, 40], 3, start=50)),
        *(visits(1, [50, 51], 4) + visits(2, [44, 52], 4, start=50)),
    )

    @pytest.mark.parametrize(
        ("fit_period", "eval_period", "evaluated"),
        [
            # Earlier than the fit: only what came before it is context, all of it is known.
            (3, 2, {1: ({10, 11, 20}, {12}), 2: ({10, 12, 20}, {11})}),
            (3, 1, {1: ({10}, {11}), 2: ({10}, {12})}),
            # The fit's own.
            (3, 3, {1: ({10, 11, 12, 20, 30, 40, 41, 42}, {43}), 2: ({10, 11, 12, 20, 30}, {40})}),
            # Later: what the fit does not know is dropped from contexts and missed as a target.
            (1, 3, {1: ({10, 11, 12}, {43}), 2: ({10, 11, 12}, {40})}),
            (1, 4, {1: ({10, 11, 12}, {51}), 2: ({10, 11, 12}, {52})}),
        ],
    )
    def test_context_is_what_came_before(self, store_of, fit_period, eval_period, evaluated):
        with store_of(self.LOG) as store:
            evaluation = build_evaluation(
                store, fit_period, ProtocolSettings(), seed=0, eval_period=eval_period
            )
            assert sets_of(store, evaluation) == evaluated
        assert (evaluation.fit_period, evaluation.eval_period) == (fit_period, eval_period)
        known = {item for _, item, period, _ in self.LOG if period <= fit_period}
        assert evaluation.num_items == len(known)
        targets = {item for _, items in evaluated.values() for item in items}
        assert evaluation.counts.unseen_targets == len(targets - known)

    def test_returning_uses_no_event_of_the_period(self, store_of):
        with store_of(self.LOG) as store:
            found = [
                sets_of(store, build_evaluation(store, fit, RETURNING, seed=0, eval_period=2))
                for fit in (1, 2, 3)
            ]
        # An item that the fit at 1 does not know stays a target.
        assert found == [{1: ({10, 11}, {20, 12}), 2: ({10, 12}, {20, 11})}] * 3

    def test_the_next_period_is_the_default(self, store_of):
        with store_of(self.LOG) as store:
            one = build_evaluation(store, 2, ProtocolSettings(), seed=3)
            other = build_evaluation(store, 2, ProtocolSettings(), seed=3, eval_period=3)
        assert (one.counts, one.tie_seed) == (other.counts, other.tie_seed)
        np.testing.assert_array_equal(one.negatives, other.negatives)
        np.testing.assert_array_equal(one.contexts.toarray(), other.contexts.toarray())

    def test_counts_of_items_are_those_the_fit_knew(self, store_of):
        with store_of(self.LOG) as store:
            evaluated = build_evaluation(store, 1, ProtocolSettings(), seed=0, eval_period=4)
        assert evaluated.item_counts.sum() == 4
        assert len(evaluated.item_counts) == evaluated.targets.shape[1] == 13

    def test_only_some_users_are_evaluated(self, store_of):
        log = [row for user in range(1, 40) for row in visits(user, [10, user, 11], 1, user * 5)]
        log += [row for user in range(1, 50) for row in visits(user, [11, 12, 10], 2, user * 5)]
        held_out = HeldOutUsers(0.3, seed=2)
        with store_of(log) as store:
            everyone = build_evaluation(store, 1, ProtocolSettings(), seed=0)
            some = build_evaluation(store, 1, ProtocolSettings(), seed=0, only=held_out)
            users = np.arange(49, dtype=np.int32)
            inside = set(users[held_out.mask(users)].tolist())
            assert set(some.users.tolist()) == inside & set(everyone.users.tolist())
            assert 0 < len(some.users) < len(everyone.users)
            whole = sets_of(store, everyone)
            wanted = {int(user): whole[int(user)] for user in user_ids(store, some.users)}
            assert sets_of(store, some) == wanted
        assert some.num_items == everyone.num_items
        np.testing.assert_array_equal(some.item_counts, everyone.item_counts)

    def test_no_user_may_be_left(self, store_of):
        with store_of(self.LOG) as store:
            users = np.arange(2, dtype=np.int32)
            nobody = next(
                found
                for found in (HeldOutUsers(0.1, seed) for seed in range(100))
                if not found.mask(users).any()
            )
            evaluated = build_evaluation(store, 2, ProtocolSettings(), seed=0, only=nobody)
        assert len(evaluated.users) == 0
        assert evaluated.contexts.shape == (0, evaluated.num_items)
        assert evaluated.counts.targets == 0
