"""∞-AE with a teacher against its objective, minimised without the closed form."""

import tracemalloc
from dataclasses import dataclass, field, replace

import jax
import numpy as np
import pytest
from dense_kernel import kernel_gram, kernel_matrix
from hypothesis import given, settings
from hypothesis import strategies as st
from model_rows import scores_of
from scipy.optimize import minimize
from scipy.sparse import csr_array

from perennial.models.base import FitOptions, Teacher, TrainingRows
from perennial.models.holdout import hold_out, validation_score
from perennial.models.infinite_ae.exact_model import FittedInfiniteAE
from perennial.models.infinite_ae.kernel import KernelSettings
from perennial.models.infinite_ae.memory_estimate import estimate_bytes, sizes_of
from perennial.models.infinite_ae.recipe import InfiniteAE
from perennial.models.infinite_ae.teacher_model import TaughtInfiniteAE
from perennial.models.scoring import score_replayed
from perennial.storage.errors import UserError

NUM_ITEMS = 30
KNOWN = 24
DOUBLE = InfiniteAE(reg=5.0, precision="float64")


@dataclass(frozen=True)
class Oracle:
    """Answers a function of the row that is no row itself."""

    num_items: int = KNOWN
    report: dict = field(default_factory=dict)

    def score_blocks(self, contexts, block_rows):
        assert contexts.shape[1] == self.num_items
        mix = np.random.default_rng(8).normal(0.2, 0.5, (self.num_items, self.num_items))
        for start in range(0, contexts.shape[0], block_rows):
            yield (contexts[start : start + block_rows].toarray() @ mix).astype(np.float32)

    def to_arrays(self):
        raise NotImplementedError


def dense_rows(num_rows, seed=0, num_items=NUM_ITEMS):
    generator = np.random.default_rng(seed)
    popularity = np.linspace(0.5, 0.05, num_items)
    return (generator.random((num_rows, num_items)) < popularity).astype(np.float32)


def taught_rows(num_new=25, num_old=15, known=KNOWN, num_items=NUM_ITEMS, seed=0, weight=None):
    """D and E in no order, weights at random unless E has one, and a teacher."""
    generator = np.random.default_rng(seed + 100)
    dense = dense_rows(num_new + num_old, seed, num_items)
    replayed = generator.permutation(num_new + num_old) >= num_new
    dense[np.ix_(replayed, np.arange(num_items) >= known)] = 0
    weights = generator.uniform(0.3, 3.0, len(dense))
    if weight is not None:
        weights = np.where(replayed, weight, 1.0)
    return TrainingRows(
        interactions=csr_array(dense),
        weights=weights,
        replayed=replayed,
        last_period=np.where(replayed, 1, 2).astype(np.int32),
        teacher=Oracle(known),
    )


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

    def loss(self, alpha, columns=slice(None)):
        fitted = self.gram @ alpha
        wrong = fitted - self.targets[:, columns]
        norm = (alpha * fitted).sum()
        return (self.counts[:, columns] * wrong**2).sum() + self.ridge * norm

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


def test_a_descent_finds_the_same():
    rows = taught_rows(num_new=12, num_old=8)
    problem, contexts = Problem(rows, 5.0), dense_rows(6, seed=2)
    scores = scores_of(DOUBLE.fit(rows, FitOptions(seed=0)), contexts)
    for column in (0, KNOWN - 1, KNOWN, NUM_ITEMS - 1):
        columns = slice(column, column + 1)

        def loss(alpha, columns=columns):
            shaped = alpha[:, None]
            return problem.loss(shaped, columns), problem.gradient(shaped, columns)[:, 0]

        options = {"maxiter": 5000, "ftol": 1e-15, "gtol": 1e-12}
        found = minimize(loss, np.zeros(20), jac=True, method="L-BFGS-B", options=options)
        expected = problem.scores(found.x[:, None], contexts)[:, 0]
        np.testing.assert_allclose(scores[:, column], expected, atol=1e-4)


def test_single_precision_changes_the_fifth_digit():
    rows, contexts = taught_rows(150, 60), dense_rows(20, seed=2)
    model = InfiniteAE(reg=5.0).fit(rows, FitOptions(seed=0))
    assert model.report["dtype"] == "float32"
    exact = scores_of(DOUBLE.fit(rows, FitOptions(seed=0)), contexts)
    np.testing.assert_allclose(scores_of(model, contexts), exact, atol=5e-5)


def test_both_backends_agree():
    rows, contexts = taught_rows(), dense_rows(5, seed=2)
    one, other = (
        scores_of(replace(DOUBLE, backend=backend).fit(rows, FitOptions(seed=0)), contexts)
        for backend in ("closed-form", "neural-tangents")
    )
    np.testing.assert_allclose(one, other, atol=1e-6)


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


def test_exemplars_that_weigh_nothing_leave_the_fit_on_new_rows():
    rows = taught_rows(weight=1e-9)
    new = replace(rows.take(np.flatnonzero(~rows.replayed)), teacher=None)
    contexts = dense_rows(8, seed=2)
    plain = DOUBLE.fit(new, FitOptions(seed=0))
    assert isinstance(plain, FittedInfiniteAE)
    model = DOUBLE.fit(rows, FitOptions(seed=0))
    np.testing.assert_allclose(scores_of(model, contexts), scores_of(plain, contexts), atol=1e-6)


def test_exemplars_that_weigh_much_answer_as_the_teacher_does():
    rows = taught_rows(num_new=5, num_old=10, weight=1e6)
    old = rows.interactions[rows.replayed]
    model = replace(DOUBLE, reg=1e-3).fit(rows, FitOptions(seed=0))
    answers = score_replayed(rows.teacher, old)
    given = scores_of(model, old.toarray())[:, :KNOWN]
    assert np.abs(given - answers).max() < 0.02 * np.abs(answers).max()


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


