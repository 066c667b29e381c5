"""Contract of every model in the registry: a new one is tested by its line there."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_rows import dense_rows, planted, rows_of, rows_of_dense, scores_of, taught_rows
from scipy.sparse import csr_array

from perennial.models.base import FitOptions, FittedModel, Recipe, Teacher, TrainingRows
from perennial.models.holdout import hold_out
from perennial.models.infinite_ae.explanations import ExplainableModel
from perennial.models.registry import MODELS, make_recipe
from perennial.storage.errors import UserError
from perennial.storage.results.artifacts import load_arrays, save_arrays

NUM_ROWS, NUM_ITEMS = 60, 40
Stored = dict[str, Any]
CENTRES, TAUGHT = "infinite-ae on centres", "infinite-ae taught some items"
TAUGHT_ALL = "infinite-ae taught all items"
VARIANTS = [*MODELS, CENTRES, TAUGHT, TAUGHT_ALL]
"""Models, and ways to fit one that give another kind of fitted model."""

SHORT = {"max_updates": 8, "check_every": 4}
SMALL: Mapping[str, Mapping[str, Any]] = {
    "mvae": {"hidden": 8, "latent": 4, "batch_size": 32, **SHORT},
    "neumf": {"factors": 4, "embedding": 4, "hidden": 4, "num_candidates": 32, **SHORT},
    "lightgcn": {"layers": (1,), "dim": 4, **SHORT},
    "mf": {"dimensions": (3, 4), "unobserved": (0.1, 0.3), "regs": (0.1,), "sweeps": 2},
    CENTRES: {"centres": 20},
}
"""Settings that make a fit quick; the defaults where none are given."""

RANDOM = {"mvae", "neumf", "lightgcn", "mf"}
"""Models that draw random numbers, so that another seed gives another model."""

NONSENSE: Mapping[str, list[Mapping[str, Any]]] = {
    "infinite-ae": [
        *({"jitter": 0.0}, {"backend": "tensorflow"}, {"precision": "float16"}),
        *({"regs": [-1.0]}, {"reg": -1.0}, {"centres": 0}),
    ],
    "mvae": [{"dropout": 1.0}, {"first_layer": "sparse"}],
    "ease": [{"regs": [0.0]}],
    "lightgcn": [{"layers": [0]}, {"temperatures": [0.0]}, {"loss": "hinge"}],
    "mf": [{"regs": [0.0]}],
    "neumf": [{"dropout": 1.0}, {"negatives": 0}],
    "bias": [{"unobserved": [0.0]}, {"dampings": [-1.0]}],
}
"""Settings that a model refuses, apart from empty grids and negative numbers, which all refuse."""

DAMAGE: Mapping[str, list[Callable[[Stored, Stored], object]]] = {
    "infinite-ae": [
        lambda arrays, manifest: arrays.update(items=arrays["items"] + 10_000),
        lambda arrays, manifest: arrays.update(offsets=arrays["offsets"][::-1]),
        lambda arrays, manifest: arrays.update(values=arrays["values"][:-1]),
        lambda arrays, manifest: arrays.update(weights=arrays["weights"][:-1]),
        lambda arrays, manifest: arrays.update(weights=-arrays["weights"]),
        lambda arrays, manifest: manifest.pop("settings"),
        lambda arrays, manifest: manifest.update(report={"reg": "five"}),
        lambda arrays, manifest: manifest.update(settings={"depth": 0, "regs": [1.0]}),
        lambda arrays, manifest: manifest.update(num_items=-1),
        *(
            lambda arrays, manifest, wrong=wrong: manifest.update(replayed=wrong)
            for wrong in ([NUM_ROWS], [-1], [[1]], "many", {"a": 1})
        ),
    ],
    CENTRES: [
        lambda arrays, manifest: arrays.update(centres=arrays["centres"][::-1]),
        lambda arrays, manifest: arrays.update(centres=arrays["centres"] + NUM_ROWS),
        lambda arrays, manifest: arrays.update(centres=arrays["centres"] - NUM_ROWS),
        lambda arrays, manifest: arrays.update(centres=arrays["centres"][:0]),
        lambda arrays, manifest: arrays.update(centres=arrays["centres"].astype(np.float64)),
        lambda arrays, manifest: manifest["settings"].pop("centres"),
        lambda arrays, manifest: manifest["settings"].update(centres=0),
    ],
    TAUGHT: [
        lambda arrays, manifest: arrays.update(answers=arrays["answers"] * np.nan),
        lambda arrays, manifest: arrays.update(answers=np.tile(arrays["answers"], (9, 1))),
        lambda arrays, manifest: arrays.update(answers=np.tile(arrays["answers"], (1, 9))),
        lambda arrays, manifest: arrays.update(answers=arrays["answers"][0]),
    ],
    "mvae": [
        lambda arrays, manifest: arrays.update(item_bias=arrays["item_bias"][1:]),
        lambda arrays, manifest: arrays.update(item_bias=arrays["item_bias"].astype(np.float64)),
        lambda arrays, manifest: manifest.pop("hidden"),
        lambda arrays, manifest: manifest.update(num_items="many"),
    ],
    "ease": [
        lambda arrays, manifest: arrays.update(upper=arrays["upper"][1:]),
        lambda arrays, manifest: arrays.update(upper=arrays["upper"] * np.float32(np.nan)),
        lambda arrays, manifest: arrays.update(diagonal=np.zeros(NUM_ITEMS, np.float32)),
    ],
    "lightgcn": [
        lambda arrays, manifest: arrays.update(targets=arrays["targets"][:3]),
        lambda arrays, manifest: manifest.pop("cosine"),
    ],
    "mf": [
        lambda arrays, manifest: arrays.update(items=arrays["items"] * np.float32(np.nan)),
        lambda arrays, manifest: manifest.pop("objective"),
        lambda arrays, manifest: manifest["objective"].update(reg=0.0),
    ],
    "bias": [
        lambda arrays, manifest: arrays.update(item_bias=np.full(NUM_ITEMS, np.inf)),
        lambda arrays, manifest: manifest.update(damping=0.0),
        lambda arrays, manifest: manifest.update(unobserved=2.0),
        lambda arrays, manifest: manifest.update(mean=None),
    ],
    "pop": [lambda arrays, manifest: arrays.update(counts=np.full(NUM_ITEMS, np.nan))],
}
DAMAGE = {**DAMAGE, "neumf": DAMAGE["mvae"]}
"""Damage that a model finds, apart from missing arrays, other dimensions and reports, as all do."""


def stored(model: FittedModel) -> tuple[Stored, Stored]:
    arrays, manifest = model.to_arrays()
    return {name: np.array(values) for name, values in arrays.items()}, dict(manifest)


def same_bits(one: FittedModel, other: FittedModel) -> bool:
    (first, _), (second, _) = stored(one), stored(other)
    return first.keys() == second.keys() and all(
        values.tobytes() == second[name].tobytes() for name, values in first.items()
    )


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def name(variant: str) -> str:
    return variant.split()[0]


@pytest.fixture(scope="module")
def recipe(variant: str, name: str) -> Recipe:
    return make_recipe(name, SMALL.get(variant, {}))


@pytest.fixture(scope="module")
def rows(variant: str) -> TrainingRows:
    if variant in (TAUGHT, TAUGHT_ALL):
        return taught_rows(40, 20, NUM_ITEMS - 10 * (variant == TAUGHT), NUM_ITEMS)
    return rows_of(planted(NUM_ROWS, NUM_ITEMS))


@pytest.fixture(scope="module")
def fitted(recipe: Recipe, rows: TrainingRows) -> FittedModel:
    return recipe.fit(rows, FitOptions(seed=1))


@pytest.fixture(scope="module")
def contexts() -> csr_array:
    """Other users' rows, the first of them empty."""
    dense = planted(25, NUM_ITEMS, seed=3).toarray()
    dense[0] = 0
    return csr_array(dense)


