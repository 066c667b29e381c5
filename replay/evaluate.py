"""Evaluation of a fitted model: scores, ranking, metrics."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from perennial.models.base import FittedModel
from perennial.models.ranking import find_hits, top_items
from perennial.replay.metrics.base import Collected, Metric, RankedBlock, UserValues
from perennial.replay.metrics.psp import propensity_weights
from perennial.replay.metrics.registry import default_metrics
from perennial.storage.base import Progress, ignore_progress
from perennial.stream.evaluation import Evaluation

BLOCK_BYTES = 64 << 20
"""Bytes of scores that exist at a time; a users × items matrix never does."""


@dataclass(frozen=True)
class MetricResult:
    """One metric at one cut-off, a value and a weight for each of `Evaluation.users`, in order."""

    metric: str
    k: int | None
    values: UserValues


def evaluate(
    model: FittedModel,
    evaluation: Evaluation,
    metrics: Sequence[Metric] | None = None,
    progress: Progress = ignore_progress,
    block_bytes: int = BLOCK_BYTES,
) -> tuple[MetricResult, ...]:
    """Score the users in blocks, rank the items, and compute every metric at its cut-offs.

    A pure function: the same model and evaluation give the same figures to the bit. All registered
    metrics are computed by default. At most `block_bytes` of scores exist at a time, but at least
    those of one user. Values are empty without users.

    Raises:
        UserError: a score is NaN or infinite.
        ValueError: the model and the evaluation have different numbers of items.
    """
    if model.num_items != evaluation.num_items:
        raise ValueError(
            f"the model has {model.num_items} items, but the evaluation is about "
            f"{evaluation.num_items}"
        )
    metrics = default_metrics() if metrics is None else metrics
    columns = [(metric, k) for metric in metrics for k in metric.cutoffs]
    parts: list[list[Collected]] = [[] for _ in columns]
    depth = max((k for _, k in columns if k is not None), default=1)
    num_users = len(evaluation.users)
    done = 0
    for block in _ranked_blocks(model, evaluation, depth, block_bytes):
        for collected, (metric, k) in zip(parts, columns, strict=True):
            collected.append(metric.collect(block, k))
        done += len(block.scores)
        progress(f"evaluated {done:,} of {num_users:,} users")
    if done != num_users:
        raise ValueError(f"the model scored {done} of {num_users} users")
    results = []
    for collected, (metric, k) in zip(parts, columns, strict=True):
        values = UserValues(values=np.zeros(0), weights=np.zeros(0))
        if collected:
            whole = tuple(np.concatenate(pieces) for pieces in zip(*collected, strict=True))
            values = metric.finish(whole)
        results.append(MetricResult(metric.name, k, values))
    return tuple(results)


def _ranked_blocks(
    model: FittedModel, evaluation: Evaluation, depth: int, block_bytes: int
) -> Iterator[RankedBlock]:
    """Score and rank the users block by block."""
    if len(evaluation.users) == 0:
        return
    weights = propensity_weights(evaluation.item_counts)
    block_rows = max(1, block_bytes // (4 * max(1, evaluation.num_items)))
    start = 0
    for scores in model.score_blocks(evaluation.contexts, block_rows):
        stop = start + len(scores)
        contexts = evaluation.contexts[start:stop]
        targets = evaluation.targets[start:stop]
        excluded = contexts if evaluation.mask_context else None
        ranking = top_items(scores, excluded, depth, evaluation.tie_seed)
        yield RankedBlock(
            scores=scores,
            ranking=ranking,
            hits=find_hits(ranking, targets),
            targets=targets,
            contexts=contexts,
            negatives=evaluation.negatives[start:stop],
            propensity_weights=weights,
        )
        start = stop
