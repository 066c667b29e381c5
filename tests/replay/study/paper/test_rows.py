"""Training rows of cells: noise, validation, and files of sampled and distilled rows."""

import dataclasses

import numpy as np
import pytest
from paper_toys import FAST, make_context, write_split
from scipy.sparse import csr_array

from perennial.memory.distill.summary import Summary
from perennial.replay.config import ModelChoice
from perennial.replay.study.paper.cells import StudyCell, TrainingSet
from perennial.replay.study.paper.fit import make_cell
from perennial.replay.study.paper.rows import (
    make_rows,
    read_rows,
    rows_path,
    split_holdout,
    with_made_rows,
)
from perennial.storage.base import ignore_progress
from perennial.stream.noise import Noise
from perennial.stream.random_split import read_paper_split

HALF = Noise(50.0)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_split(tmp_path_factory.mktemp("split") / "split.parquet")


@pytest.fixture(scope="module")
def split(path):
    return read_paper_split(path)


@pytest.fixture
def context(path, tmp_path):
    return make_context(path, tmp_path)


@pytest.mark.parametrize("noise", [None, Noise()])
def test_without_noise_the_holdout_is_the_split(split, noise):
    holdout = split_holdout(split, noise)
    assert holdout.training.interactions is split.train.interactions
    np.testing.assert_array_equal(holdout.users, split.validation.users)
    assert (holdout.contexts != split.validation.contexts).nnz == 0
    assert (holdout.targets != split.validation.targets).nnz == 0


def test_noise_is_in_training_rows_and_in_no_target(split):
    holdout = split_holdout(split, HALF, seed=1)
    clean, noisy = split.train.interactions, holdout.training.interactions
    assert (noisy != clean).nnz > 0
    assert noisy.sum() == clean.sum()
    assert holdout.targets.multiply(holdout.contexts).nnz == 0
    assert (np.diff(holdout.targets.indptr) > 0).all()
    targets = split.validation.targets[np.isin(split.validation.users, holdout.users)]
    assert (holdout.targets > targets).nnz == 0
    assert (split_holdout(split, HALF, seed=2).training.interactions != noisy).nnz > 0


@pytest.mark.parametrize("synthetic", [True, False])
def test_made_rows_keep_the_contexts_of_validation(split, synthetic):
    holdout = split_holdout(split)
    made = with_made_rows(holdout, split.train.interactions[:5], synthetic=synthetic)
    assert made.training.num_rows == 5
    assert made.training.replayed.tolist() == [synthetic] * 5
    assert (made.contexts != holdout.contexts).nnz == 0


def test_a_cell_with_noise_has_a_clean_test(context):
    model = ModelChoice("infinite-ae", {"reg": 5.0})
    clean = make_cell(context, StudyCell(TrainingSet(), model, 0), ignore_progress)
    cell = StudyCell(TrainingSet(noise=Noise(100.0)), model, 0)
    noisy = make_cell(context, cell, ignore_progress)
    assert (noisy.noise, noisy.num_interactions) == (100.0, clean.num_interactions)
    assert noisy.test_users == clean.test_users
    assert noisy.values != clean.values
    assert noisy.key != clean.key


def test_rows_are_sampled_from_the_noisy_log(context, split):
    whole = TrainingSet("user-rns", 40, noise=HALF)
    sampled = read_rows(make_rows(context, whole, 0, ignore_progress)).rows
    noisy = split_holdout(split, HALF, 0).training.interactions
    assert sorted(sampled.toarray().tolist()) == sorted(noisy.toarray().tolist())
    keys = {
        context.rows_key(dataclasses.replace(whole, noise=one), 0)
        for one in (HALF, Noise(20.0), Noise(50.0, "flip"), Noise())
    }
    assert len(keys) == 4


def test_sampled_rows_are_restored_from_their_file(context):
    messages = []
    stored = read_rows(make_rows(context, TrainingSet("head-user", 7), 3, messages.append))
    assert (stored.rows.shape, stored.rows.dtype) == ((7, 30), np.float32)
    assert stored.report == {"interactions": 63}
    assert messages == ["sampling 7 users"]


def test_synthetic_users_have_the_report_of_their_distillation(context):
    rows = TrainingSet("distill-cf", 20, {"num_steps": 2, "validate_every": 1, "max_items": 5})
    stored = read_rows(make_rows(context, rows, 0, ignore_progress))
    assert stored.rows.shape == (20, 30)
    assert np.diff(stored.rows.indptr).max() <= 5
    assert stored.report["steps"] == 2
    cell = StudyCell(rows, ModelChoice("infinite-ae", FAST["infinite-ae"]), 0)
    record = make_cell(context, cell, ignore_progress)
    assert record.rows_report == dict(stored.report)
    assert record.seconds["rows"] == stored.seconds > 0


def test_an_interrupted_distillation_is_not_stored(context, monkeypatch):
    incomplete = Summary(csr_array(np.eye(3, 30, dtype=np.float32)), {"interrupted": True})
    monkeypatch.setattr(
        "perennial.memory.distill.loop.distill_with_holdout", lambda *_, **__: incomplete
    )
    rows = TrainingSet("distill-cf", 20)
    with pytest.raises(KeyboardInterrupt):
        make_rows(context, rows, 0, ignore_progress)
    assert not rows_path(context, rows, 0).exists()