class TestFit:
    def test_the_registered_name_is_the_name(self, recipe: Recipe, name: str):
        assert recipe.name == name
        assert (
            json.loads(json.dumps(recipe.settings, allow_nan=False)).keys()
            == dict(recipe.settings).keys()
        )

    def test_a_fit_is_the_same_to_the_bit_for_a_seed(self, recipe, fitted, rows, name):
        again = recipe.fit(rows, FitOptions(seed=1))
        assert same_bits(fitted, again)
        assert fitted.report == again.report
        if name in RANDOM:
            assert not same_bits(fitted, recipe.fit(rows, FitOptions(seed=2)))

    def test_the_report_can_be_stored_and_counts_the_rows(self, fitted: FittedModel):
        report = fitted.report
        assert json.loads(json.dumps(report, allow_nan=False)) == report
        assert report["rows_given"] == report["rows_used"] == NUM_ROWS

    def test_the_row_cap_is_applied_and_reported(self, recipe: Recipe, rows: TrainingRows):
        said: list[str] = []
        options = FitOptions(seed=1, max_rows=30, progress=said.append)
        report = recipe.fit(rows, options).report
        assert (report["rows_given"], report["rows_used"]) == (NUM_ROWS, 30)
        assert recipe.name == "pop" or "30 of 60 rows" in said[0]

    def test_replayed_rows_are_fitted_to_but_never_held_out(self, recipe: Recipe):
        rows = rows_of(planted(NUM_ROWS, NUM_ITEMS), replayed=np.arange(NUM_ROWS) >= 20)
        report = recipe.fit(rows, FitOptions(seed=1)).report
        assert report["rows_used"] == NUM_ROWS
        assert 0 < report.get("validation_users", 1) <= 20
        rows = replace(rows, replayed=np.ones(NUM_ROWS, np.bool_))
        report = recipe.fit(rows, FitOptions(seed=1)).report
        assert not report.get("validation_users")
        assert report.get("validation_HR@100") is report.get("validation_nDCG@100") is None

    def test_a_memory_limit_that_is_too_low_is_refused_in_one_line(self, recipe, name):
        if name in ("bias", "pop"):
            pytest.skip("takes no more memory than its rows")
        with pytest.raises(UserError, match=r"memory limit.*raise --memory-limit") as refused:
            recipe.fit(rows_of(planted(NUM_ROWS, NUM_ITEMS)), FitOptions(1, memory_limit=5_000))
        assert "\n" not in str(refused.value)

    def test_a_memory_limit_that_is_high_enough_changes_nothing(self, recipe, fitted, rows):
        assert same_bits(fitted, recipe.fit(rows, FitOptions(seed=1, memory_limit=1 << 30)))

    def test_a_fixed_split_gives_the_best_model_of_the_validation(self, recipe: Recipe):
        holdout = hold_out(rows_of(planted(NUM_ROWS, NUM_ITEMS)), seed=3, share=0.2)
        best = recipe.fit_with_holdout(holdout, holdout.training, FitOptions(seed=1))
        assert best.report.get("validation_users", len(holdout.users)) == len(holdout.users)
        again = recipe.fit_with_holdout(holdout, replace(holdout.training), FitOptions(seed=1))
        assert same_bits(best, again)

    def test_external_contexts_are_validated(self, recipe: Recipe):
        holdout = hold_out(rows_of(planted(NUM_ROWS, NUM_ITEMS)), seed=3)
        few = rows_of(planted(10, NUM_ITEMS, seed=5))
        external = replace(holdout, training=few, external_contexts=holdout.contexts)
        report = recipe.fit_with_holdout(external, few, FitOptions(seed=1)).report
        assert report["rows_used"] == 10
        assert report.get("validation_users", len(holdout.users)) == len(holdout.users)

    @pytest.mark.parametrize(
        "matrix",
        [
            np.zeros((0, 5)),
            np.zeros((3, 5)),
            np.array([[1, 0, 1, 1, 0]]),
            np.array([[0, 0, 0, 0, 0], [1, 0, 0, 0, 0]]),
            np.ones((4, 1)),
            np.array([[0.5, 0, 0.25], [0, 1, 0.75], [0.25, 0.5, 0]]),
        ],
        ids=["no rows", "empty rows", "one row", "one interaction", "one item", "soft rows"],
    )
    def test_little_data_gives_finite_scores_and_is_restored(self, recipe, matrix):
        model = recipe.fit(rows_of(csr_array(matrix.astype(np.float32))), FitOptions(seed=1))
        contexts = np.vstack([matrix, np.zeros((1, matrix.shape[1]))]).astype(np.float32)
        scores = scores_of(model, contexts)
        assert scores.shape == contexts.shape
        assert np.isfinite(scores).all()
        restored = recipe.restore(*stored(model))
        assert same_bits(restored, model)
        assert scores_of(restored, contexts).tobytes() == scores.tobytes()


