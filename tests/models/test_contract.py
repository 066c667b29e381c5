"""The contract of every model in the registry: a new one is tested by its line there.

A class of tests runs once per model, on one small fit.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from model_rows import planted, rows_of, scores_of
from scipy.sparse import csr_array

from perennial.models.base import FitOptions, FittedModel, Recipe
from perennial.models.holdout import hold_out
from perennial.models.registry import MODELS, make_recipe
from perennial.storage.errors import UserError
from perennial.storage.results.artifacts import load_arrays, save_arrays

NUM_ROWS, NUM_ITEMS = 60, 40
Stored = dict[str, Any]

SHORT = {"max_updates": 8, "check_every": 4}
SMALL: Mapping[str, Mapping[str, Any]] = {
    "mvae": {"hidden": 8, "latent": 4, "batch_size": 32, **SHORT},
    "neumf": {"factors": 4, "embedding": 4, "hidden": 4, "num_candidates": 32, **SHORT},
    "lightgcn": {"layers": (1,), "dim": 4, **SHORT},
    "mf": {"dimensions": (3, 4), "unobserved": (0.1, 0.3), "regs": (0.1,), "sweeps": 2},
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
    """A copy of what is kept of a model."""
    arrays, manifest = model.to_arrays()
    return {name: np.array(values) for name, values in arrays.items()}, dict(manifest)


def same_bits(one: FittedModel, other: FittedModel) -> bool:
    (first, _), (second, _) = stored(one), stored(other)
    return first.keys() == second.keys() and all(
        values.tobytes() == second[name].tobytes() for name, values in first.items()
    )


@pytest.fixture(scope="module", params=MODELS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def recipe(name: str) -> Recipe:
    return make_recipe(name, SMALL.get(name, {}))


@pytest.fixture(scope="module")
def fitted(recipe: Recipe) -> FittedModel:
    return recipe.fit(rows_of(planted(NUM_ROWS, NUM_ITEMS)), FitOptions(seed=1))


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

    def test_a_fit_is_the_same_to_the_bit_for_a_seed(self, recipe, fitted, name):
        rows = rows_of(planted(NUM_ROWS, NUM_ITEMS))
        again = recipe.fit(rows, FitOptions(seed=1))
        assert same_bits(fitted, again)
        assert fitted.report == again.report
        if name in RANDOM:
            assert not same_bits(fitted, recipe.fit(rows, FitOptions(seed=2)))

    def test_the_report_can_be_stored_and_counts_the_rows(self, fitted: FittedModel):
        report = fitted.report
        assert json.loads(json.dumps(report, allow_nan=False)) == report
        assert report["rows_given"] == report["rows_used"] == NUM_ROWS

    def test_the_row_cap_is_applied_and_reported(self, recipe: Recipe):
        said: list[str] = []
        options = FitOptions(seed=1, max_rows=30, progress=lambda text, *_: said.append(text))
        report = recipe.fit(rows_of(planted(NUM_ROWS, NUM_ITEMS)), options).report
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

    def test_a_memory_limit_that_is_high_enough_changes_nothing(self, recipe, fitted):
        rows = rows_of(planted(NUM_ROWS, NUM_ITEMS))
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
        ],
        ids=["no rows", "empty rows", "one row", "one interaction", "one item"],
    )
    def test_little_data_gives_finite_scores(self, recipe: Recipe, matrix: np.ndarray):
        model = recipe.fit(rows_of(csr_array(matrix.astype(np.float32))), FitOptions(seed=1))
        contexts = np.vstack([matrix, np.zeros((1, matrix.shape[1]))]).astype(np.float32)
        scores = scores_of(model, contexts)
        assert scores.shape == contexts.shape
        assert np.isfinite(scores).all()


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


class TestStorage:
    def test_a_restored_model_is_the_same_to_the_bit(self, recipe, fitted, contexts, tmp_path):
        restored = recipe.restore(*load_arrays(save_arrays(tmp_path, "model", *fitted.to_arrays())))
        assert scores_of(restored, contexts).tobytes() == scores_of(fitted, contexts).tobytes()
        assert same_bits(restored, fitted)
        assert restored.report == fitted.report
        assert restored.num_items == fitted.num_items

    def test_damage_is_reported_in_one_line(self, recipe, fitted, name):
        def lose(key: str) -> Callable[[Stored, Stored], object]:
            return lambda arrays, manifest: arrays.pop(key)

        def deepen(key: str) -> Callable[[Stored, Stored], object]:
            return lambda arrays, manifest: arrays.update({key: arrays[key][None]})

        damages = [
            *(lose(key) for key in fitted.to_arrays()[0]),
            *(deepen(key) for key in fitted.to_arrays()[0]),
            lambda arrays, manifest: manifest.clear(),
            lambda arrays, manifest: manifest.update(report=3),
            *DAMAGE.get(name, []),
        ]
        for damage in damages:
            arrays, manifest = stored(fitted)
            damage(arrays, manifest)
            with pytest.raises(UserError, match=r"fit (it|the model) again") as refused:
                recipe.restore(arrays, manifest)
            assert "\n" not in str(refused.value)


class TestSettings:
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
        for settings in refused:
            with pytest.raises(UserError, match=f"model '{name}'") as raised:
                make_recipe(name, settings)
            assert "\n" not in str(raised.value), settings
