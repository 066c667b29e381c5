"""The model of the newest period, fitted on demand and kept, and what it recommends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from perennial.models.base import FittedModel, Recipe
from perennial.models.ranking import top_items
from perennial.replay.chain import Chain, Limits
from perennial.replay.machine import Clock, Stopwatch
from perennial.replay.strategies.base import Strategy
from perennial.storage.errors import UserError
from perennial.storage.log.matrices import read_rows
from perennial.storage.log.periods import list_periods
from perennial.storage.log.vocabulary import item_ids, lookup_items, lookup_users
from perennial.storage.progress import Progress, ignore_progress
from perennial.storage.results.fits import (
    insert_fit,
    insert_model_file,
    sweep_model_files,
    write_model,
)
from perennial.storage.results.versions import read_versions
from perennial.storage.store import Store
from perennial.stream.history import History


@dataclass(frozen=True)
class Recommendation:
    """An item for someone.

    Attributes:
        item: its identifier, as it went into the store.
        score: the model's; only the order of a user's scores means something.
    """

    item: str | int
    score: float


def newest_model(
    store: Store,
    strategy: Strategy,
    recipe: Recipe,
    seed: int,
    limits: Limits | None = None,
    progress: Progress = ignore_progress,
    versions: Mapping[str, str] | None = None,
) -> FittedModel:
    """The model fitted on all that the strategy may see at the newest period.

    It is the one that a replay would fit at that period. It is kept in the store until the log
    grows or the settings change; a lost or damaged file is made again.

    Args:
        store: open for writing.
        strategy: what to fit on.
        recipe: what to fit.
        seed: every random draw derives from it.
        limits: what the fit may use.
        progress: called with a few words as the fit goes on.
        versions: of the code and its libraries, read unless told.

    Raises:
        UserError: the store holds no period.
    """
    periods = list_periods(store)
    if not periods:
        raise UserError(
            f"{store.path or 'the store'} holds no interactions; put some in with "
            "`perennial ingest`"
        )
    newest = periods[-1].period
    versions = read_versions() if versions is None else versions
    chain = Chain(store, strategy, recipe, seed, limits or Limits(), versions)
    kept = chain.kept_model(newest)
    if kept is not None:
        return kept
    progress(f"fitting {recipe.name} ({strategy.name}) on the periods up to {newest}")
    model, fit = chain.fit(chain.history(newest), Stopwatch(Clock()), progress)
    path = write_model(store, fit.key, *chain.to_arrays(model))
    with store.transaction():
        insert_fit(store, fit)
        insert_model_file(store, fit.key, "published", chain.key, path)
    sweep_model_files(store)
    return model


def recommend_user(
    store: Store, model: FittedModel, user: str | int, *, k: int, exclude_seen: bool = True
) -> tuple[Recommendation, ...]:
    """Recommend to a user from everything that the store holds of them.

    Args:
        store: where the log lies.
        model: fitted on it.
        user: their identifier.
        k: how many, ≥ 1.
        exclude_seen: leave out what they have had.

    Returns:
        At most `k` items, best first.

    Raises:
        UserError: nobody has this identifier.
    """
    return recommend(store, model, context_of_user(store, user), k=k, exclude_seen=exclude_seen)


def recommend_items(
    store: Store,
    model: FittedModel,
    items: Sequence[str | int],
    *,
    k: int,
    exclude_seen: bool = True,
) -> tuple[Recommendation, ...]:
    """Recommend to someone unknown who likes some items; arguments as `recommend_user`.

    Raises:
        UserError: no items, or one that the store does not know.
    """
    return recommend(store, model, context_of_items(store, items), k=k, exclude_seen=exclude_seen)


def context_of_user(store: Store, user: str | int) -> csr_array:
    """Everything the store holds of a user: `(1, items of the vocabulary)`, binary.

    Raises:
        UserError: nobody has this identifier.
    """
    index = lookup_users(store, [user])
    if index[0] < 0:
        raise UserError(
            f"user '{user}' is not in {store.path or 'the store'}; check the identifier, or say "
            "what they like with --items A,B,C"
        )
    last = list_periods(store)[-1].period
    rows = read_rows(store, 1, last, num_items=_width(store), users=index)
    return rows.interactions


def context_of_items(store: Store, items: Sequence[str | int]) -> csr_array:
    """Someone who likes some items: `(1, items of the vocabulary)`, binary.

    Raises:
        UserError: no items, or one that the store does not know.
    """
    if not items:
        raise UserError("no items given; name at least one with --items A,B,C")
    found = lookup_items(store, list(items))
    unknown = [str(item) for item, index in zip(items, found, strict=True) if index < 0]
    if unknown:
        raise UserError(
            f"unknown item{'s' if len(unknown) > 1 else ''} {', '.join(unknown)}: not in "
            f"{store.path or 'the store'}; check the identifiers, or leave them out"
        )
    columns = np.unique(found)
    return csr_array(
        (
            np.ones(len(columns), np.float32),
            columns.astype(np.int32),
            np.array([0, len(columns)], np.int32),
        ),
        shape=(1, _width(store)),
    )


def _width(store: Store) -> int:
    """The items of the vocabulary."""
    return History(store, list_periods(store)[-1].period).num_items


def recommend(
    store: Store, model: FittedModel, context: csr_array, *, k: int, exclude_seen: bool = True
) -> tuple[Recommendation, ...]:
    """Score one context row and take the best; arguments as `recommend_user`."""
    if k < 1:
        raise UserError(f"{k} recommendations make no sense; ask for at least 1")
    known = csr_array(context[:, : model.num_items])
    (scores,) = model.score_blocks(known, 1)
    ranking = top_items(scores, known if exclude_seen else None, k, tie_seed=0)[0]
    ranking = ranking[ranking >= 0]
    items: Sequence[str | int] = item_ids(store, ranking)
    return tuple(
        Recommendation(item, float(score))
        for item, score in zip(items, scores[0, ranking], strict=True)
    )