class TestScores:
    def test_blocks_come_in_order_and_change_no_score(self, fitted, contexts):
        whole = scores_of(fitted, contexts)
        assert whole.shape == contexts.shape
        assert np.isfinite(whole).all()
        blocks = list(fitted.score_blocks(contexts, 10))
        assert [block.shape for block in blocks] == [
            (10, NUM_ITEMS),
            (10, NUM_ITEMS),
            (5, NUM_ITEMS),
        ]
        assert all(block.dtype == np.float32 for block in blocks)
        np.testing.assert_allclose(np.concatenate(blocks), whole, rtol=1e-5, atol=1e-5)

    def test_contexts_of_another_width_are_refused(self, fitted: FittedModel):
        assert fitted.num_items == NUM_ITEMS
        with pytest.raises(ValueError, match="contexts of 41 items, model of 40"):
            next(iter(fitted.score_blocks(csr_array((2, 41), dtype=np.float32), 2)))
        if isinstance(fitted, ExplainableModel):
            for wrong in ((1, 41), (2, NUM_ITEMS)):
                with pytest.raises(ValueError, match="context of shape"):
                    fitted.explain(csr_array(wrong, dtype=np.float32), np.array([1]))


class TestStorage:
    def test_a_restored_model_is_the_same_to_the_bit(self, recipe, fitted, contexts, tmp_path):
        restored = recipe.restore(*load_arrays(save_arrays(tmp_path, "model", *fitted.to_arrays())))
        assert scores_of(restored, contexts).tobytes() == scores_of(fitted, contexts).tobytes()
        assert same_bits(restored, fitted)
        assert (restored.report, restored.num_items) == (fitted.report, fitted.num_items)
        if isinstance(fitted, Teacher):
            ours, theirs = (model.similarity(contexts) for model in (fitted, restored))
            np.testing.assert_array_equal(ours, theirs)

    def test_damage_is_reported_in_one_line(self, recipe, fitted, name, variant):
        def lose(key: str) -> Callable[[Stored, Stored], object]:
            return lambda arrays, manifest: arrays.pop(key)

        def deepen(key: str) -> Callable[[Stored, Stored], object]:
            return lambda arrays, manifest: arrays.update({key: arrays[key][None]})

        damages = [
            # Without answers it is a model that had no teacher.
            *(lose(key) for key in fitted.to_arrays()[0] if key != "answers"),
            *(deepen(key) for key in fitted.to_arrays()[0]),
            lambda arrays, manifest: manifest.clear(),
            lambda arrays, manifest: manifest.update(report=3),
            *(damage for key in {name, variant} for damage in DAMAGE.get(key, [])),
        ]
        for damage in damages:
            arrays, manifest = stored(fitted)
            damage(arrays, manifest)
            with pytest.raises(UserError, match=r"fit (it|the model) again") as refused:
                recipe.restore(arrays, manifest)
            assert "\n" not in str(refused.value)


