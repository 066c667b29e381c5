"""Models to recommend with: the published one, or one fitted on demand and kept in the store."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from perennial.models.base import FittedModel, Recipe
from perennial.replay.chain import Chain, Limits
from perennial.replay.machine import Clock, Stopwatch
from perennial.replay.recommend.catalogue import Catalogue
from perennial.replay.recommend.recommender import RecommendationQuery, Recommender
from perennial.replay.strategies.base import Strategy
from perennial.storage.base import Progress, ignore_progress
from perennial.storage.errors import UserError
from perennial.storage.log.periods import list_periods
from perennial.storage.opening import open_for_reading
from perennial.storage.results.fits import (
    insert_fit,
    insert_model_file,
    sweep_model_files,
    write_model,
)
from perennial.storage.results.publications import read_live
from perennial.storage.results.versions import read_versions
from perennial.storage.store import Store


def newest_model(
    store: Store,
    strategy: Strategy,
    recipe: Recipe,
    seed: int,
    limits: Limits | None = None,
    progress: Progress = ignore_progress,
    versions: Mapping[str, str] | None = None,
) -> FittedModel:
    """Return the model that a replay would fit at the newest period.

    It is kept in the store, which must be open for writing, until the log grows or the settings
    change; a lost or damaged file is made again.

    The seeds of all fits are derived from `seed`. There are no limits without `limits`, and
    `versions` are those of this process if `None`.

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
    stored = chain.stored_model(newest)
    if stored is not None:
        return stored
    progress(f"fitting {recipe.name} ({strategy.name}) on the periods up to {newest}")
    model, fit = chain.fit(chain.history(newest), Stopwatch(Clock()), progress)
    path = write_model(store, fit.key, *chain.to_arrays(model))
    with store.transaction():
        insert_fit(store, fit)
        insert_model_file(store, fit.key, "published", chain.key, path)
    sweep_model_files(store)
    return model


def newest_recommender(
    store: Store,
    strategy: Strategy,
    recipe: Recipe,
    seed: int,
    limits: Limits | None = None,
    *,
    users: Sequence[str | int] | None = None,
    query: RecommendationQuery | None = None,
    progress: Progress = ignore_progress,
) -> Recommender:
    """Return `newest_model` ready to recommend to some users, to all if `None`.

    Raises:
        UnknownName: a user or an item of the first `query` is not in the store; nothing is fitted.
    """
    catalogue = Catalogue.load(store, users)
    if query is not None:
        catalogue.context(query.user, query.items)
    model = newest_model(store, strategy, recipe, seed, limits, progress)
    return Recommender.from_model(store, model, strategy.name, recipe.name, catalogue)


def load_published(
    path: Path, users: Sequence[str | int] | None = None, *, last_try: bool = False
) -> Recommender | None:
    """Load the published model of a live store, as `Recommender.load`; `None` if none is fixed."""
    with open_for_reading(path) as store:
        if read_live(store) is None:
            return None
        try:
            return Recommender.load(store, users)
        except UserError:
            if last_try:
                raise
    # A writer that published meanwhile has swept the model away; the new one is there by now.
    return load_published(path, users, last_try=True)
