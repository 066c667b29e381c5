"""Settings of a replay: strategies, models, seeds and the protocol of the evaluation."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from pydantic import TypeAdapter

from perennial.models.base import Recipe
from perennial.models.registry import make_recipe
from perennial.replay.keys import describe_strategy
from perennial.replay.strategies.base import Strategy
from perennial.replay.strategies.registry import STRATEGIES, make_strategy
from perennial.storage.base import Json
from perennial.storage.errors import UserError
from perennial.stream.history import HeldOutUsers
from perennial.stream.next_period import ProtocolSettings


@dataclass(frozen=True)
class ModelChoice:
    """A model by its name in the registry, with the settings that differ from its defaults."""

    name: str
    settings: Mapping[str, Json] = field(default_factory=dict)

    @cached_property
    def recipe(self) -> Recipe:
        """Recipe of the model with these settings; raise `UserError` for invalid ones."""
        return make_recipe(self.name, self.settings)


@dataclass(frozen=True)
class ReplayConfig:
    """The settings of a replay; each (strategy, model, seed) is a chain of fits over the periods.

    Attributes:
        strategy_settings: strategy -> its settings that differ from the defaults.
        models: the models, each at most once.
        seeds: every random draw of a fit derives from one of these.
        protocol: how a fit is evaluated on a period (design note 5).
        evaluation_seed: of the sampled negatives and the order of ties, which all strategies,
            models and seeds share.
        max_rows: row cap of a fit, `None` for none but the memory's.
        memory_limit: bytes a fit may allocate, `None` for no limit.
        min_user_events: users with fewer interactions up to period t are no training rows of the
            fit at t; `None` for no such limit.
        held_out: users that no fit is trained on; with them each fit is evaluated on every
            period, on these users alone, for how well it retains old periods and predicts new
            ones. `None`: each fit is evaluated on the next period and all its users.
        source: where the log came from, and `cut` how it was cut; recorded only.
    """

    strategies: tuple[str, ...] = ("individual", "joint")
    strategy_settings: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    models: tuple[ModelChoice, ...] = (ModelChoice("infinite-ae"), ModelChoice("mvae"))
    seeds: tuple[int, ...] = (0,)
    protocol: ProtocolSettings = field(default_factory=ProtocolSettings)
    evaluation_seed: int = 0
    max_rows: int | None = None
    memory_limit: int | None = None
    held_out: HeldOutUsers | None = None
    source: str | None = None
    cut: str | None = None
    min_user_events: int | None = None

    @cached_property
    def built_strategies(self) -> tuple[Strategy, ...]:
        """The strategies with their settings; raise `UserError` for invalid ones."""
        return tuple(
            make_strategy(name, self.strategy_settings.get(name)) for name in self.strategies
        )

    def to_json(self) -> dict[str, Json]:
        """Return the settings as they are recorded and reported; later ones only where given."""
        values = dataclasses.asdict(self)
        if self.min_user_events is None:
            del values["min_user_events"]
        return values

    def to_named_json(self) -> dict[str, Json]:
        """Return the settings with the names of strategies and models, also of those by target."""
        recipes = [model.recipe for model in self.models]
        names = {
            given: built.name
            for given, built in zip(self.strategies, self.built_strategies, strict=True)
        }
        return self.to_json() | {
            "strategies": list(names.values()),
            "strategy_settings": {
                names.get(given, given): dict(settings)
                for given, settings in self.strategy_settings.items()
            },
            "models": [{"name": one.name, "settings": dict(one.settings)} for one in recipes],
        }

    @classmethod
    def from_json(cls, recorded: Mapping[str, Json]) -> "ReplayConfig":
        """Return the settings that `to_json` gave, also after a round trip through text."""
        return TypeAdapter(cls).validate_python(recorded)


def choose_chains(
    models: Sequence[str],
    strategies: Sequence[str],
    settings: Sequence[tuple[str, str, Json]] = (),
    *,
    warm_start: bool = False,
    budget: int | str | None = None,
    policy: str | None = None,
    weight: float | None = None,
    history: str | None = None,
) -> tuple[tuple[ModelChoice, ...], dict[str, dict[str, Json]]]:
    """Check models and strategies; see `choose_models` and `choose_strategies`.

    Settings are (name, setting, value): of a strategy if the name is one, else of a model.
    """
    known = {*STRATEGIES, *strategies}
    of_strategies = choose_strategies(
        strategies,
        [one for one in settings if one[0] in known],
        budget=budget,
        policy=policy,
        weight=weight,
        history=history,
    )
    of_models = [one for one in settings if one[0] not in known]
    return choose_models(models, of_models, warm_start=warm_start), of_strategies


def choose_models(
    names: Sequence[str],
    settings: Sequence[tuple[str, str, Json]] = (),
    *,
    warm_start: bool = False,
) -> tuple[ModelChoice, ...]:
    """Check models and their settings before anything is made.

    The last one of the settings (model, setting, value) counts. `warm_start` is set for the models
    that have this setting.

    Raises:
        UserError: unknown model or setting, a value that does not fit, a setting of a model that is
            not among `names`, or a warm start where no model has one.
    """
    chosen: dict[str, dict[str, Json]] = {name: {} for name in names}
    if warm_start:
        takers = [name for name in chosen if "warm_start" in ModelChoice(name).recipe.settings]
        if not takers:
            raise UserError(f"a warm start is not for {', '.join(names)}; leave --warm-start out")
        for name in takers:
            chosen[name]["warm_start"] = True
    _assign(chosen, "model", settings)
    models = tuple(ModelChoice(name, values) for name, values in chosen.items())
    for model in models:
        model.recipe  # noqa: B018  # Built here, so that mistakes show before the log is read.
    return models


def choose_strategies(
    names: Sequence[str],
    settings: Sequence[tuple[str, str, Json]] = (),
    *,
    budget: int | str | None = None,
    policy: str | None = None,
    weight: float | None = None,
    history: str | None = None,
) -> dict[str, dict[str, Json]]:
    """Check strategies and their settings before anything is made; return settings by strategy.

    The last one of the settings (strategy, setting, value) counts. `budget`, `policy`, `weight` and
    `history` are set for every strategy that has them.

    Raises:
        UserError: unknown strategy or setting, a value that does not fit, or a setting of a
            strategy that does not run.
    """
    chosen: dict[str, dict[str, Json]] = {name: {} for name in names}
    known = {name: describe_strategy(make_strategy(name))["settings"] for name in names}
    shared = {"budget": budget, "policy": policy, "memory_weight": weight, "history": history}
    for setting, value in shared.items():
        if value is None:
            continue
        takers = [name for name in chosen if setting in known[name]]
        if not takers:
            raise UserError(
                f"the setting {setting} is for other strategies than {', '.join(names)}; leave its "
                "option out"
            )
        for name in takers:
            chosen[name][setting] = value
    _assign(chosen, "strategy", settings)
    for name, values in chosen.items():
        make_strategy(name, values)
    return {name: values for name, values in chosen.items() if values}


def _assign(
    chosen: dict[str, dict[str, Json]], kind: str, settings: Sequence[tuple[str, str, Json]]
) -> None:
    """Add (name, setting, value) to the settings by name."""
    for name, setting, value in settings:
        if name not in chosen:
            raise UserError(
                f"setting {name}.{setting} is for a {kind} that does not run; it is "
                f"{', '.join(chosen)} that do"
            )
        chosen[name][setting] = value
