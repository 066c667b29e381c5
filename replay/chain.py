"""One strategy, model and seed followed through the periods: its memory, its fits, its last model.

The replay and the published models both fit through here, so that they agree to the bit.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from memory.protocol import Memory
from models.protocol import FitOptions, FittedModel, Recipe
from models.registry import make_recipe
from replay.clock import Clock, Stopwatch
from replay.keys import FitKeys, chain_key, fit_keys
from replay.strategies.protocol import Strategy
from storage.errors import UserError
from storage.fits import Fit, find_fit, read_model
from storage.periods import fingerprint
from storage.store import Store
from stream.history import History
from stream.seeds import derive_seed


@dataclass(frozen=True)
class Limits:
    """What a fit may use.

    Attributes:
        memory_limit: bytes, `None` for no limit.
        max_rows: row cap, `None` for none but the memory's.
    """

    memory_limit: int | None = None
    max_rows: int | None = None


class Chain:
    """Fits period after period; periods may be skipped whose fit is recorded already.

    Attributes:
        strategy: what is fitted on.
        recipe: what is fitted.
        seed: every random draw of the chain derives from it.
        key: names the chain across runs and logs.
    """

    def __init__(
        self,
        store: Store,
        strategy: Strategy,
        recipe: Recipe,
        seed: int,
        limits: Limits,
        versions: Mapping[str, str],
    ) -> None:
        self.strategy = strategy
        self.recipe = started_warm(recipe, strategy.name) if strategy.starts_warm else recipe
        self.seed = seed
        self.key = chain_key(strategy, recipe, seed, limits.max_rows)
        self._store = store
        self._limits = limits
        self._versions = versions
        self._fit_keys: dict[int, str] = {}
        self._memory: Memory = strategy.empty_memory()
        self._absorbed = 0
        self._last: tuple[int, FittedModel] | None = None

    def recorded_fit(self, period: int) -> str | None:
        """The key of the fit at `period` if the store has it made under these limits already."""
        for earlier in range(1 if self.recipe.starts_warm else period, period + 1):
            if earlier not in self._fit_keys:
                key = self._find(earlier)
                if key is None:
                    return None
                self._fit_keys[earlier] = key
        return self._fit_keys[period]

    def fit(
        self, history: History, watch: Stopwatch, say: Callable[[str], None]
    ) -> tuple[FittedModel, Fit]:
        """Fit at period `history.period`.

        Args:
            history: the log up to the period.
            watch: takes the time of the stages `memory`, `rows` and `fit`.
            say: called with a few words as the fit goes on.

        Raises:
            UserError: the strategy finds no rows to fit on.
        """
        previous = self._model_before(history, say) if self.recipe.starts_warm else None
        memory = self._memory_before(history, watch, say)
        with watch.stage("rows"):
            rows = self.strategy.training_rows(history, memory)
        if rows.num_rows == 0:
            raise UserError(
                f"strategy '{self.strategy.name}' has no rows to fit on at period {history.period}"
            )
        options = FitOptions(
            seed=self._derive_seed(history.period),
            memory_limit=self._limits.memory_limit,
            max_rows=self._limits.max_rows,
            previous=previous,
            progress=say,
        )
        with watch.stage("fit"):
            model = self.recipe.fit(rows, options)
        if self.recipe.starts_warm:
            self._last = (history.period, model)
        keys = self._keys(history.period)
        key = keys.capped if _lost_rows_to_memory(model, self._limits) else keys.whole
        self._fit_keys[history.period] = key
        return model, Fit(key, self._limits.memory_limit, dict(model.report))

    def kept_model(self, period: int) -> FittedModel | None:
        """The model of `period` from the store, if its file is kept there and sound."""
        key = self.recorded_fit(period)
        kept = None if key is None else read_model(self._store, key)
        return None if kept is None else self.recipe.restore(*kept)

    def _derive_seed(self, period: int, *purpose: str) -> int:
        return derive_seed(self.seed, period, self.strategy.name, self.recipe.name, *purpose)

    def _keys(self, period: int) -> FitKeys:
        """The keys that the fit at `period` can have; the one before must be known if warm."""
        follows = self.recipe.starts_warm and period > 1
        return fit_keys(
            chain=self.key,
            log=fingerprint(self._store, period),
            previous=self._fit_keys[period - 1] if follows else None,
            memory_limit=self._limits.memory_limit,
            versions=self._versions,
        )

    def _find(self, period: int) -> str | None:
        """Look for a recorded fit that another one under these limits would repeat."""
        keys = self._keys(period)
        if find_fit(self._store, keys.capped) is not None:
            return keys.capped
        whole = find_fit(self._store, keys.whole)
        if whole is not None and _allows(self._limits.memory_limit, whole.memory_limit):
            return keys.whole
        return None

    def _memory_before(
        self, history: History, watch: Stopwatch, say: Callable[[str], None]
    ) -> Memory:
        """The memory that the fit at `history.period` may use: it has absorbed all before."""
        if self._absorbed >= history.period:
            self._memory, self._absorbed = self.strategy.empty_memory(), 0
        for period in range(self._absorbed + 1, history.period):
            # Only the period just over belongs to this fit's time; the others are caught up with.
            late = Stopwatch(watch.clock) if period < history.period - 1 else watch
            with late.stage("memory"):
                self._memory = self._memory.absorb(History(self._store, period), self.seed, say)
            self._absorbed = period
        return self._memory

    def _model_before(self, history: History, say: Callable[[str], None]) -> FittedModel | None:
        """The model of the period before; fitted again where the store does not keep it."""
        wanted = history.period - 1
        if self._last is None or self._last[0] != wanted:
            self._last = self._nearest_model(wanted)
            start = 0 if self._last is None else self._last[0]
            for period in range(start + 1, wanted + 1):
                say(f"fitting period {period} again, to start from it")
                self.fit(History(self._store, period), Stopwatch(Clock()), say)
        return None if self._last is None else self._last[1]

    def _nearest_model(self, wanted: int) -> tuple[int, FittedModel] | None:
        """The newest model at hand of the periods ≤ `wanted`."""
        for period in range(wanted, 0, -1):
            if self._last is not None and self._last[0] == period:
                return self._last
            model = self.kept_model(period)
            if model is not None:
                return period, model
        return None


def started_warm(recipe: Recipe, strategy: str) -> Recipe:
    """The same recipe, starting from the weights of the period before.

    Raises:
        UserError: the model has no weights to start from.
    """
    if recipe.starts_warm:
        return recipe
    if "warm_start" not in recipe.settings:
        raise UserError(
            f"strategy '{strategy}' starts from the weights of the period before, and "
            f"{recipe.name} has none; choose another model, such as --model mvae"
        )
    return make_recipe(recipe.name, {**recipe.settings, "warm_start": True})


def _allows(wanted: int | None, recorded: int | None) -> bool:
    """Whether a fit that lost nothing under the `recorded` limit loses nothing under `wanted`."""
    return wanted is None or (recorded is not None and wanted >= recorded)


def _lost_rows_to_memory(model: FittedModel, limits: Limits) -> bool:
    """Whether a fit used fewer rows than it was given and `max_rows` lets through."""
    if limits.memory_limit is None:
        return False
    used, given = model.report.get("rows_used"), model.report.get("rows_given")
    if used is None or given is None:
        return True  # A model that does not tell may have.
    return bool(used < (given if limits.max_rows is None else min(given, limits.max_rows)))
