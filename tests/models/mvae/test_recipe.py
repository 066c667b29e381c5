"""The recipe and the fitted model as the replay uses them."""

from dataclasses import replace

import numpy as np
import pytest
from model_rows import QUICK_MVAE as SMALL
from model_rows import check_heavy_rows, planted, planted_hits, rows_of, scores_of
from scipy.sparse import csr_array

from perennial.models.base import FitOptions
from perennial.models.mvae.recipe import MVAE, FittedMVAE
from perennial.storage.errors import UserError


@pytest.fixture(scope="module")
def fitted() -> FittedMVAE:
    return SMALL.fit(rows_of(planted()), FitOptions(seed=1))


def test_planted_blocks_are_learnt_where_popularity_fails(fitted: FittedMVAE):
    learnt, popular = planted_hits(fitted)
    assert learnt > popular + 0.15


def test_the_report_says_what_was_chosen(fitted: FittedMVAE):
    report = fitted.report
    assert report["updates"] <= report["updates_tried"] <= report["max_updates"] == 60
    assert 0 < report["validation_nDCG@100"] <= 100
    assert report["validation_users"] > 50
    assert report["first_layer"] == "dense"
    assert report["started_warm"] is False


def test_early_stopping_refits_for_as_long_as_validation_gained():
    # A learning rate this high is at its best after a few updates.
    recipe, said = replace(SMALL, learning_rate=0.3, averaging=0.0, check_every=2), []
    report = recipe.fit(rows_of(planted()), FitOptions(seed=1, progress=said.append)).report
    assert report["updates_tried"] == report["updates"] + 4 < 60
    assert sum("validation" in line for line in said) >= 3
    assert any("refit" in line for line in said)


def test_only_the_direction_of_a_real_valued_row_matters(fitted: FittedMVAE):
    contexts = planted(seed=3)
    np.testing.assert_allclose(
        scores_of(fitted, contexts * np.float32(0.25)), scores_of(fitted, contexts), atol=1e-5
    )


@pytest.mark.parametrize(("given", "taken"), [("auto", "gather"), ("dense", "dense")])
def test_sparse_data_is_gathered_unless_told(given, taken):
    one_update = replace(SMALL, max_updates=1, first_layer=given)
    matrix = csr_array(np.eye(128, dtype=np.float32))
    assert one_update.fit(rows_of(matrix), FitOptions(seed=1)).report["first_layer"] == taken


def test_with_nobody_held_out_training_lasts_as_long_as_beta_is_annealed():
    rows = rows_of(planted(), replayed=np.ones(160, dtype=np.bool_))
    assert SMALL.fit(rows, FitOptions(seed=1)).report["updates"] == 12


def test_heavy_rows_pull_the_scores_to_themselves():
    check_heavy_rows(SMALL)


def test_a_catalogue_too_large_is_refused_in_one_line_before_anything_is_allocated():
    period = rows_of(csr_array(([1.0], ([0], [999_999])), (50_000, 1_000_000), dtype=np.float32))
    with pytest.raises(UserError, match=r"mvae needs 2\d\.\d GiB .* of 1,000,000 items") as refusal:
        MVAE().fit(period, FitOptions(seed=1, memory_limit=16 << 30))
    assert "\n" not in str(refusal.value)


def test_a_warm_start_goes_on_from_the_previous_model(fitted: FittedMVAE):
    grown = planted(seed=4)
    grown.resize((160, 55))
    recipe = replace(SMALL, warm_start=True, learning_rate=1e-6, averaging=0.0, max_updates=2)
    assert recipe.starts_warm
    assert not SMALL.starts_warm
    model = recipe.fit(rows_of(grown), FitOptions(seed=1, previous=fitted))
    assert model.report["started_warm"] is True
    kept, known = model.item_arrays(), fitted.item_arrays()
    np.testing.assert_allclose(kept["encoder_items"][:50], known["encoder_items"], atol=1e-5)
    np.testing.assert_allclose(kept["decoder_weights"], known["decoder_weights"], atol=1e-5)
    fresh = replace(recipe, warm_start=False).fit(
        rows_of(grown), FitOptions(seed=1, previous=fitted)
    )
    assert fresh.report["started_warm"] is False
    assert np.abs(fresh.item_arrays()["encoder_items"][:50] - known["encoder_items"]).max() > 0.1


def test_a_warm_start_takes_a_previous_mvae_of_its_shape_or_none(fitted: FittedMVAE):
    rows = rows_of(planted())
    warm = replace(SMALL, warm_start=True).fit(rows, FitOptions(seed=1))
    assert np.array_equal(scores_of(warm, rows.interactions), scores_of(fitted, rows.interactions))
    other = replace(SMALL, warm_start=True, hidden=25)
    with pytest.raises(UserError, match="hidden=24"):
        other.fit(rows, FitOptions(seed=1, previous=fitted))
    with pytest.raises(UserError, match="needs an mvae"):
        other.fit(rows, FitOptions(seed=1, previous=object()))  # type: ignore[arg-type]
