"""LightGCN: the propagation by hand, its adjoint, the losses' gradients, and the model in use."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_rows import planted, planted_hits, rows_of, scores_of
from scipy.sparse import csr_array

from perennial.models.base import FitOptions
from perennial.models.lightgcn.graph import DeviceGraph, ScipyGraph, make_graph
from perennial.models.lightgcn.loss import weigh_entries
from perennial.models.lightgcn.recipe import FittedLightGCN, LightGCN, make_model
from perennial.models.lightgcn.training import LightGCNTrainingSettings, draw_updates, gradients
from perennial.models.selection import cap_and_hold_out
from perennial.models.training.batches import make_key

SMALL = LightGCN(layers=(1, 2), temperatures=(0.2,), dim=8, max_updates=40, check_every=5)


def _planted(num_rows: int = 160, num_items: int = 200, seed: int = 0) -> csr_array:
    return planted(num_rows, num_items, seed)


@pytest.fixture(scope="module")
def fitted() -> FittedLightGCN:
    return SMALL.fit(rows_of(_planted()), FitOptions(seed=1))


def _column(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)[:, None]


@pytest.mark.parametrize("kind", [ScipyGraph, DeviceGraph])
def test_two_layers_by_hand(kind: type[ScipyGraph] | type[DeviceGraph]):
    # Row 0 has items 0 and 1, row 1 has item 1; item 2 has nobody. Degrees 2, 1 and 1, 2, 0, so the
    # edges are 1/√2, 1/2 and 1/√2.
    graph = kind(csr_array(np.array([[1, 1, 0], [0, 1, 0]], dtype=np.float32)))
    root = np.sqrt(0.5)
    rows, items = _column(1.0, 2.0), _column(4.0, 6.0, 3.0)
    # Layer 1: rows 4/√2 + 6/2, 6/√2; items 1/√2, 1/2 + 2/√2, 0.
    first_rows, first_items = (4 * root + 3, 6 * root), (root, 0.5 + 2 * root, 0.0)
    # Layer 2: rows 1/2 + 1/4 + 1/√2, 1/(2√2) + 1; items 2 + 3/√2, √2 + 3/2 + 3, 0.
    second_rows = (0.75 + root, 1 + root / 2)
    second_items = (2 + 3 * root, 2 * root + 4.5, 0.0)
    found = graph.propagate(rows, items, 2)
    np.testing.assert_allclose(
        found.rows, (rows + _column(*first_rows) + _column(*second_rows)) / 3, rtol=1e-6
    )
    np.testing.assert_allclose(
        found.items, (items + _column(*first_items) + _column(*second_items)) / 3, rtol=1e-6
    )
    np.testing.assert_allclose(found.below, (items + _column(*first_items)) / 3, rtol=1e-6)
    np.testing.assert_allclose(graph.item_scales, [1, root, 0], rtol=1e-6)


@st.composite
def _graphs(draw: st.DrawFn) -> tuple[csr_array, int, int]:
    num_rows, num_items = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    value = st.sampled_from([0.0, 0.0, 0.25, 1.0])
    cells = draw(st.lists(value, min_size=num_rows * num_items, max_size=num_rows * num_items))
    matrix = csr_array(np.array(cells, dtype=np.float32).reshape(num_rows, num_items))
    return matrix, draw(st.integers(1, 4)), draw(st.integers(0, 2**31))


@settings(max_examples=60)
@given(_graphs())
def test_propagation_is_its_own_adjoint(drawn: tuple[csr_array, int, int]):
    matrix, layers, seed = drawn
    graph, generator = make_graph(matrix), np.random.default_rng(seed)
    x, y = (
        [generator.standard_normal((size, 3), dtype=np.float32) for size in matrix.shape]
        for _ in range(2)
    )
    of_x, of_y = graph.propagate(*x, layers), graph.propagate(*y, layers)
    left = float(np.vdot(of_x.rows, y[0]) + np.vdot(of_x.items, y[1]))
    right = float(np.vdot(x[0], of_y.rows) + np.vdot(x[1], of_y.items))
    assert left == pytest.approx(right, abs=1e-4)


@settings(max_examples=30)
@given(_graphs())
def test_both_graphs_agree(drawn: tuple[csr_array, int, int]):
    matrix, layers, seed = drawn
    generator = np.random.default_rng(seed)
    start = [generator.standard_normal((size, 3), dtype=np.float32) for size in matrix.shape]
    on_cpu = ScipyGraph(matrix).propagate(*start, layers)
    for one, other in zip(on_cpu, DeviceGraph(matrix).propagate(*start, layers), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def _settings(**changes: object) -> LightGCNTrainingSettings:
    settings = LightGCN(dim=3, layers=(2,)).training_settings({"layers": 2, "temperature": 0.5})
    return replace(settings, **changes)


@pytest.mark.parametrize("loss", ["softmax", "bpr"])
def test_the_gradient_is_that_of_numerical_differences(loss: str):
    generator = np.random.default_rng(3)
    matrix = csr_array((generator.random((7, 5)) < 0.5).astype(np.float32))
    graph, weights = make_graph(matrix), generator.uniform(0.5, 2.0, 7)
    chosen = _settings(loss=loss)
    draw = next(draw_updates(weigh_entries(matrix, weights, chosen.loss), chosen, seed=0))
    key, no_rows = make_key(5), np.zeros((7, 3), np.float32)
    base = generator.standard_normal((5, 3), dtype=np.float32)

    def loss_at(items: np.ndarray) -> float:
        now = graph.propagate(no_rows, items, chosen.layers)
        return gradients(now, draw, chosen, key, 0)[0]

    _, by_rows, by_items = gradients(
        graph.propagate(no_rows, base, chosen.layers), draw, chosen, key, 0
    )
    found = graph.propagate(by_rows, by_items, chosen.layers).items
    step = np.float32(1e-2)
    for place in np.ndindex(*base.shape):
        moved = np.zeros_like(base)
        moved[place] = step
        slope = (loss_at(base + moved) - loss_at(base - moved)) / (2 * step)
        assert found[place] == pytest.approx(slope, abs=2e-3, rel=0.02)


def test_planted_blocks_are_learnt_where_popularity_fails(fitted: FittedLightGCN):
    learnt, popular = planted_hits(fitted, num_items=200)
    assert learnt > popular + 0.15


def test_bpr_learns_too():
    rows = rows_of(_planted())
    model = replace(SMALL, loss="bpr").fit(rows, FitOptions(seed=1))
    assert set(model.report["chosen"]) == {"layers"}
    assert model.report["validation_HR@100"] > 0
    scores, has = scores_of(model, rows.interactions), rows.interactions.toarray() > 0
    assert scores[has].mean() > scores[~has].mean() + 3 * scores[~has].std() / np.sqrt(has.sum())


def test_a_training_row_is_folded_in_as_it_was_in_training():
    matrix = csr_array(_planted(30, 12).toarray() * np.linspace(0.1, 1.0, 12, dtype=np.float32))
    graph = make_graph(matrix)
    base = np.random.default_rng(0).standard_normal((12, 4), dtype=np.float32)
    for layers in (1, 2, 3):
        trained = graph.propagate(np.zeros((30, 4), np.float32), base, layers)
        model = make_model(graph, trained, cosine=False, report={})
        np.testing.assert_allclose(model.represent(matrix), trained.rows, rtol=1e-4, atol=1e-6)


def test_empty_contexts_and_isolated_items_are_finite():
    matrix = _planted().toarray()
    matrix[:, 7] = 0
    matrix[3] = 0
    model = SMALL.fit(rows_of(csr_array(matrix)), FitOptions(seed=1))
    scores = scores_of(model, csr_array(np.vstack([np.zeros(200), matrix[:4]]).astype(np.float32)))
    assert np.isfinite(scores).all()
    assert not scores[0].any()
    assert np.array_equal(model.sources[7], np.zeros(8))


def test_a_heavy_row_counts_as_copies_of_it_in_the_loss():
    matrix = _planted(12, 10)
    copied = csr_array(np.vstack([matrix.toarray(), matrix.toarray()[:1]]).astype(np.float32))
    weights = np.ones(12)
    weights[0] = 2.0
    one = weigh_entries(matrix, weights, "softmax").toarray()
    two = weigh_entries(copied, np.ones(13), "softmax").toarray()
    np.testing.assert_allclose(one[0], two[0] + two[12], rtol=1e-6)
    np.testing.assert_allclose(one[1:], two[1:12], rtol=1e-6)
    assert one.sum() == pytest.approx(1.0)


def test_a_soft_entry_counts_by_its_value():
    matrix = csr_array(np.array([[1.0, 0.25], [0.5, 0.0]], dtype=np.float32))
    shares = weigh_entries(matrix, np.ones(2), "softmax").toarray()
    np.testing.assert_allclose(shares, [[0.4, 0.1], [0.5, 0.0]], rtol=1e-6)
    drawn = weigh_entries(matrix, np.array([1.0, 3.0]), "bpr").toarray()
    np.testing.assert_allclose(drawn, np.array([[1.0, 0.25], [1.5, 0.0]]) / 2.75, rtol=1e-6)


def test_updates_on_some_rows_and_items_estimate_the_whole_gradient():
    matrix = _planted(64, 20)
    whole = _settings(dim=4, loss="softmax")
    part = replace(whole, batch_rows=16)
    graph, entries = make_graph(matrix), weigh_entries(matrix, np.ones(64), "softmax")
    base = np.random.default_rng(1).standard_normal((20, 4), dtype=np.float32)
    now = graph.propagate(np.zeros((64, 4), np.float32), base, 2)
    key = make_key(0)
    everything = gradients(now, next(draw_updates(entries, whole, 0)), whole, key, 0)
    draws = draw_updates(entries, part, 0)
    parts = [gradients(now, next(draws), part, key, 0) for _ in range(4)]
    # Four updates are one pass over the rows, so their mean is exact.
    for found, expected in zip(zip(*parts, strict=True), everything, strict=True):
        np.testing.assert_allclose(np.mean(found, axis=0), expected, rtol=1e-4, atol=1e-7)


def test_few_rows_and_items_per_update_learn_as_well():
    recipe = replace(SMALL, layers=(1,), batch_rows=40, batch_items=100, max_updates=60)
    rows = rows_of(_planted())
    some, all_of_it = (
        one.fit(rows, FitOptions(seed=1)) for one in (recipe, replace(SMALL, layers=(1,)))
    )
    name = "validation_HR@100"
    assert some.report[name] == pytest.approx(all_of_it.report[name], abs=3.0)


def test_the_best_trial_is_the_model_where_the_split_is_fixed():
    _, held = cap_and_hold_out(rows_of(_planted()), FitOptions(seed=3), None)
    said: list[str] = []
    options = FitOptions(seed=3, progress=said.append)
    kept = SMALL.fit_with_holdout(held, held.training, options)
    assert not any("refit" in text for text in said)
    same_rows = replace(held.training, weights=held.training.weights.copy())
    trained_again = SMALL.fit_with_holdout(held, same_rows, options)
    assert "refit" in said[-1]
    assert np.array_equal(kept.targets, trained_again.targets)
