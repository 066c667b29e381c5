import dataclasses

import numpy as np
import pytest
from paper_toys import make_context, write_split

from perennial.replay.config import ModelChoice
from perennial.replay.study.paper.cells import StudyCell, TrainingSet
from perennial.replay.study.paper.fit import make_cell
from perennial.replay.study.paper.rows import (
    make_rows,
    read_rows,
    split_holdout,
    with_made_rows,
)
from perennial.storage.progress import ignore_progress
from perennial.stream.noise import Noise
from perennial.stream.random_split import read_paper_split

HALF = Noise(50.0)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_split(tmp_path_factory.mktemp("split") / "split.parquet")


@pytest.fixture(scope="module")
def split(path):
    return read_paper_split(path)


def test_without_noise_it_is_the_split(split):
    for noise in (None, Noise()):
        held = split_holdout(split, noise)
        assert held.training.interactions is split.train.interactions
        np.testing.assert_array_equal(held.users, split.validation.users)
        assert (held.contexts != split.validation.contexts).nnz == 0
        assert (held.targets != split.validation.targets).nnz == 0


def test_noise_is_in_what_learns_and_in_no_answer(split):
    held = split_holdout(split, HALF, seed=1)
    clean, noisy = split.train.interactions, held.training.interactions
    assert (noisy != clean).nnz > 0
    assert noisy.sum() == clean.sum()
    assert held.targets.multiply(held.contexts).nnz == 0
    assert (np.diff(held.targets.indptr) > 0).all()
    targets = split.validation.targets[np.isin(split.validation.users, held.users)]
    assert (held.targets > targets).nnz == 0
    assert (split_holdout(split, HALF, seed=2).training.interactions != noisy).nnz > 0


def test_others_judge_rows_that_are_made(split):
    held = split_holdout(split)
    few = split.train.interactions[:5]
    apart = with_made_rows(held, few, synthetic=True)
    assert apart.training.num_rows == 5
    assert apart.training.replayed.all()
    assert apart.contexts is not None
    assert (apart.contexts != held.contexts).nnz == 0
    assert not with_made_rows(held, few, synthetic=False).training.replayed.any()


def test_a_cell_learns_from_noise_and_is_asked_without(path, tmp_path):
    context = make_context(path, tmp_path)
    model = ModelChoice("infinite-ae", {"reg": 5.0})
    clean = make_cell(context, StudyCell(TrainingSet(), model, 0), ignore_progress)
    cell = StudyCell(TrainingSet(noise=Noise(100.0)), model, 0)
    noisy = make_cell(context, cell, ignore_progress)
    assert (noisy.noise, noisy.num_interactions) == (100.0, clean.num_interactions)
    assert noisy.test_users == clean.test_users
    assert noisy.values != clean.values
    assert noisy.key != clean.key


def test_rows_are_kept_of_the_noisy_log(path, tmp_path):
    context = make_context(path, tmp_path)
    whole = TrainingSet("user-rns", 40, noise=HALF)
    kept = read_rows(make_rows(context, whole, 0, ignore_progress))
    noisy = split_holdout(read_paper_split(path), HALF, 0).training.interactions
    found = sorted(map(tuple, kept.rows.toarray().tolist()))
    assert found == sorted(map(tuple, noisy.toarray().tolist()))
    keys = {
        context.rows_key(dataclasses.replace(whole, noise=one), 0)
        for one in (HALF, Noise(20.0), Noise(50.0, "flip"), Noise())
    }
    assert len(keys) == 4
