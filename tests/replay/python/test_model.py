"""Models and summaries from Python: equal to those of the command line."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from command_line import call_json, call_well
from scipy.sparse import csr_array, csr_matrix

import perennial as pn


@pytest.fixture(scope="module")
def store(csv, tmp_path_factory):
    """A store with the whole log as one period."""
    path = tmp_path_factory.mktemp("commanded") / "log.duckdb"
    call_well("ingest", csv, "--store", path)
    return path


@pytest.mark.parametrize(
    ("words", "query"),
    [(("--user", "u7"), {"user": "u7"}), (("--items", "3,5"), {"items": [3, 5]})],
)
@pytest.mark.parametrize("name", ["ease", "infinite-ae"])
def test_recommendations_are_those_of_the_command_line(csv, store, name, words, query):
    printed = call_json("recommend", "--store", store, "--model", name, *words, "--k", 4)
    found = pn.fit(pn.open_log(csv), name).recommend(**query, k=4)
    assert [(one.item, one.score) for one in found] == [
        (one["item"], one["score"]) for one in printed["recommendations"]
    ]


def test_reasons_are_given_on_wish(csv):
    model = pn.fit(pn.open_log(csv), pn.InfiniteAE(reg=5))
    plain, explained = (model.recommend("u7", k=3, explain=one) for one in (False, True))
    assert [one.item for one in plain] == [one.item for one in explained]
    assert not any(one.reasons for one in plain)
    assert all(one.reasons for one in explained)


def test_seen_and_excluded_items_are_left_out(csv):
    model = pn.fit(pn.open_log(csv), "pop")
    everything = {one.item for one in model.recommend("u7", k=100, keep_seen=True)}
    left = {one.item for one in model.recommend("u7", k=100)}
    assert left < everything
    assert {one.item for one in model.recommend("u7", k=100, exclude=[min(left)])} == left - {
        min(left)
    }


def test_a_summary_is_that_of_the_command_line(csv, tmp_path):
    file = tmp_path / "summary.parquet"
    call_well("distill", csv, "-o", file, "--users", 5, "--steps", 2)
    table = pn.distill(pn.open_log(csv), users=5, steps=2)
    assert table.column_names == ["synthetic_user", "item_id", "weight"]
    assert table == pq.read_table(file)


class TestMatrices:
    """Estimators on bare matrices."""

    @pytest.fixture
    def matrix(self):
        return csr_matrix(np.random.default_rng(0).random((60, 12)) < 0.3)

    @pytest.mark.parametrize("make", [pn.Ease, pn.Pop, pn.InfiniteAE, pn.MF])
    def test_each_row_gets_its_unseen_items(self, matrix, make):
        items, scores = make().fit(matrix).recommend(matrix[:4], k=20)
        for row, (found, values) in enumerate(zip(items, scores, strict=True)):
            unseen = set(range(12)) - set(matrix[row].indices.tolist())
            assert set(found[found >= 0].tolist()) == unseen
            assert (np.isnan(values) == (found < 0)).all()
            assert (np.diff(values[found >= 0]) <= 0).all()

    def test_forms_and_empty_rows_do_not_count(self, matrix):
        given = matrix.toarray().astype(float)
        with_empty = np.vstack([given, np.zeros((3, 12))])
        first, *others = (
            pn.Ease(regs=[10.0]).fit(one).recommend(given[:2], k=3)
            for one in (matrix, csr_array(with_empty), with_empty)
        )
        assert all(np.array_equal(first, other) for other in others)

    def test_the_matrix_stays_as_it_is(self):
        matrix = csr_array((np.ones(3), ([0, 0, 1], [2, 0, 1])), shape=(2, 3))
        before = matrix.copy()
        pn.Pop().fit(matrix)
        assert np.array_equal(before.indices, matrix.indices)

    @pytest.mark.parametrize(
        ("call", "words"),
        [
            (lambda x: pn.InfiniteAE(rg=3), "no setting 'rg'"),
            (lambda x: pn.Pop().fit(x * 2.0), "outside [0, 1]"),
            (lambda x: pn.Pop().fit(x * np.nan), "outside [0, 1]"),
            (lambda x: pn.Pop().fit("text"), "no matrix"),
            (lambda x: pn.Pop().fit([1, 0, 1]), "2 dimensions"),
            (lambda x: pn.Pop().fit(x * 0), "no interactions"),
            (lambda x: pn.Pop().fit(x).recommend(x[:, :3]), "have 3 items, the model 12"),
            (lambda x: pn.Pop().fit(x).recommend(x, k=0), "at least 1"),
        ],
    )
    def test_mistakes_are_errors_of_the_user(self, matrix, call, words):
        with pytest.raises(pn.UserError) as error:
            call(matrix.astype(float))
        assert words in str(error.value)