class TestSettings:
    @pytest.fixture(params=MODELS)
    def name(self, request: pytest.FixtureRequest) -> str:
        return request.param

    def test_they_come_from_text(self, name: str):
        default = make_recipe(name)
        for key, value in default.settings.items():
            as_text = [str(one) for one in value] if isinstance(value, tuple) else str(value)
            if value is not None:
                assert make_recipe(name, {key: as_text}) == default

    def test_unknown_and_meaningless_ones_are_refused_in_one_line(self, name: str):
        fields = dataclasses.fields(make_recipe(name))
        refused: list[Mapping[str, Any]] = [{"no_such_setting": 1}, *NONSENSE.get(name, [])]
        for field in fields:
            if isinstance(field.default, tuple):
                refused.append({field.name: ()})
            elif type(field.default) in (int, float):
                refused.append({field.name: -1})
            if type(field.default) is int:
                refused.append({field.name: 0})
        for wrong in refused:
            with pytest.raises(UserError, match=f"model '{name}'") as raised:
                make_recipe(name, wrong)
            assert "\n" not in str(raised.value), wrong


GRIDS: Mapping[str, tuple[Mapping[str, Any], int]] = {
    "ease": ({"regs": [1, 30, 1000]}, 3),
    "bias": ({"unobserved": [1.0, 0.05], "dampings": [2.0, 9.0]}, 4),
    "lightgcn": ({"layers": [1, 2], "temperatures": [0.2]}, 2),
    "neumf": ({"learning_rates": [0.05, 0.02]}, 2),
    # Two times two at the first dimension, and the best of them at the second.
    "mf": ({"regs": [0.01, 0.1]}, 5),
}
"""A grid of settings, and the number of trials it takes."""


