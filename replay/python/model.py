"""Models fitted on a log, their recommendations, and summaries of a log."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from perennial.memory.distill.summary import report_steps
from perennial.replay.python.estimators import Estimator, choose_model
from perennial.replay.python.log import Log
from perennial.replay.python.settings import MEMORY_LIMIT, make_limits
from perennial.replay.recommend.fitting import newest_recommender
from perennial.replay.recommend.recommender import (
    RecommendationQuery,
    RecommendedItem,
    Recommender,
)
from perennial.replay.strategies.registry import make_strategy
from perennial.replay.whole_log import DistillRequest, distill_log, hold_whole
from perennial.storage.base import Progress, ignore_progress


@dataclass(frozen=True)
class Model:
    """A fitted model with the users, items and titles of its log."""

    recommender: Recommender

    def recommend(
        self,
        user: str | int | None = None,
        *,
        items: Sequence[str | int] = (),
        k: int = 10,
        exclude: Sequence[str | int] = (),
        keep_seen: bool = False,
        explain: bool = False,
    ) -> tuple[RecommendedItem, ...]:
        """Recommend at most `k` items, best first, to a user or to someone who likes `items`.

        Items that the user has had are left out unless `keep_seen`, and those of `exclude` always.
        With `explain` each item has the training rows that raise its score; only ∞-AE has them.

        Raises:
            UserError: neither or both of a user and items, an unknown one, k < 1, or a model that
                cannot explain.
        """
        query = RecommendationQuery(user, tuple(items), k, tuple(exclude), not keep_seen, explain)
        return self.recommender.recommend(query)


def fit(
    log: Log,
    model: str | Estimator = "infinite-ae",
    *,
    seed: int = 0,
    memory_limit: int | str | None = MEMORY_LIMIT,
    max_rows: int | None = None,
    min_user_events: int | None = None,
    progress: Progress = ignore_progress,
) -> Model:
    """Fit a model on a whole log, as `perennial recommend` does on that of a store.

    The model is given by name, as a target such as `package.module:Class`, or as an estimator with
    settings. The limits are those of `replay`.

    Raises:
        UserError: the log cannot be read, or the model cannot be fitted on it.
    """
    recipe = choose_model(model).recipe
    limits = make_limits(memory_limit, max_rows, min_user_events)
    with log.open_files(progress) as files, hold_whole(files, log.reading) as store:
        return Model(
            newest_recommender(
                store, make_strategy("joint"), recipe, seed, limits, progress=progress
            )
        )


def distill(
    log: Log,
    users: int = 500,
    *,
    seed: int = 0,
    method: Literal["sparse", "paper"] = "sparse",
    max_items: int | None = None,
    export: Literal["soft", "hard"] = "soft",
    steps: int | None = None,
    progress: Progress = ignore_progress,
) -> pa.Table:
    """Distil a whole log into a few synthetic users, as `perennial distill`.

    Ctrl-C ends the distillation and keeps the best so far.

    Args:
        log: of `open_log`.
        users: number of synthetic users.
        seed: of all draws.
        method: learn sparse weights, or the authors' Gumbel-sampled prior.
        max_items: most items of a synthetic user, 0 for any; 200 by default, any with `paper`.
        export: keep weights in (0, 1], or make them 1.
        steps: steps at most; 100 by default, 500 with `paper`.
        progress: called after each step.

    Returns:
        Rows of `synthetic_user` (from 0, most useful first), `item_id` and `weight`.

    Raises:
        UserError: the log cannot be read.
    """
    request = DistillRequest(users, seed, method, max_items, export, steps, log.reading)
    with log.open_files(progress) as files:
        table, _ = distill_log(files, request, report_steps(progress, "distilling"))
    return table
