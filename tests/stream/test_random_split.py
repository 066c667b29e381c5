import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from perennial.storage.errors import UserError
from perennial.stream.random_split import PART_NAMES, SplitPart, draw_parts

rows_of_lengths = st.lists(st.integers(0, 40), min_size=1, max_size=15).map(lambda more: [6, *more])


def rows(lengths):
    width = max(lengths)
    return csr_array(np.arange(width)[None, :] < np.array(lengths)[:, None], dtype=np.float32)


def by_user(lengths, parts):
    return np.split(parts, np.cumsum(lengths)[:-1])


@given(rows_of_lengths, st.integers(0, 5))
def test_every_interaction_of_a_kept_user_is_in_one_part(lengths, seed):
    parts = draw_parts(rows(lengths), seed)
    assert len(parts) == sum(lengths)
    for count, mine in zip(lengths, by_user(lengths, parts), strict=True):
        if count < 3:
            assert (mine == SplitPart.REMOVED).all()
            continue
        tallies = [int((mine == part).sum()) for part in SplitPart]
        first, second = int(0.8 * count), int(0.9 * count)
        assert tallies == [first - 1, second - first, count - second + 1, 0]
        assert tallies[SplitPart.TRAIN] >= 1


@given(rows_of_lengths, st.integers(0, 5))
def test_the_draw_follows_from_its_seed(lengths, seed):
    np.testing.assert_array_equal(draw_parts(rows(lengths), seed), draw_parts(rows(lengths), seed))


def test_other_seeds_draw_otherwise():
    lengths = [50] * 20
    assert (draw_parts(rows(lengths), 0) != draw_parts(rows(lengths), 1)).any()


def test_every_place_is_as_likely_in_each_part():
    parts = draw_parts(rows([20] * 3000), 0).reshape(3000, 20)
    for part, share in (
        (SplitPart.TRAIN, 15 / 20),
        (SplitPart.VALIDATION, 2 / 20),
        (SplitPart.TEST, 3 / 20),
    ):
        np.testing.assert_allclose((parts == part).mean(axis=0), share, atol=0.04)


def test_a_log_with_too_little_is_refused():
    with pytest.raises(UserError, match="no user of the log has 6 different items"):
        draw_parts(rows([5, 2, 1]), 0)


def test_the_names_are_those_of_the_column():
    assert PART_NAMES == ("train", "validation", "test", "removed")