@pytest.mark.parametrize("name", GRIDS)
def test_the_best_of_a_grid_is_the_model(name: str):
    grid, num_trials = GRIDS[name]
    said: list[str] = []
    rows = rows_of(planted(NUM_ROWS, 130))
    options = FitOptions(seed=1, progress=said.append)
    model = make_recipe(name, {**SMALL.get(name, {}), **grid}).fit(rows, options)
    trials, chosen = model.report["trials"], model.report["chosen"]
    assert len(trials) == num_trials <= len(said)
    assert chosen.items() <= trials[0].items()
    assert model.report["validation_HR@100"] == max(trial["HR@100"] for trial in trials)
    assert 0 <= model.report.get("steps", 0) <= SHORT["max_updates"]
    assert name in CLOSED_FORMS or model.report.get("steps", 1) > 0
    if name in ("ease", "bias"):
        settings = {{"unobserved": key}.get(key, f"{key}s"): [chosen[key]] for key in chosen}
        assert same_bits(model, make_recipe(name, settings).fit(rows, FitOptions(seed=5)))


CLOSED_FORMS: Mapping[str, Mapping[str, Any]] = {
    "pop": {},
    "bias": {"unobserved": (0.2,), "dampings": (3.0,)},
    "ease": {"regs": (2.0,)},
    "infinite-ae": {"reg": 5.0, "precision": "float64"},
}


@pytest.mark.parametrize("name", CLOSED_FORMS)
@settings(max_examples=15)
@given(
    seed=st.integers(0, 99),
    order=st.permutations(range(9)),
    copies=st.lists(st.integers(1, 3), min_size=9, max_size=9),
)
def test_weights_repeat_rows_in_any_order(name, seed, order, copies):
    recipe, dense = make_recipe(name, CLOSED_FORMS[name]), dense_rows(9, seed=seed, soft=True)
    weighted = recipe.fit(rows_of_dense(dense[order], np.array(copies)[order]), FitOptions(seed=0))
    repeated = recipe.fit(rows_of_dense(np.repeat(dense, copies, axis=0)), FitOptions(seed=0))
    contexts = np.vstack([dense, np.eye(8)])
    np.testing.assert_allclose(
        scores_of(weighted, contexts), scores_of(repeated, contexts), atol=1e-6
    )
