import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from perennial.storage.errors import UserError
from perennial.stream.random_split import SplitPart, draw_parts, has_split, read_paper_split

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
    many = rows([50] * 20)
    assert (draw_parts(many, seed) != draw_parts(many, seed + 1)).any()


def test_every_place_is_as_likely_in_each_part():
    parts = draw_parts(rows([20] * 3000), 0).reshape(3000, 20)
    for part, share in zip(SplitPart, (15 / 20, 2 / 20, 3 / 20), strict=False):
        np.testing.assert_allclose((parts == part).mean(axis=0), share, atol=0.04)


def write(path, rows):
    users, items, parts = zip(*rows, strict=True)
    table = {"user_id": users, "item_id": items, "split": pa.array(parts).dictionary_encode()}
    pq.write_table(pa.table(table), path)
    return path


@pytest.fixture
def small(tmp_path):
    return write(
        tmp_path / "split.parquet",
        [
            *((5, 30, "train"), (5, 10, "train"), (5, 10, "train"), (5, 20, "validation")),
            *((5, 40, "test"), (7, 20, "train"), (7, 20, "test"), (9, 30, "train")),
            *((9, 20, "test"), (9, 40, "test"), (8, 99, "removed")),
        ],
    )


def test_contexts_are_all_earlier_parts(small):
    split = read_paper_split(small, num_negatives=2)
    # Users 5, 7, 9 are rows 0..2, items 10, 20, 30, 40 columns 0..3.
    assert split.train.interactions.toarray().tolist() == [[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 1, 0]]
    assert split.train.users.tolist() == [0, 1, 2]
    assert split.train.last_period.tolist() == [1, 1, 1]
    assert split.validation.users.tolist() == [0]
    assert split.validation.contexts.toarray().tolist() == [[1, 0, 1, 0]]
    assert split.validation.targets.toarray().tolist() == [[0, 1, 0, 0]]
    assert (split.validation.counts.skipped_users, split.test.users.tolist()) == (2, [0, 2])
    assert split.test.contexts.toarray().tolist() == [[1, 1, 1, 0], [0, 0, 1, 0]]
    assert split.test.targets.toarray().tolist() == [[0, 0, 0, 1], [0, 1, 0, 1]]
    assert (split.test.counts.skipped_users, split.test.counts.masked_targets) == (1, 1)
    assert split.test.negatives.tolist() == [[-1, -1], [0, -1]]
    for evaluation in (split.validation, split.test):
        assert evaluation.item_counts.tolist() == [2, 1, 2, 0], "those of train alone"


def test_the_authors_keep_repeats_as_misses(small):
    split = read_paper_split(small, keep_repeats=True)
    assert split.test.users.tolist() == [0, 1, 2]
    assert split.test.targets.toarray()[1].tolist() == [0, 1, 0, 0]
    assert split.test.mask_context
    assert split.test.counts.masked_targets == 0


def test_errors_of_a_file_are_named(tmp_path):
    path = tmp_path / "log.parquet"
    pq.write_table(pa.table({"user_id": [1]}), path)
    with pytest.raises(UserError, match=r"cannot be read as a split log.*no column item_id, split"):
        read_paper_split(path)
    holes = pa.table({"user_id": [1, None], "item_id": [1, 2], "split": ["train", "test"]})
    pq.write_table(holes, path)
    with pytest.raises(UserError, match="user_id has empty cells"):
        read_paper_split(path)


def test_recognises_a_file_with_a_split(small, tmp_path):
    assert has_split(small)
    pq.write_table(pa.table({"user_id": [1]}), tmp_path / "b.parquet")
    (tmp_path / "c.csv").write_text("user_id,item_id,split\n")
    for other in ("b.parquet", "c.csv", "absent.parquet"):
        assert not has_split(tmp_path / other)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shape", "validated", "tested"),
    [("ml-1m", (6040, 3706), 6040, 6040), ("magazine", (3092, 1305), 411, 3092)],
)
def test_reads_the_splits_of_the_paper(shared_data, name, shape, validated, tested):
    split = read_paper_split(shared_data / f"{name}-paper-split.parquet", keep_repeats=True)
    assert split.train.interactions.shape == shape
    assert (len(split.validation.users), len(split.test.users)) == (validated, tested)
    overlap = split.test.contexts.multiply(split.test.targets).nnz
    assert overlap == {"ml-1m": 0, "magazine": 287}[name]
    held = np.diff(split.validation.contexts.indptr)
    np.testing.assert_array_equal(
        held, np.diff(split.train.interactions.indptr)[split.validation.users]
    )
