"""What a replay is asked to do."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter

from perennial.models.registry import make_recipe
from perennial.replay.strategies.registry import make_strategy
from perennial.storage.errors import UserError
from perennial.stream.history import HeldOutUsers
from perennial.stream.next_period import ProtocolSettings

Json = Any
"""What `json.dumps` takes."""


@dataclass(frozen=True)
class ModelChoice:
    """A model by name, with the settings that differ from its defaults.

    Attributes:
        name: a key of `perennial.models.registry.MODELS`.
        settings: fields of the model's recipe.
    """

    name: str
    settings: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True)
class ReplayConfig:
    """The settings of a replay; each (strategy, model, seed) is followed through all periods.

    Attributes:
        strategies: keys of `perennial.replay.strategies.registry.STRATEGIES`.
        strategy_settings: strategy -> its settings that differ from the defaults.
        models: the models, each at most once.
        seeds: every random draw of a fit derives from one of these.
        protocol: how the next period is asked about (design note 5).
        evaluation_seed: of the sampled negatives and the order of ties, which all strategies,
            models and seeds share.
        max_rows: row cap of a fit, `None` for none but the memory's.
        memory_limit: bytes a fit may allocate, `None` for no limit.
        held_out: users whom no fit sees; with them each fit is asked about every period, and about
            these users alone, for what it has kept and what it can guess. `None` for the next
            period and all its users.
        source: where the log came from; recorded only.
        cut: how it was cut into periods; recorded only.
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

    def to_json(self) -> dict[str, Json]:
        """The settings as they are recorded and reported."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, recorded: Mapping[str, Json]) -> "ReplayConfig":
        """The inverse of `to_json`, also after a journey through text."""
        return TypeAdapter(cls).validate_python(recorded)


def choose_models(
    names: Sequence[str],
    settings: Sequence[tuple[str, str, Any]] = (),
    *,
    warm_start: bool = False,
) -> tuple[ModelChoice, ...]:
    """Check models and their settings before anything is made.

    Args:
        names: of models.
        settings: (model, setting, value); the last one of a setting counts.
        warm_start: switch it on for the models that have such a setting.

    Raises:
        UserError: unknown model or setting, a value that does not fit, a setting of a model that is
            not among `names`, or a warm start where no model has one.
    """
    chosen: dict[str, dict[str, Any]] = {name: {} for name in names}
    starts_warm = [name for name in chosen if _has_setting(name, "warm_start")]
    if warm_start:
        if not starts_warm:
            raise UserError(f"a warm start is not for {', '.join(names)}; leave --warm-start out")
        for name in starts_warm:
            chosen[name]["warm_start"] = True
    for model, setting, value in settings:
        if model not in chosen:
            raise UserError(
                f"setting {model}.{setting} is for a model that does not run; it is "
                f"{', '.join(names)} that do"
            )
        chosen[model][setting] = value
    for name, values in chosen.items():
        make_recipe(name, values)
    return tuple(ModelChoice(name, values) for name, values in chosen.items())


def choose_strategies(
    names: Sequence[str],
    settings: Sequence[tuple[str, str, Any]] = (),
    *,
    budget: int | None = None,
    policy: str | None = None,
    weight: float | None = None,
) -> dict[str, dict[str, Any]]:
    """Check strategies and their settings before anything is made.

    Args:
        names: of strategies.
        settings: (strategy, setting, value); the last one of a setting counts.
        budget: `budget` of every strategy that has one.
        policy: `policy`, likewise.
        weight: `memory_weight`, likewise.

    Returns:
        Strategy -> its settings, for those that have any.

    Raises:
        UserError: unknown strategy or setting, a value that does not fit, or a setting of a
            strategy that does not run.
    """
    chosen: dict[str, dict[str, Any]] = {name: {} for name in names}
    shared = {"budget": budget, "policy": policy, "memory_weight": weight}
    for setting, value in shared.items():
        if value is None:
            continue
        takers = [name for name in chosen if _takes(make_strategy(name), setting)]
        if not takers:
            raise UserError(
                f"none of {', '.join(names)} has a memory with the setting {setting}; leave its "
                "option out"
            )
        for name in takers:
            chosen[name][setting] = value
    for strategy, setting, value in settings:
        if strategy not in chosen:
            raise UserError(
                f"setting {strategy}.{setting} is for a strategy that does not run; it is "
                f"{', '.join(names)} that do"
            )
        chosen[strategy][setting] = value
    for name, values in chosen.items():
        make_strategy(name, values)
    return {name: values for name, values in chosen.items() if values}


def _takes(strategy: Any, setting: str) -> bool:
    return dataclasses.is_dataclass(strategy) and setting in {
        field.name for field in dataclasses.fields(strategy)
    }


def _has_setting(name: str, setting: str) -> bool:
    recipe: Any = make_recipe(name)
    return setting in {field.name for field in dataclasses.fields(recipe)}
