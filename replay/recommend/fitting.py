"""Model of the newest period, fitted on demand and kept in the store."""

from collections.abc import Mapping

from perennial.models.base import FittedModel, Recipe
from perennial.replay.chain import Chain, Limits
from perennial.replay.machine import Clock, Stopwatch
from perennial.replay.strategies.base import Strategy
from perennial.storage.base import Progress, ignore_progress
from perennial.storage.errors import UserError
from perennial.storage.log.periods import list_periods
from perennial.storage.results.fits import (
    insert_fit,
    insert_model_file,
    sweep_model_files,
    write_model,
)
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
