"""`evaluate` and its metrics against plain Python loops over users, and its refusals."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from perennial.models.ranking import top_items
from perennial.replay.evaluate import evaluate
from perennial.replay.metrics.auc import AUC, AUCu
from perennial.replay.metrics.hits import NDCG, HitRate
from perennial.replay.metrics.psp import PSP, PSPn, propensity_weights
from perennial.stream.evaluation import Evaluation, EvaluationCounts

CUTOFFS = (1, 3, 10)


class FixedScores:
    """A model that knows its answers by heart."""

    def __init__(self, scores):
        self.scores = scores
        self.num_items = scores.shape[1]
        self.blocks = []

    def score_blocks(self, contexts, block_rows):
        for start in range(0, contexts.shape[0], block_rows):
            scores = self.scores[start : start + block_rows]
            self.blocks.append(scores.shape)
            yield scores

    def to_arrays(self):
        return {"scores": self.scores}, {}


def make_evaluation(contexts, targets, negatives, item_counts, mask_context=True, tie_seed=7):
    """An evaluation from dense contexts and targets."""
    return Evaluation(
        fit_period=1,
        eval_period=2,
        num_items=contexts.shape[1],
        users=np.arange(len(contexts), dtype=np.int32),
        contexts=csr_array(contexts.astype(np.float32)),
        targets=csr_array(targets.astype(np.float32)),
        mask_context=mask_context,
        negatives=negatives,
        item_counts=item_counts,
        tie_seed=tie_seed,
        counts=EvaluationCounts(0, 0, 0, 0, 0, 0, 0),
    )


@st.composite
def questions(draw):
    """Scores with ties, contexts, targets with unknown items, and padded negatives."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    num_users, num_items = draw(st.integers(1, 12)), draw(st.integers(1, 40))
    width = num_items + draw(st.integers(0, 5))
    levels = draw(st.sampled_from([1, 3, 10_000]))
    mask_context = draw(st.booleans())
    scores = generator.integers(-levels, levels, (num_users, num_items)).astype(np.float32) / 3
    contexts = generator.random((num_users, num_items)) < draw(st.sampled_from([0.0, 0.2, 0.9]))
    targets = generator.random((num_users, width)) < draw(st.sampled_from([0.1, 0.5]))
    targets[np.arange(num_users), generator.integers(width, size=num_users)] = True
    if mask_context:
        contexts &= ~targets[:, :num_items]
    free = ~(contexts | targets[:, :num_items])
    negatives = np.full((num_users, 6), -1, np.int32)
    for user in range(num_users):
        some = generator.permutation(np.flatnonzero(free[user]))[:6]
        negatives[user, : len(some)] = some
    item_counts, tie_seed = generator.integers(0, 100, width), draw(st.integers(0, 99))
    arrays = contexts, targets, negatives, item_counts
    return scores, make_evaluation(*arrays, mask_context, tie_seed)


def rank_user(scores, context, mask_context, tie_seed):
    """All rankable items, best first; equal scores in the order that ties are given."""
    zeros = np.zeros((1, len(scores)), np.float32)
    place = {item: at for at, item in enumerate(top_items(zeros, None, len(scores), tie_seed)[0])}
    rankable = [item for item in place if not (mask_context and item in context)]
    return sorted(rankable, key=lambda item: (-scores[item], place[item]))


def placement(score, others):
    """Share of the others that a score beats; ties count half."""
    won = sum(1.0 if score > other else 0.5 if score == other else 0.0 for other in others)
    return won / len(others)


