"""A chain: the fits of one strategy, model and seed over the periods, with their memory.

The replay and the published models both fit through chains, so that they agree to the bit.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.memory.base import Memory
from perennial.models.base import FitOptions, FittedModel, Recipe, TrainingRows
from perennial.replay.keys import FitKeys, chain_key, fit_keys
from perennial.replay.machine import Clock, Stopwatch
from perennial.replay.strategies.base import Strategy, WarmStart
from perennial.storage.base import Json, Progress, build, derive_seed, sparse_bytes
from perennial.storage.errors import UserError
from perennial.storage.log.periods import first_retained_period, list_periods, log_bytes
from perennial.storage.results.fits import Fit, find_fit, read_model
from perennial.storage.store import Store
from perennial.stream.history import HeldOutUsers, History

_MEMORY = "memory."
"""Prefix of the names of a memory's arrays in the file of the model that it is stored with."""


@dataclass(frozen=True)
class Limits:
    """Limits of a fit: bytes, rows, and the fewest interactions of a user in the rows."""

    memory_limit: int | None = None
    max_rows: int | None = None
    min_user_events: int | None = None


class Chain:
    """Fits period after period; periods whose fit is recorded already may be skipped.

    Every random draw of the chain derives from `seed`; `key` is its own across runs and logs.
    """

    def __init__(
        self,
        store: Store,
        strategy: Strategy,
        recipe: Recipe,
        seed: int,
        limits: Limits,
        versions: Mapping[str, str],
        held_out: HeldOutUsers | None = None,
    ) -> None:
        self.strategy = strategy
        self.recipe = warm_recipe(recipe, strategy)
        self.seed = seed
        self.key = chain_key(
            strategy, recipe, seed, limits.max_rows, held_out, limits.min_user_events
        )
        self._store = store
        self._held_out = held_out
        self._limits = limits
        self._versions = versions
        self._fit_keys: dict[int, str] = {}
        self._memory = strategy.empty_memory()
        self._remembered = 0
        self._last: tuple[int, FittedModel] | None = None

    @property
    def follows(self) -> bool:
        """Return whether a fit needs the model or the memory stored with the fit before."""
        return self.recipe.starts_warm or self._memory.is_stored

    def history(self, period: int) -> History:
        """Return the log that the fit at a period may read."""
        return History(self._store, period, self._held_out)

    def has_users(self, period: int) -> bool:
        """Return whether users have enough interactions for a fit at a period."""
        least = self._limits.min_user_events
        if least is None:
            return True
        active = dataclasses.replace(self.history(period), min_user_events=least)
        return self.strategy.training_rows(active, self.strategy.empty_memory()).num_rows > 0

    def recorded_fit(self, period: int) -> str | None:
        """Return the key of the fit at `period`, if the store has one under these limits."""
        for unknown in range(self._first_unknown(period), period + 1):
            key = self._find(unknown)
            if key is None:
                return None
            self._fit_keys[unknown] = key
        return self._fit_keys[period]

    def recall(self, period: int, fit_key: str) -> None:
        """Register a fit at a period as this chain's, even if other code made it."""
        self._fit_keys[period] = fit_key

    def fit(
        self, history: History, watch: Stopwatch, progress: Progress
    ) -> tuple[FittedModel, Fit]:
        """Fit at period `history.period`.

        `watch` times the stages `memory`, `rows` and `fit`.

        Raises:
            UserError: the strategy gives no rows to fit on.
        """
        previous = self._model_before(history, progress) if self.follows else None
        memory = self._memory_before(history, watch, progress)
        least = self._limits.min_user_events
        # The memory stands for all users.
        active = dataclasses.replace(history, min_user_events=least)
        with watch.stage("rows"):
            rows = self.strategy.training_rows(active, memory)
        if rows.num_rows == 0 or (least is not None and rows.replayed.all()):
            why = "" if least is None else f": no user has {least} interactions (--min-user-events)"
            raise UserError(
                f"strategy '{self.strategy.name}' has no rows to fit on at period "
                f"{history.period}{why}"
            )
        options = FitOptions(
            seed=derive_seed(self.seed, history.period, self.strategy.name, self.recipe.name),
            memory_limit=self._limits.memory_limit,
            max_rows=self._limits.max_rows,
            previous=previous if self.recipe.starts_warm else None,
            progress=progress,
        )
        with watch.stage("fit"):
            model = self.recipe.fit(rows, options)
        if self.follows:
            self._last = (history.period, model)
        keys = self._keys(history.period, begins=previous is None)
        key = keys.capped if _lost_rows_to_memory(model, self._limits) else keys.whole
        self._fit_keys[history.period] = key
        report = dict(model.report) | self._count_kept(active, rows, previous)
        report["draws_at_random"] = draws_at_random(self.recipe, self.strategy, model)
        return model, Fit(key, _bytes_enough(model, self._limits), report)

    def stored_model(self, period: int) -> FittedModel | None:
        """Return the model of `period`, if its file is in the store and undamaged."""
        key = self.recorded_fit(period)
        stored = None if key is None else read_model(self._store, key)
        return None if stored is None else self.recipe.restore(*stored)

    def to_arrays(self, model: FittedModel) -> tuple[dict[str, NDArray[Any]], dict[str, Json]]:
        """Return the model that was fitted last with the memory's state, to resume from."""
        arrays, manifest = model.to_arrays()
        state = self._memory.state()
        return arrays | {_MEMORY + name: values for name, values in state.items()}, manifest

    def _count_kept(
        self, history: History, rows: TrainingRows, previous: FittedModel | None
    ) -> dict[str, Json]:
        """Count what the fit used of the periods before its own, for the reports."""
        own = history.rows(first=history.period).interactions
        arrays = {} if previous is None else previous.to_arrays()[0]
        num_rows, last = int(rows.replayed.sum()), history.period - 1
        entries = int(np.diff(rows.interactions.indptr)[rows.replayed].sum())
        first = self._memory.first_period(last) if num_rows else history.period
        return {
            "kept_rows": num_rows,
            "memory_bytes": sparse_bytes(num_rows, entries),
            "log_bytes": log_bytes(list_periods(self._store), first, last),
            "kept_interactions": max(0, int(rows.interactions.nnz) - int(own.nnz)),
            "kept_model_bytes": sum(array.nbytes for array in arrays.values()),
        }

    def _first_unknown(self, period: int) -> int:
        """Return the first period ≤ `period` whose fit key is not known yet but needed."""
        if period in self._fit_keys:
            return period + 1
        if not self.follows:
            return period
        known = [earlier for earlier in self._fit_keys if earlier < period]
        return max(known) + 1 if known else min(period, first_retained_period(self._store))

    def _keys(self, period: int, *, begins: bool = False) -> FitKeys:
        """Return the possible keys of a fit; `begins`: the model of the period before is lost."""
        return fit_keys(
            chain=self.key,
            log=self.history(period).fingerprint,
            # None where the chain begins: at the first retained period.
            previous=self._fit_keys.get(period - 1) if self.follows and not begins else None,
            memory_limit=self._limits.memory_limit,
            versions=self._versions,
        )

    def _find(self, period: int) -> str | None:
        """Return the key of a recorded fit that gives what a fit under these limits would."""
        keys = self._keys(period)
        if find_fit(self._store, keys.capped) is not None:
            return keys.capped
        whole = find_fit(self._store, keys.whole)
        if whole is not None and _allows(self._limits.memory_limit, whole.memory_limit):
            return keys.whole
        return None

    def _memory_before(self, history: History, watch: Stopwatch, progress: Progress) -> Memory:
        """Return the memory for the fit at `history.period`, updated with all periods before."""
        if self._remembered >= history.period:
            self._memory, self._remembered = self.strategy.empty_memory(), 0
        for period in range(self._first_to_update(history.period), history.period):
            # Only the last period's update counts as time of this fit.
            is_last = period == history.period - 1
            with (watch if is_last else Stopwatch(watch.clock)).stage("memory"):
                model = None
                if self._memory.needs_model:
                    assert self._last is not None  # noqa: S101 - `_model_before` came first
                    assert self._last[0] == period  # noqa: S101
                    model = self._last[1]
                chain_seed = derive_seed(self.seed, self.strategy.name, self.recipe.name)
                self._memory = self._memory.update(
                    self.history(period), model, self.seed, progress, chain_seed=chain_seed
                )
        # Also if the chain begins here: later fits must not update with the periods before.
        self._remembered = history.period - 1
        return self._memory

    def _first_to_update(self, period: int) -> int:
        """Return the first period to update the memory with, for the fit at `period`."""
        if self._memory.is_stored and self._last is None:
            return period  # The chain begins there, so that the memory is empty.
        reach = self._memory.reach
        return max(self._remembered + 1, 1 if reach is None else period - reach)

    def _model_before(self, history: History, progress: Progress) -> FittedModel | None:
        """Return the model of the period before; fit it again if the store does not have it."""
        wanted = history.period - 1
        if self._last is None or self._last[0] != wanted:
            begin = max(
                self._resume(wanted) + 1, min(first_retained_period(self._store), wanted + 1)
            )
            for period in range(begin, wanted + 1):
                progress(f"fitting period {period} again, to resume from it")
                self.fit(self.history(period), Stopwatch(Clock()), progress)
        return None if self._last is None else self._last[1]

    def _resume(self, wanted: int) -> int:
        """Resume from the newest model of the periods ≤ `wanted`; return its period, 0 if none."""
        for period in range(wanted, 0, -1):
            if self._last is not None and self._last[0] == period:
                return period
            key = self.recorded_fit(period)
            stored = None if key is None else read_model(self._store, key)
            if stored is not None:
                self._restore(period, *stored)
                return period
        self._last = None
        if self._memory.is_stored:
            self._memory, self._remembered = self.strategy.empty_memory(), 0
        return 0

    def _restore(
        self, period: int, arrays: Mapping[str, NDArray[Any]], manifest: Mapping[str, Json]
    ) -> None:
        """Restore the model and the memory that `to_arrays` gave at a period."""
        memory = self.strategy.empty_memory()
        if memory.is_stored:
            # The state was stored as the fit used it: before the update with that period.
            own = {
                name.removeprefix(_MEMORY): values
                for name, values in arrays.items()
                if name.startswith(_MEMORY)
            }
            self._memory, self._remembered = memory.restore(own), period - 1
        self._last = (period, self.recipe.restore(arrays, manifest))


