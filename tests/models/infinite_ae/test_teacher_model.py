"""∞-AE with a teacher against its objective, minimised without the closed form."""

from dataclasses import replace
from functools import partial

import jax
import model_rows
import numpy as np
import pytest
from dense_kernel import kernel_gram, kernel_matrix
from model_rows import Oracle, scores_of, taught_rows
from scipy.sparse import csr_array

from perennial.models.base import FitOptions, Teacher
from perennial.models.holdout import hold_out, validation_score
from perennial.models.infinite_ae.kernel import KernelSettings
from perennial.models.infinite_ae.recipe import InfiniteAE
from perennial.models.infinite_ae.teacher_model import TaughtInfiniteAE
from perennial.models.scoring import score_replayed

NUM_ITEMS = 30
KNOWN = 24
DOUBLE = InfiniteAE(reg=5.0, precision="float64")
dense_rows = partial(model_rows.dense_rows, num_items=NUM_ITEMS, most=0.5)


class Problem:
    """Σ_D w (f(x) − x)² + Σ_E w (f(x) − f_old(x))² + λ' tr(αᵀ K α), f = K α, in float64."""

    def __init__(self, rows, reg, depth=1):
        self.rows = rows
        self.settings = KernelSettings(depth)
        self.dense = rows.interactions.toarray().astype(np.float64)
        with jax.enable_x64(True):
            self.gram = np.asarray(kernel_gram(self.dense, self.settings))
        self.ridge = reg * np.average(np.diag(self.gram), weights=rows.weights)
        self.targets = self.dense.copy()
        # counts: n × d, how much a cell counts; nothing for items unknown to the teacher on E.
        self.counts = np.repeat(rows.weights[:, None], self.dense.shape[1], axis=1)
        if rows.teacher is not None:
            known = rows.teacher.num_items
            answers = score_replayed(rows.teacher, rows.interactions[rows.replayed])
            self.targets[np.ix_(rows.replayed, np.arange(known))] = answers
            self.counts[np.ix_(rows.replayed, np.arange(self.dense.shape[1]) >= known)] = 0

    def gradient(self, alpha, columns=slice(None)):
        wrong = self.gram @ alpha - self.targets[:, columns]
        return 2 * self.gram @ (self.counts[:, columns] * wrong + self.ridge * alpha)

    def least_squares(self):
        """α from the quadratic written as |A α − b|², columns that count alike together."""
        values, vectors = np.linalg.eigh(self.gram)
        root = np.sqrt(np.maximum(values, 0))[:, None] * vectors.T
        alpha = np.zeros_like(self.targets)
        kinds, kind_of = np.unique(self.counts, axis=1, return_inverse=True)
        for kind, count in enumerate(kinds.T):
            columns, scale = np.ravel(kind_of) == kind, np.sqrt(count)[:, None]
            left = np.vstack([scale * self.gram, np.sqrt(self.ridge) * root])
            right = scale * self.targets[:, columns]
            right = np.vstack([right, np.zeros_like(right)])
            alpha[:, columns] = np.linalg.lstsq(left, right, rcond=None)[0]
        return alpha

    def scores(self, alpha, contexts):
        with jax.enable_x64(True):
            cross = kernel_matrix(contexts.astype(np.float64), self.dense, self.settings)
        return np.asarray(cross) @ alpha


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("known", [1, KNOWN, NUM_ITEMS])
def test_it_minimises_its_objective(depth, known):
    rows = taught_rows(known=known)
    problem = Problem(rows, 5.0, depth)
    alpha = problem.least_squares()
    assert np.abs(problem.gradient(alpha)).max() < 1e-8 * np.abs(problem.targets).max()
    model = replace(DOUBLE, depth=depth).fit(rows, FitOptions(seed=0))
    assert isinstance(model, TaughtInfiniteAE)
    contexts = np.vstack([np.zeros((1, NUM_ITEMS)), dense_rows(9, seed=2)])
    np.testing.assert_allclose(
        scores_of(model, contexts), problem.scores(alpha, contexts), atol=2e-6
    )


def test_single_precision_changes_the_fifth_digit():
    rows, contexts = taught_rows(150, 60), dense_rows(20, seed=2)
    model = InfiniteAE(reg=5.0).fit(rows, FitOptions(seed=0))
    assert model.report["dtype"] == "float32"
    exact = scores_of(DOUBLE.fit(rows, FitOptions(seed=0)), contexts)
    np.testing.assert_allclose(scores_of(model, contexts), exact, atol=5e-5)