@settings(max_examples=10)
@given(block_rows=st.integers(1, 40))
def test_blocks_are_the_scores_in_order(block_rows):
    contexts = dense_rows(33, seed=2)
    model = DOUBLE.fit(taught_rows(), FitOptions(seed=0))
    blocks = list(model.score_blocks(csr_array(contexts), block_rows))
    assert [len(block) for block in blocks[:-1]] == [block_rows] * (len(blocks) - 1)
    assert all(block.dtype == np.float32 for block in blocks)
    np.testing.assert_allclose(np.concatenate(blocks), scores_of(model, contexts), atol=1e-6)
    assert scores_of(model, contexts[:0]).shape == (0, NUM_ITEMS)


def test_contexts_of_another_width_are_refused():
    model = DOUBLE.fit(taught_rows(), FitOptions(seed=0))
    with pytest.raises(ValueError, match="contexts of 29 items, model of 30"):
        scores_of(model, np.zeros((1, 29), np.float32))


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


def test_the_same_seed_gives_the_same_model_to_the_bit():
    rows, contexts = taught_rows(60, 20), dense_rows(7, seed=2)
    first, second = (InfiniteAE().fit(rows, FitOptions(seed=5)) for _ in range(2))
    assert first.report == second.report
    np.testing.assert_array_equal(scores_of(first, contexts), scores_of(second, contexts))


def stored(model):
    arrays, manifest = model.to_arrays()
    return {name: array.copy() for name, array in arrays.items()}, manifest


@pytest.mark.parametrize("known", [KNOWN, NUM_ITEMS])
@pytest.mark.parametrize("num_old", [0, 15])
def test_a_stored_model_comes_back_to_the_bit(known, num_old):
    rows = taught_rows(num_old=num_old, known=known)
    model = InfiniteAE(depth=2, regs=(1.0, 5.0)).fit(rows, FitOptions(seed=1))
    back = InfiniteAE().restore(*stored(model))
    contexts = dense_rows(6, seed=2)
    np.testing.assert_array_equal(scores_of(back, contexts), scores_of(model, contexts))
    np.testing.assert_array_equal(
        back.similarity(csr_array(contexts)), model.similarity(csr_array(contexts))
    )
    assert back.report == model.report
    assert back.num_items == model.num_items


@pytest.mark.parametrize(
    "damage",
    [
        lambda answers: answers[0],
        lambda answers: np.full_like(answers, np.nan),
        lambda answers: np.tile(answers, (9, 1)),
        lambda answers: np.tile(answers, (1, 9)),
    ],
)
def test_damaged_answers_are_refused_in_one_line(damage):
    arrays, manifest = stored(DOUBLE.fit(taught_rows(), FitOptions(seed=0)))
    arrays["answers"] = damage(arrays["answers"])
    with pytest.raises(UserError, match="the stored model is damaged"):
        DOUBLE.restore(arrays, manifest)


def test_a_row_cap_leaves_the_exemplars_up_to_half_of_the_places():
    rows = taught_rows(25, 15, weight=2.0)
    some = DOUBLE.fit(rows, FitOptions(seed=0, max_rows=30))
    assert (some.report["rows_used"], len(some.new_rows)) == (30, 15)
    fewer = DOUBLE.fit(rows, FitOptions(seed=0, max_rows=20))
    assert (fewer.report["rows_used"], len(fewer.new_rows)) == (20, 10)
    none = DOUBLE.fit(rows, FitOptions(seed=0, max_rows=1))
    assert (none.report["rows_used"], len(none.new_rows)) == (1, 1)
    for model in (fewer, none):
        assert np.isfinite(scores_of(model, dense_rows(3))).all()


@pytest.mark.parametrize(("num_rows", "num_items"), [(1200, 60), (200, 20_000)])
def test_a_fit_stays_within_its_estimate(num_rows, num_items):
    generator = np.random.default_rng(0)
    dense = (generator.random((num_rows, num_items)) < 8 / num_items).astype(np.float32)
    replayed = np.arange(num_rows) >= 0.8 * num_rows
    dense[np.ix_(replayed, np.arange(num_items) >= 0.9 * num_items)] = 0

    class Constant(Oracle):
        def score_blocks(self, contexts, block_rows):
            for start in range(0, contexts.shape[0], block_rows):
                stop = min(start + block_rows, contexts.shape[0])
                yield np.full((stop - start, self.num_items), 0.1, np.float32)

    rows = TrainingRows(
        interactions=csr_array(dense),
        weights=np.ones(num_rows),
        replayed=replayed,
        last_period=np.ones(num_rows, np.int32),
        teacher=Constant(int(0.9 * num_items)),
    )
    del dense
    recipe = InfiniteAE(regs=(5.0, 50.0), validation_users=500)
    sizes = sizes_of(rows.interactions, rows.weights, 500, "auto", 5.0, int(replayed.sum()))
    tracemalloc.start()
    try:
        model = recipe.fit(rows, FitOptions(seed=0))
        next(model.score_blocks(rows.interactions[:1024], 1024))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= estimate_bytes(sizes, num_rows) <= 4 * peak
    assert model.report["bytes_estimated"] == estimate_bytes(sizes, num_rows)


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
    answers = score_replayed(rows.teacher, rows.interactions[rows.replayed])
    assert answers.shape == (15, KNOWN)
    assert score_replayed(rows.teacher, rows.interactions[:0]).shape == (0, KNOWN)
