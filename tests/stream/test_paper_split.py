import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from perennial.storage.errors import UserError
from perennial.stream.random_split import has_split, read_paper_split


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
            (5, 30, "train"),
            (5, 10, "train"),
            (5, 10, "train"),
            (5, 20, "validation"),
            (5, 40, "test"),
            (7, 20, "train"),
            (7, 20, "test"),
            (9, 30, "train"),
            (9, 20, "test"),
            (9, 40, "test"),
            (8, 99, "removed"),
        ],
    )


def test_asks_with_all_that_came_before(small):
    split = read_paper_split(small, num_negatives=2)
    # Users 5, 7, 9 are rows 0..2, items 10, 20, 30, 40 columns 0..3.
    assert split.train.interactions.toarray().tolist() == [[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 1, 0]]
    assert split.train.users.tolist() == [0, 1, 2]
    assert split.train.last_period.tolist() == [1, 1, 1]
    assert split.validation.users.tolist() == [0]
    assert split.validation.contexts.toarray().tolist() == [[1, 0, 1, 0]]
    assert split.validation.targets.toarray().tolist() == [[0, 1, 0, 0]]
    assert split.validation.counts.skipped_users == 2
    assert split.test.users.tolist() == [0, 2]
    assert split.test.contexts.toarray().tolist() == [[1, 1, 1, 0], [0, 0, 1, 0]]
    assert split.test.targets.toarray().tolist() == [[0, 0, 0, 1], [0, 1, 0, 1]]
    assert (split.test.counts.skipped_users, split.test.counts.masked_targets) == (1, 1)
    assert split.test.negatives.tolist() == [[-1, -1], [0, -1]]


def test_counts_items_on_train_alone(small):
    split = read_paper_split(small)
    for evaluation in (split.validation, split.test):
        assert evaluation.item_counts.tolist() == [2, 1, 2, 0]


def test_the_authors_keep_repeats_as_misses(small):
    split = read_paper_split(small, keep_repeats=True)
    assert split.test.users.tolist() == [0, 1, 2]
    assert split.test.targets.toarray()[1].tolist() == [0, 1, 0, 0]
    assert split.test.mask_context
    assert split.test.counts.masked_targets == 0


def test_says_what_is_wrong_with_a_file(tmp_path):
    with pytest.raises(UserError, match="no row's split is 'test'"):
        read_paper_split(write(tmp_path / "a.parquet", [(1, 1, "train"), (1, 2, "validation")]))
    pq.write_table(pa.table({"user_id": [1]}), tmp_path / "b.parquet")
    with pytest.raises(UserError, match="cannot be read as a split log"):
        read_paper_split(tmp_path / "b.parquet")
    with pytest.raises(UserError, match="it has no column item_id, split"):
        read_paper_split(tmp_path / "b.parquet")
    holes = pa.table({"user_id": [1, None], "item_id": [1, 2], "split": ["train", "test"]})
    pq.write_table(holes, tmp_path / "d.parquet")
    with pytest.raises(UserError, match="user_id has empty cells"):
        read_paper_split(tmp_path / "d.parquet")
    (tmp_path / "c.parquet").write_text("no parquet")
    with pytest.raises(UserError, match="cannot be read as a split log"):
        read_paper_split(tmp_path / "c.parquet")
    with pytest.raises(UserError, match="cannot be read as a split log"):
        read_paper_split(tmp_path / "absent.parquet")


def test_knows_a_file_that_has_a_split(small, tmp_path):
    assert has_split(small)
    pq.write_table(pa.table({"user_id": [1]}), tmp_path / "b.parquet")
    (tmp_path / "c.csv").write_text("user_id,item_id,split\n")
    for other in ("b.parquet", "c.csv", "absent.parquet"):
        assert not has_split(tmp_path / other)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shape", "validated", "tested"),
    [
        ("ml-1m", (6040, 3706), 6040, 6040),
        ("magazine", (3092, 1305), 411, 3092),
    ],
)
def test_reads_the_splits_of_the_paper(shared_data, name, shape, validated, tested):
    split = read_paper_split(shared_data / f"{name}-paper-split.parquet", keep_repeats=True)
    assert split.train.interactions.shape == shape
    assert len(split.validation.users) == validated
    assert len(split.test.users) == tested
    overlap = split.test.contexts.multiply(split.test.targets).nnz
    assert overlap == {"ml-1m": 0, "magazine": 287}[name]
    held = np.diff(split.validation.contexts.indptr)
    np.testing.assert_array_equal(
        held, np.diff(split.train.interactions.indptr)[split.validation.users]
    )
