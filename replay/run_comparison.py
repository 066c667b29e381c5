"""A run held against another one of the same store: what a change of its settings has done."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace

from replay.summary import Difference, Json, RunData, summarise
from storage.errors import UserError


@dataclass(frozen=True)
class ChangedSetting:
    """A setting in which two runs differ.

    Attributes:
        name: `budget`, `protocol.mask`, `mvae.warm_start`.
        value: in the run that is reported; `None` where it has no such setting.
        other: in the other one.
    """

    name: str
    value: Json
    other: Json


@dataclass(frozen=True)
class RunComparison:
    """A run less another one.

    Attributes:
        run: the number of the other one.
        changed: what the two were not asked alike.
        differences: of each strategy and model from itself in the other run, whose name is the
            baseline: `ader of run 3`.
    """

    run: int
    changed: tuple[ChangedSetting, ...]
    differences: tuple[Difference, ...]

    def to_json(self) -> dict[str, Json]:
        """As `--json` prints it."""
        return asdict(self)


def compare_runs(data: RunData, other: RunData) -> RunComparison:
    """Pair the users and periods of two runs, strategy by strategy and model by model.

    Args:
        data: the run that is reported.
        other: the one it is held against.

    Raises:
        UserError: the two asked different questions, or have nothing in common.
    """
    here, there = f"run {data.run.run_id}", f"run {other.run.run_id}"
    _check_same_questions(data, other, here, there)
    named = {cell.strategy: f"{cell.strategy} of {there}" for cell in other.cells}
    both = replace(
        data,
        cells=(
            *data.cells,
            *(replace(cell, strategy=named[cell.strategy]) for cell in other.cells),
        ),
        judged={**other.judged, **data.judged},
        user_figures={**other.user_figures, **data.user_figures},
    )
    found = summarise(both, baselines=tuple(named.values())).differences
    paired = tuple(one for one in found if one.baseline == named.get(one.strategy))
    if not paired:
        raise UserError(
            f"{here} and {there} share no strategy with the same model; name another run"
        )
    changed = tuple(_changed(_settings(data.run.config), _settings(other.run.config)))
    return RunComparison(other.run.run_id, changed, paired)


def _check_same_questions(data: RunData, other: RunData, here: str, there: str) -> None:
    """Refuse to compare answers to different questions."""
    asked, asked_there = _questions(data), _questions(other)
    common = asked.keys() & asked_there.keys()
    if not common:
        raise UserError(f"{here} and {there} judged no period in common; name another run")
    for fit_period, period in sorted(common):
        if asked[fit_period, period] != asked_there[fit_period, period]:
            raise UserError(
                f"{here} and {there} asked different questions about period {period} (another "
                "protocol, mask or log); runs are compared where they ask the same"
            )


def _questions(data: RunData) -> dict[tuple[int, int], set[str]]:
    """The keys of what was asked, by fitted and evaluated period."""
    found: dict[tuple[int, int], set[str]] = {}
    for cell in data.cells:
        found.setdefault((cell.fit_period, cell.eval_period), set()).add(cell.evaluation_key)
    return found


def _settings(config: Mapping[str, Json]) -> dict[str, Json]:
    """Settings by name, nested ones with what holds them before a dot; not which strategies ran."""
    found: dict[str, Json] = {}
    for name, value in config.items():
        if name == "strategies":
            continue
        if name == "models":
            for model in value:
                found |= {f"{model['name']}.{key}": one for key, one in model["settings"].items()}
        elif name == "strategy_settings":
            for strategy, given in value.items():
                found |= {f"{strategy}.{key}": one for key, one in given.items()}
        elif isinstance(value, Mapping):
            found |= {f"{name}.{key}": one for key, one in value.items()}
        else:
            found[name] = value
    return found


def _changed(one: Mapping[str, Json], other: Mapping[str, Json]) -> Iterator[ChangedSetting]:
    for name in dict.fromkeys((*one, *other)):
        if one.get(name) != other.get(name):
            yield ChangedSetting(name, one.get(name), other.get(name))
