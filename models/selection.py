"""How a model with a grid chooses its settings: on one hold-out, by HR@100, all of it recorded."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from perennial.models.base import FitOptions, FittedModel, Json, TrainingRows, cap_rows
from perennial.models.holdout import HoldOut, hold_out, validation_score
from perennial.stream.seeds import derive_seed

Candidate = Mapping[str, Json]
"""Settings that are tried together: name -> value."""

Model = TypeVar("Model", bound=FittedModel)

BLOCK_SCORES = 1 << 22


class ChoosingRecipe(Protocol):
    """A recipe that can choose on a hold-out that it is given."""

    def fit_judged(self, held: HoldOut, rows: TrainingRows, options: FitOptions) -> FittedModel:
        """Choose on `held`, then fit on `rows`.

        Args:
            held: what to fit on while choosing, and who is judged by what.
            rows: what to fit on at last; `held.training` itself for a split that is fixed.
            options: no row cap is applied.
        """
        ...


@dataclass(frozen=True)
class Trial:
    """What one candidate came to.

    Attributes:
        candidate: the settings.
        score: the best validation HR@100 in per cent; `None` where nobody can be judged.
        steps: updates or sweeps until then; 0 for a closed form.
    """

    candidate: Candidate
    score: float | None
    steps: int = 0

    def to_json(self) -> dict[str, Json]:
        """As it is recorded with the fit."""
        return {**self.candidate, "HR@100": self.score, "steps": self.steps}


def cap_and_hold_out(
    rows: TrainingRows, options: FitOptions, max_users: int | None
) -> tuple[TrainingRows, HoldOut]:
    """The newest rows that the cap lets through, and a hold-out of the real ones among them.

    Args:
        rows: the rows of a fit.
        options: the cap and the seed.
        max_users: how many rows are judged at most.
    """
    kept = cap_rows(rows, options.max_rows, derive_seed(options.seed, "row cap"))
    return kept, hold_out(kept, derive_seed(options.seed, "hold-out"), max_users=max_users)


def fit_on_hold_out(
    recipe: ChoosingRecipe, rows: TrainingRows, options: FitOptions, max_users: int | None
) -> FittedModel:
    """The usual `Recipe.fit`: cap, hold out, choose, fit on all that was kept.

    The fitted model must be a dataclass with a field `report`.
    """
    kept, held = cap_and_hold_out(rows, options, max_users)
    if kept is not rows:
        options.progress(f"{kept.num_rows:,} of {rows.num_rows:,} rows")
    model: Any = recipe.fit_judged(held, kept, options)
    report = {**model.report, "rows_given": rows.num_rows}
    return cast(FittedModel, dataclasses.replace(model, report=report))


def cross(axes: Mapping[str, Sequence[Json]]) -> tuple[Candidate, ...]:
    """All combinations of some values: the grid that they span, the last axis fastest."""
    return tuple(
        dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())
    )


def choose(
    candidates: Sequence[Candidate], held: HoldOut, attempt: Callable[[Candidate], Trial]
) -> tuple[Trial, ...]:
    """Try all candidates, or none where there is nothing to choose between or on.

    Returns:
        The trials, best first; of equal ones the earlier candidate is the better one. Untried
        candidates are not among them, except the first where none is tried.
    """
    if len(held.users) == 0:
        return (Trial(candidates[0], None),)
    trials = [attempt(candidate) for candidate in candidates]
    return best_first(trials)


def best_first(trials: Iterable[Trial]) -> tuple[Trial, ...]:
    """In the order of their scores; of equal ones the earlier comes first."""
    return tuple(sorted(trials, key=lambda trial: -(trial.score or 0.0)))


def describe(candidate: Candidate) -> str:
    """For people: `layers 3, temperature 0.15`."""
    return ", ".join(f"{name} {value:g}" for name, value in candidate.items())


def judge(score_blocks: Iterable[NDArray[np.float32]], held: HoldOut, options: FitOptions) -> float:
    """HR@100 in per cent of the scores of `held.contexts`."""
    tie_seed = derive_seed(options.seed, "ties")
    return validation_score(score_blocks, held, "HR", k=100, tie_seed=tie_seed)


def judge_model(model: FittedModel, held: HoldOut, options: FitOptions) -> float:
    """HR@100 in per cent of a model on the judged rows, at most 16 MiB of scores at a time."""
    block_rows = max(1, BLOCK_SCORES // max(1, model.num_items))
    return judge(model.score_blocks(held.contexts, block_rows), held, options)


def choose_and_solve(
    candidates: Sequence[Candidate],
    held: HoldOut,
    rows: TrainingRows,
    options: FitOptions,
    prepare: Callable[[TrainingRows], Callable[[Candidate], Model]],
) -> tuple[tuple[Trial, ...], Model]:
    """`choose` for a model with a closed form, and the model of the best candidate on `rows`.

    Args:
        candidates: a single one is taken without a trial.
        held: what to fit on while choosing, and who is judged by what.
        rows: what to fit on at last; the best trial's model is kept if it is `held.training`.
        options: the seed and the progress.
        prepare: does what all candidates share for some rows, and gives what solves for one.
    """
    if len(candidates) == 1:
        return (Trial(candidates[0], None),), prepare(rows)(candidates[0])
    trials, model = _try_solved(candidates, held, rows is held.training, options, prepare)
    return trials, prepare(rows)(trials[0].candidate) if model is None else model


def _try_solved(
    candidates: Sequence[Candidate],
    held: HoldOut,
    keep: bool,
    options: FitOptions,
    prepare: Callable[[TrainingRows], Callable[[Candidate], Model]],
) -> tuple[tuple[Trial, ...], Model | None]:
    """The trials, and the model of the best if it is to be kept."""
    best: tuple[float, Model] | None = None
    # What is shared may be large, so it is gone before the rows of the last fit are prepared.
    solve = prepare(held.training) if len(held.users) else None

    def attempt(candidate: Candidate) -> Trial:
        nonlocal best
        assert solve is not None  # noqa: S101 - nothing is tried where nobody is judged
        model = solve(candidate)
        score = judge_model(model, held, options)
        options.progress(f"{describe(candidate)}: validation HR@100 {score:.2f}")
        if keep and (best is None or score > best[0]):
            best = score, model
        return Trial(candidate, score)

    trials = choose(candidates, held, attempt)
    return trials, None if best is None else best[1]


def report_choice(trials: Sequence[Trial], held: HoldOut, rows: TrainingRows) -> dict[str, Json]:
    """What the choice says in a model's report: `chosen`, `steps` and all `trials`."""
    best = trials[0]
    return {
        "rows_used": rows.num_rows,
        "chosen": dict(best.candidate),
        "steps": best.steps,
        "validation_HR@100": best.score,
        "validation_users": len(held.users),
        "trials": [trial.to_json() for trial in trials],
    }


@dataclass
class Patience:
    """Ends a training once its validation has not got better for a number of looks.

    Attributes:
        looks: how many looks without a better score end it.
        best: the best score so far.
        best_step: the step of it.
    """

    looks: int
    best: float = -np.inf
    best_step: int = 0
    _since: int = 0

    def see(self, step: int, score: float) -> bool:
        """Note a score; whether it is the best so far."""
        if score > self.best:
            self.best, self.best_step, self._since = score, step, 0
            return True
        self._since += 1
        return False

    @property
    def ended(self) -> bool:
        """Whether to stop."""
        return self._since >= self.looks
