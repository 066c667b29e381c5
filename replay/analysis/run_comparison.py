"""Comparison of a run with another one of the same store: effect of a change of settings."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from perennial.models.registry import make_recipe
from perennial.replay.analysis.run import RunData, flatten
from perennial.replay.analysis.summary import Difference, summarise
from perennial.replay.keys import describe_recipe, describe_strategy
from perennial.replay.strategies.registry import make_strategy
from perennial.storage.base import Json
from perennial.storage.errors import UserError
from perennial.storage.results.cells import Cell

_EVALUATION_SETTINGS = ("protocol", "evaluation_seed", "held_out")
"""Settings of the evaluation."""

_NO_SETTINGS = ("strategies", "models", "strategy_settings", "periods", "source", "cut")
"""Entries of a run's configuration that are no settings of all its cells."""


@dataclass(frozen=True)
class ChangedSetting:
    """A setting in which two runs differ, such as `mvae.warm_start`; `None` where it is missing."""

    name: str
    here: Json
    there: Json


@dataclass(frozen=True)
class RunComparison:
    """Difference of a run from another one, over their common evaluated periods.

    `changed` are the settings in which the runs differ, of common strategies and models. The
    differences are of each strategy and model from itself in the other run, the baseline `ader of
    run 3`.
    """

    other_run: int
    num_periods: int
    changed: tuple[ChangedSetting, ...]
    differences: tuple[Difference, ...]


def compare_runs(data: RunData, other: RunData) -> RunComparison:
    """Pair the users and periods of two runs, strategy by strategy and model by model.

    Only fits at common periods count. They may have other seeds or come from other versions of the
    code, as long as their evaluations and users are the same.

    Raises:
        UserError: the evaluations differ, or the runs have nothing in common.
    """
    here, there = f"run {data.run.run_id}", f"run {other.run.run_id}"
    data, other = _in_common(data, other), _in_common(other, data)
    if not data.cells:
        raise UserError(
            f"{here} and {there} have no strategy, model and period in common; name another run"
        )
    _check_same_evaluations(data, other, here, there)
    named = {cell.strategy: f"{cell.strategy} of {there}" for cell in other.cells}
    both = replace(
        data,
        cells=(
            *data.cells,
            *(replace(cell, strategy=named[cell.strategy]) for cell in other.cells),
        ),
        evaluated_users={**other.evaluated_users, **data.evaluated_users},
        user_figures={**other.user_figures, **data.user_figures},
    )
    mine, theirs = _settings(data), _settings(other)
    changed = (
        ChangedSetting(name, mine.get(name), theirs.get(name))
        for name in dict.fromkeys((*mine, *theirs))
        if mine.get(name) != theirs.get(name)
    )
    differences = summarise(both, baselines=tuple(named.values())).differences
    return RunComparison(
        other.run.run_id,
        len({cell.eval_period for cell in data.cells}),
        tuple(changed),
        tuple(one for one in differences if one.baseline == named.get(one.strategy)),
    )


def _in_common(data: RunData, other: RunData) -> RunData:
    """Select the fits that the other run has too."""
    there = {_place(cell) for cell in other.cells}
    return replace(data, cells=tuple(cell for cell in data.cells if _place(cell) in there))


def _place(cell: Cell) -> tuple[str, str, int, int]:
    return cell.strategy, cell.model, cell.fit_period, cell.eval_period


def _check_same_evaluations(data: RunData, other: RunData, here: str, there: str) -> None:
    """Raise a `UserError` unless the cells have the same evaluations."""
    same = all(
        data.run.config.get(name) == other.run.config.get(name) for name in _EVALUATION_SETTINGS
    )
    theirs = {(cell.fit_period, cell.eval_period): cell.evaluation_key for cell in other.cells}
    for cell in data.cells:
        keys = cell.evaluation_key, theirs[cell.fit_period, cell.eval_period]
        if keys[0] == keys[1]:
            continue
        # Another version of the code gives the same evaluation another key.
        one, two = data.evaluated_users[keys[0]], other.evaluated_users[keys[1]]
        if not (same and np.array_equal(one.users, two.users) and one.counts == two.counts):
            raise UserError(
                f"{here} and {there} have different evaluations of period {cell.eval_period} "
                "(another protocol, mask, held-out users or log); name a run with the same ones"
            )


def _settings(data: RunData) -> dict[str, Json]:
    """Return settings by name with those at their defaults, for the cells' chains only."""
    config = data.run.config
    settings = {name: value for name, value in config.items() if name not in _NO_SETTINGS}
    settings["versions"] = dict(data.run.versions)
    given = {model["name"]: model["settings"] for model in config.get("models", ())}
    for name in dict.fromkeys(cell.model for cell in data.cells):
        settings[name] = _complete(name, given, lambda *one: describe_recipe(make_recipe(*one)))
    given = config.get("strategy_settings", {})
    for name in dict.fromkeys(cell.strategy for cell in data.cells):
        settings[name] = _complete(name, given, lambda *one: describe_strategy(make_strategy(*one)))
    flat: dict[str, Json] = dict(flatten(json.loads(json.dumps(settings))))
    return flat


def _complete(
    name: str,
    given: Mapping[str, Mapping[str, Json]],
    describe: Callable[[str, Mapping[str, Json]], Mapping[str, Json]],
) -> Mapping[str, Json]:
    """Return the settings of a model or strategy with its defaults, if this version has them."""
    settings: Mapping[str, Json] = given.get(name, {})
    with suppress(UserError):
        settings = describe(name, settings)["settings"]
    return settings
