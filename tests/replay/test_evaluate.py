import dataclasses
import math

import numpy as np
import pytest
from scipy.sparse import csr_array

from perennial.replay.evaluate import evaluate
from perennial.replay.metrics.hit_rate import HitRate
from perennial.replay.metrics.registry import make_metric
from perennial.storage.errors import UserError
from perennial.stream.evaluation import Evaluation, EvaluationCounts


class Linear:
    """Scores are the context times a fixed matrix of small whole numbers: exact in any block."""

    def __init__(self, num_items, seed=0):
        self.num_items = num_items
        generator = np.random.default_rng(seed)
        self.weights = generator.integers(-8, 8, (num_items, num_items)).astype(np.float32)
        self.blocks = []

    def score_blocks(self, contexts, block_rows):
        for start in range(0, contexts.shape[0], block_rows):
            scores = contexts[start : start + block_rows] @ self.weights
            self.blocks.append(scores.shape)
            yield scores

    def to_arrays(self):
        return {"weights": self.weights}, {}


def question(num_users=90, num_items=50, num_unseen=4, seed=0):
    generator = np.random.default_rng(seed)
    contexts = generator.random((num_users, num_items)) < 0.2
    targets = generator.random((num_users, num_items + num_unseen)) < 0.1
    targets[:, :num_items] &= ~contexts
    targets[targets.sum(axis=1) == 0, num_items] = True
    return Evaluation(
        fit_period=3,
        eval_period=4,
        num_items=num_items,
        users=np.arange(num_users, dtype=np.int32),
        contexts=csr_array(contexts.astype(np.float32)),
        targets=csr_array(targets.astype(np.float32)),
        mask_context=True,
        negatives=generator.integers(0, num_items, (num_users, 5)).astype(np.int32),
        item_counts=generator.integers(0, 30, num_items + num_unseen),
        tie_seed=7,
        counts=EvaluationCounts(0, 0, 0, 0, 0, 0),
    )


def test_gives_every_metric_at_every_cutoff_for_every_user():
    results = evaluate(Linear(50), question())
    assert [(result.metric, result.k) for result in results] == [
        *[(name, k) for name in ("HR", "nDCG", "PSP", "PSPn") for k in (10, 100)],
        ("AUC", None),
        ("AUCu", None),
    ]
    assert {result.values.values.shape for result in results} == {(90,)}
    assert {result.values.weights.shape for result in results} == {(90,)}


@pytest.mark.parametrize("block_bytes", [1, 4 * 50 * 7, 4 * 50 * 89])
def test_the_blocks_make_no_difference(block_bytes):
    whole = evaluate(Linear(50), question())
    pieces = evaluate(Linear(50), question(), block_bytes=block_bytes)
    for one, other in zip(whole, pieces, strict=True):
        np.testing.assert_array_equal(one.values.values, other.values.values)
        np.testing.assert_array_equal(one.values.weights, other.values.weights)


def test_masking_leaves_the_context_out_of_the_ranking():
    scores = np.array([[9.0, 5.0, 1.0]], np.float32)
    evaluation = dataclasses.replace(
        question(num_users=1, num_items=3),
        contexts=csr_array(np.array([[1, 0, 0]], np.float32)),
        targets=csr_array(np.array([[0, 1, 0]], np.float32)),
        negatives=np.array([[2]], np.int32),
    )
    model = Linear(3)
    model.score_blocks = lambda contexts, block_rows: iter([scores])
    metrics = [HitRate((1,))]
    assert evaluate(model, evaluation, metrics)[0].values.mean == 100.0
    unmasked = dataclasses.replace(evaluation, mask_context=False)
    assert evaluate(model, unmasked, metrics)[0].values.mean == 0.0


def test_scores_exist_in_blocks_that_are_reported():
    model, messages = Linear(50), []
    evaluate(model, question(), progress=messages.append, block_bytes=4 * 50 * 40)
    assert model.blocks == [(40, 50), (40, 50), (10, 50)]
    assert messages == [f"evaluated {done} of 90 users" for done in (40, 80, 90)]


def test_no_users_give_no_figure():
    results = evaluate(Linear(50), question(num_users=0))
    assert len(results) == 10
    assert all(math.isnan(result.values.mean) for result in results)


def test_a_metric_of_the_whole_ranking_needs_no_cutoff():
    (result,) = evaluate(Linear(50), question(), [make_metric("AUC")])
    assert 0.0 <= result.values.mean <= 1.0


def test_refuses_a_model_of_another_catalogue():
    with pytest.raises(ValueError, match="knows 51 items, but the evaluation is about 50"):
        evaluate(Linear(51), question())


def test_refuses_a_model_that_leaves_users_out():
    model = Linear(50)
    model.score_blocks = lambda contexts, block_rows: iter([np.zeros((3, 50), np.float32)])
    with pytest.raises(ValueError, match="scored 3 of 90 users"):
        evaluate(model, question())


def test_refuses_scores_that_are_not_numbers():
    model = Linear(50)
    model.weights[:] = np.nan
    with pytest.raises(UserError, match="NaN or infinite"):
        evaluate(model, question())