def judge_naively(scores, evaluation):
    """Every metric as a dictionary from (name, k) to the period's figure."""
    weights = propensity_weights(evaluation.item_counts)
    pooled = [
        scores[user, item]
        for user in range(len(scores))
        for item in evaluation.negatives[user]
        if item >= 0
    ]
    figures = {}
    for user in range(len(scores)):
        context = set(evaluation.contexts[[user]].indices.tolist())
        targets = set(evaluation.targets[[user]].indices.tolist())
        ranking = rank_user(scores[user], context, evaluation.mask_context, evaluation.tie_seed)
        for k in CUTOFFS:
            reachable = min(k, len(targets))
            hits = [rank for rank, item in enumerate(ranking[:k], start=1) if item in targets]
            gain = sum(1 / math.log2(rank + 1) for rank in hits)
            ideal = sum(1 / math.log2(rank + 1) for rank in range(1, reachable + 1))
            caught = sum(weights[ranking[rank - 1]] for rank in hits)
            best = sum(sorted((weights[item] for item in targets), reverse=True)[:reachable])
            figures.setdefault(("HR", k), []).append(100 * len(hits) / reachable)
            figures.setdefault(("nDCG", k), []).append(100 * gain / ideal)
            figures.setdefault(("PSP", k), []).append(100 * caught / reachable / best)
            figures.setdefault(("PSPn", k), []).append(100 * caught / best)
        known = len(scores[user])
        found = [scores[user, item] if item < known else -math.inf for item in targets]
        if pooled:
            figures.setdefault(("AUC", None), []).extend(placement(s, pooled) for s in found)
        others = [scores[user, i] for i in range(known) if i not in context | targets]
        if others:
            mine = [placement(score, others) for score in found]
            figures.setdefault(("AUCu", None), []).append(sum(mine) / len(mine))
    return {key: sum(values) / len(values) for key, values in figures.items()}


@given(questions(), st.integers(1, 20))
def test_agrees_with_plain_loops(question, users_per_block):
    scores, evaluation = question
    metrics = [HitRate(CUTOFFS), NDCG(CUTOFFS), PSP(CUTOFFS), PSPn(CUTOFFS), AUC(), AUCu()]
    block_bytes = 4 * evaluation.num_items * users_per_block
    results = evaluate(FixedScores(scores), evaluation, metrics, block_bytes=block_bytes)
    figures = {(result.metric, result.k): result.values.mean for result in results}
    expected = judge_naively(scores, evaluation)
    for key, value in figures.items():
        np.testing.assert_allclose(value, expected.get(key, math.nan), rtol=1e-12, err_msg=str(key))


def fixed(num_users, num_items=50):
    return FixedScores(np.random.default_rng(0).random((num_users, num_items), np.float32))


def question(num_users=90, num_items=50, num_unseen=4):
    generator = np.random.default_rng(0)
    contexts = generator.random((num_users, num_items)) < 0.2
    targets = generator.random((num_users, num_items + num_unseen)) < 0.1
    targets[:, :num_items] &= ~contexts
    targets[targets.sum(axis=1) == 0, num_items] = True
    negatives = generator.integers(0, num_items, (num_users, 5)).astype(np.int32)
    return make_evaluation(
        contexts, targets, negatives, generator.integers(0, 30, targets.shape[1])
    )


def test_gives_every_metric_at_every_cutoff_for_every_user():
    results = evaluate(fixed(90), question())
    assert [(result.metric, result.k) for result in results] == [
        *[(name, k) for name in ("HR", "nDCG", "PSP", "PSPn") for k in (10, 100)],
        ("AUC", None),
        ("AUCu", None),
    ]
    assert {result.values.values.shape for result in results} == {(90,)}
    assert {result.values.weights.shape for result in results} == {(90,)}


def test_scores_exist_in_blocks_that_are_reported():
    model, messages = fixed(90), []
    evaluate(model, question(), progress=messages.append, block_bytes=4 * 50 * 40)
    assert model.blocks == [(40, 50), (40, 50), (10, 50)]
    assert messages == [f"evaluated {done} of 90 users" for done in (40, 80, 90)]


def test_no_users_give_no_figure():
    results = evaluate(fixed(0), question(num_users=0))
    assert len(results) == 10
    assert all(math.isnan(result.values.mean) for result in results)


@pytest.mark.parametrize(
    ("shape", "words"),
    [((90, 51), "has 51 items, but the evaluation is about 50"), ((3, 50), "scored 3 of 90 users")],
)
def test_refuses_a_model_of_another_catalogue_or_number_of_users(shape, words):
    with pytest.raises(ValueError, match=words):
        evaluate(fixed(*shape), question())