def test_new_items_are_not_pulled_to_zero():
    rows = taught_rows(num_new=20, num_old=60, weight=2.0)
    dense = rows.interactions.toarray()
    dense[np.ix_(~rows.replayed, np.arange(NUM_ITEMS) >= KNOWN)] = 1
    rows = replace(rows, interactions=csr_array(dense))
    contexts = dense_rows(15, seed=2)
    fresh = scores_of(DOUBLE.fit(rows, FitOptions(seed=0)), contexts)[:, KNOWN:]
    # As if the exemplars said that nobody wants the new items.
    pulled = scores_of(DOUBLE.fit(replace(rows, teacher=None), FitOptions(seed=0)), contexts)
    assert (fresh > pulled[:, KNOWN:] + 0.1).all()


def test_a_teacher_that_answers_the_rows_themselves_teaches_what_the_rows_do():
    class Echo(Oracle):
        def score_blocks(self, contexts, block_rows):
            yield contexts.toarray()

    rows = taught_rows(known=NUM_ITEMS)
    contexts = dense_rows(8, seed=2)
    taught = DOUBLE.fit(replace(rows, teacher=Echo(NUM_ITEMS)), FitOptions(seed=0))
    assert taught.new_factor is None, "the teacher knows all items"
    plain = DOUBLE.fit(replace(rows, teacher=None), FitOptions(seed=0))
    np.testing.assert_allclose(scores_of(taught, contexts), scores_of(plain, contexts), atol=1e-6)


@pytest.mark.parametrize(("num_new", "num_old"), [(1, 3), (3, 1), (2, 0), (0, 3)])
def test_hardly_any_rows(num_new, num_old):
    rows, contexts = taught_rows(num_new, num_old), dense_rows(4, seed=2)
    problem = Problem(rows, 5.0)
    expected = problem.scores(problem.least_squares(), contexts)
    model = DOUBLE.fit(rows, FitOptions(seed=0))
    np.testing.assert_allclose(scores_of(model, contexts), expected, atol=2e-6)


def test_the_regulariser_is_chosen_by_the_new_rows():
    rows = taught_rows(70, 40, num_items=160, known=140)
    recipe = InfiniteAE(regs=(0.5, 5.0, 50.0), precision="float64")
    held = hold_out(rows, seed=3, share=0.2)
    assert not rows.replayed[held.users].any()
    swept = recipe.sweep(held, FitOptions(seed=0))
    contexts = held.contexts.toarray()
    for reg, score in swept.items():
        model = replace(recipe, reg=reg).fit(held.training, FitOptions(seed=0))
        alone = validation_score([scores_of(model, contexts)], held, "HR", k=100)
        assert score == pytest.approx(alone, abs=1e-9)
    assert len({round(score, 6) for score in swept.values()}) > 1
    fitted = recipe.fit(rows, FitOptions(seed=4))
    tried = {float(reg): score for reg, score in fitted.report["validation"].items()}
    assert tried[fitted.report["reg"]] == max(tried.values())
    assert fitted.report["rows_used"] == 110


def test_both_kinds_of_model_can_teach():
    rows = taught_rows()
    taught = DOUBLE.fit(rows, FitOptions(seed=0))
    plain = DOUBLE.fit(replace(rows, teacher=None), FitOptions(seed=0))
    contexts = csr_array(dense_rows(9, seed=2))
    with jax.enable_x64(True):
        gram = np.asarray(kernel_gram(contexts.toarray().astype(np.float64), KernelSettings()))
    lengths = np.sqrt(np.diag(gram))
    for model in (taught, plain):
        assert isinstance(model, Teacher)
        np.testing.assert_allclose(
            model.similarity(contexts), gram / lengths[:, None] / lengths, rtol=1e-7
        )


def test_a_teacher_is_asked_about_the_items_it_knows():
    rows = taught_rows()
    with pytest.raises(ValueError, match="an item outside the 24 of its teacher"):
        score_replayed(rows.teacher, csr_array(np.eye(NUM_ITEMS, dtype=np.float32)))
    assert score_replayed(rows.teacher, rows.interactions[rows.replayed]).shape == (15, KNOWN)
    assert score_replayed(rows.teacher, rows.interactions[:0]).shape == (0, KNOWN)