def warm_recipe(recipe: Recipe, strategy: Strategy) -> Recipe:
    """Return the recipe with a warm start if the strategy requires one; see `check_chains`."""
    if strategy.empty_memory().needs_teacher and not getattr(recipe, "can_teach", False):
        raise UserError(
            f"strategy '{strategy.name}' fits a model to the scores of the one before, and "
            f"{recipe.name}, as it is set, cannot learn from them; choose infinite-ae or mvae "
            "(for infinite-ae, leave --set infinite-ae.centres out), or another strategy"
        )
    if strategy.starts_warm is WarmStart.BY_MODEL or recipe.starts_warm:
        return recipe
    if "warm_start" in recipe.settings:
        settings = {**recipe.settings, "warm_start": True}
        warm: Recipe = build("model", recipe.name, type(recipe), settings)
        return warm
    if strategy.starts_warm is WarmStart.ALWAYS:
        raise UserError(
            f"strategy '{strategy.name}' starts from the weights of the period before, and "
            f"{recipe.name} has none; choose another model, such as --model mvae"
        )
    return recipe


def draws_at_random(recipe: Recipe, strategy: Strategy, model: FittedModel) -> bool:
    """Return whether a fit by another seed may differ: from its model, its rows, or a row cap."""
    report = model.report
    return (
        getattr(recipe, "draws_at_random", True)
        or getattr(strategy, "draws_at_random", True)
        or report.get("rows_used") != report.get("rows_given")
    )


def _allows(wanted: int | None, recorded: int | None) -> bool:
    """Return whether a fit without loss under the `recorded` limit has none under `wanted`."""
    return wanted is None or (recorded is not None and wanted >= recorded)


def _bytes_enough(model: FittedModel, limits: Limits) -> int | None:
    """Return a limit under which the fit is the same: the bytes it needs, or its limit."""
    needed = model.report.get("bytes_estimated")
    if needed is None or _lost_rows_to_memory(model, limits):
        return limits.memory_limit
    return int(needed) if limits.memory_limit is None else min(int(needed), limits.memory_limit)


def _lost_rows_to_memory(model: FittedModel, limits: Limits) -> bool:
    """Return whether a fit used fewer rows than the smaller of those given and `max_rows`."""
    if limits.memory_limit is None:
        return False
    used, given = model.report.get("rows_used"), model.report.get("rows_given")
    if used is None or given is None:
        return True  # It is possible if the model does not report it.
    return bool(used < (given if limits.max_rows is None else min(given, limits.max_rows)))
