"""The metrics on cases worked by hand."""

import math

import numpy as np
import pytest
from scipy.sparse import csr_array

from perennial.models.ranking import find_hits, top_items
from perennial.replay.metrics.base import RankedBlock
from perennial.replay.metrics.psp import propensity_weights
from perennial.replay.metrics.registry import METRICS, default_metrics, make_metric
from perennial.storage.errors import UserError

SECOND, THIRD = 1 / math.log2(3), 1 / math.log2(4)


def block_of(scores, contexts, targets, negatives, weights=None, depth=3):
    scores = np.array(scores, np.float32)
    targets = csr_array(np.array(targets, np.float32))
    contexts = csr_array(np.array(contexts, np.float32))
    ranking = top_items(scores, contexts, depth, tie_seed=0)
    return RankedBlock(
        scores=scores,
        ranking=ranking,
        hits=find_hits(ranking, targets),
        targets=targets,
        contexts=contexts,
        negatives=np.array(negatives, np.int32),
        propensity_weights=np.ones(targets.shape[1]) if weights is None else np.array(weights),
    )


@pytest.fixture
def block():
    """Five known items and one unknown; the users rank 4, 3, 2 and 0, 2, 1."""
    return block_of(
        scores=[[9, 1, 2, 3, 4], [5, 3, 4, 6, 2]],
        contexts=[[1, 0, 0, 0, 0], [0, 0, 0, 1, 0]],
        targets=[[0, 1, 0, 1, 0, 1], [1, 0, 0, 0, 0, 0]],
        negatives=[[2, 4], [1, -1]],
        weights=[1.0, 2.0, 3.0, 4.0, 5.0, 10.0],
    )


def values_of(name, block, k):
    metric = make_metric(name)
    return metric.finish(metric.collect(block, k))


# One hit of weight 4 among m = 2 (3); the largest weights among the targets are 10, 4, 2. PSP is in
# the scale of the paper, PSPn reaches 100.
@pytest.mark.parametrize(
    ("name", "k", "expected"),
    [
        ("HR", 1, [0, 100]),
        ("HR", 2, [50, 100]),
        ("HR", 3, [100 / 3, 100]),
        ("nDCG", 2, [100 * SECOND / (1 + SECOND), 100]),
        ("nDCG", 3, [100 * SECOND / (1 + SECOND + THIRD), 100]),
        ("PSP", 2, [100 * (4 / 2) / 14, 100]),
        ("PSP", 3, [100 * (4 / 3) / 16, 100]),
        ("PSPn", 2, [100 * 4 / 14, 100]),
        ("PSPn", 3, [100 * 4 / 16, 100]),
    ],
)
def test_metrics_at_a_cutoff(block, name, k, expected):
    np.testing.assert_allclose(values_of(name, block, k).values, expected)


def test_pooled_auc(block):
    # Negatives: 2, 4 of the first user and 3 of the second. Targets: 3 (it ties with one), 1 and
    # the unknown item of the first user; 5 of the second.
    user_values = values_of("AUC", block, None)
    np.testing.assert_allclose(user_values.values, [(1.5 / 3 + 0 + 0) / 3, 1.0])
    np.testing.assert_allclose(user_values.weights, [3.0, 1.0])
    assert user_values.mean == pytest.approx((1.5 + 0 + 0 + 3) / (4 * 3))


def test_auc_per_user(block):
    # The first user's other items score 2 and 4, the second's 3, 4 and 2.
    user_values = values_of("AUCu", block, None)
    np.testing.assert_allclose(user_values.values, [(0.5 + 0 + 0) / 3, 1.0])
    np.testing.assert_allclose(user_values.weights, [1.0, 1.0])


def test_propensity_weights_follow_the_formula():
    counts = np.array([0, 1, 10, 489], np.int64)
    scale = (math.log(500) - 1) * 2.5**0.55
    expected = [1 + scale * (count + 1.5) ** -0.55 for count in counts]
    np.testing.assert_allclose(propensity_weights(counts), expected)


@pytest.mark.parametrize("counts", [[0, 0], [1, 0], [1, 1], [0]])
def test_propensity_weights_of_tiny_logs_stay_at_one_or_above(counts):
    weights = propensity_weights(np.array(counts, np.int64))
    assert np.isfinite(weights).all()
    assert (weights >= 1.0).all()


def test_the_registry_names_every_metric():
    assert [metric.name for metric in default_metrics()] == list(METRICS)
    with pytest.raises(UserError, match="unknown metric 'MRR'; choose from AUC"):
        make_metric("MRR")
