"""Scores taken apart row by row add up to the scores."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from dense_kernel import kernel_gram, kernel_matrix
from hypothesis import given, settings
from hypothesis import strategies as st
from model_rows import taught_rows
from scipy.sparse import csr_array

from perennial.models.base import FitOptions
from perennial.models.infinite_ae.explanations import ExplainableModel
from perennial.models.infinite_ae.kernel import KernelSettings
from perennial.models.infinite_ae.recipe import InfiniteAE
from perennial.models.infinite_ae.teacher_model import TaughtInfiniteAE

NUM_ITEMS = 30
KNOWN = 22


def make_rows(known=None):
    """Binary rows and real-valued replayed ones, with a teacher of `known` items if of any."""
    rows = taught_rows(known=known or NUM_ITEMS, soft=True)
    return rows if known else replace(rows, teacher=None)


MODELS = {
    known: InfiniteAE(reg=2.0).fit(make_rows(known), FitOptions(seed=0))
    for known in (None, KNOWN, NUM_ITEMS)
}


def context_of(items):
    context = np.zeros((1, NUM_ITEMS), np.float32)
    context[0, list(items)] = 1
    return csr_array(context)


@settings(max_examples=40)
@given(
    known=st.sampled_from(sorted(MODELS, key=str)),
    context=st.sets(st.integers(0, NUM_ITEMS - 1), max_size=12),
    items=st.lists(st.integers(0, NUM_ITEMS - 1), max_size=12),
)
def test_contributions_sum_to_the_score(known, context, items):
    model, row = MODELS[known], context_of(context)
    assert isinstance(model, ExplainableModel)
    (scores,) = model.score_blocks(row, 1)
    explanation = model.explain(row, np.array(items, np.int64))
    assert explanation.contributions.shape == (len(items), 40)
    # Relative to what is added up: large contributions of both signs may cancel.
    size = np.abs(explanation.contributions).sum(axis=1) + 1e-9
    wrong = np.abs(explanation.contributions.sum(axis=1) - scores[0, items])
    assert (wrong <= 1e-5 * size).all()


def test_they_are_those_of_the_dense_formula():
    """With c = K(x, X)(K + λ'W⁻¹)⁻¹, row j adds c_j X_ji to item i."""
    rows = make_rows()
    model = InfiniteAE(reg=2.0, precision="float64").fit(rows, FitOptions(seed=0))
    context, dense = context_of({1, 5, 9}), rows.interactions.toarray().astype(np.float64)
    with jax.enable_x64(True):
        gram = np.asarray(kernel_gram(dense, KernelSettings()))
        cross = np.asarray(
            kernel_matrix(context.toarray().astype(np.float64), dense, KernelSettings())
        )
    ridge = 2.0 * np.average(np.diag(gram), weights=rows.weights)
    coefficients = cross[0] @ np.linalg.inv(gram + np.diag(ridge / rows.weights))
    found = model.explain(context, np.arange(NUM_ITEMS)).contributions
    np.testing.assert_allclose(found, dense.T * coefficients, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("known", [KNOWN, NUM_ITEMS])
def test_replayed_rows_add_what_their_teacher_answered(known):
    explanation = MODELS[known].explain(context_of({1, 5, 9}), np.arange(NUM_ITEMS))
    new, old = ~explanation.replayed, explanation.replayed
    without = explanation.rows.toarray().T == 0
    assert (explanation.contributions[:, new][without[:, new]] == 0).all()
    assert (explanation.contributions[:known, old][without[:known, old]] != 0).any()
    assert (explanation.contributions[known:, old] == 0).all(), "the teacher knows nothing of them"


@pytest.mark.parametrize("known", sorted(MODELS, key=str))
def test_similarity_is_one_for_the_row_itself(known):
    model = MODELS[known]
    binary = ~np.array([bool((row.data != 1).any()) for row in model.rows.rows])
    number = int(np.flatnonzero(binary)[0])
    similarity = model.explain(csr_array(model.rows.rows[[number]]), np.array([0])).similarity
    assert similarity[number] == pytest.approx(1, abs=2e-3)
    assert similarity.max() <= 1 + 1e-6
    assert (similarity > 0).all()


def test_replayed_rows_are_told_and_kept():
    rows = make_rows()
    model = InfiniteAE(reg=2.0).fit(rows, FitOptions(seed=0))
    again = InfiniteAE().restore(*model.to_arrays())
    for one in (model, again):
        explanation = one.explain(context_of({3}), np.array([1]))
        np.testing.assert_array_equal(explanation.replayed, rows.replayed)
    taught = MODELS[KNOWN]
    assert isinstance(taught, TaughtInfiniteAE)
    np.testing.assert_array_equal(
        taught.explain(context_of({3}), np.array([1])).replayed, np.arange(40) >= 25
    )


def test_a_file_of_before_does_not_know_which_rows_are_replayed():
    model = InfiniteAE(reg=2.0).fit(make_rows(), FitOptions(seed=0))
    arrays, manifest = model.to_arrays()
    assert set(arrays) == {"offsets", "items", "values", "weights"}, "a figure counts their bytes"
    del manifest["replayed"]
    old = InfiniteAE().restore(arrays, manifest)
    context = context_of({1, 2})
    assert old.explain(context, np.array([1])).replayed is None
    assert "replayed" not in old.to_arrays()[1]
    (ours,), (theirs,) = model.score_blocks(context, 1), old.score_blocks(context, 1)
    np.testing.assert_array_equal(ours, theirs)
