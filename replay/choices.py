"""From names and single settings to the models and strategies of a replay."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from models.registry import make_recipe
from replay.config import ModelChoice
from replay.strategies.registry import make_strategy
from storage.errors import UserError


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
