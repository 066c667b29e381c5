"""Selection of settings and training length on one holdout, by HR@100; every trial is recorded."""

import dataclasses
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from perennial.models.base import FitOptions, FittedModel, Holdout, TrainingRows, cap_rows
from perennial.models.holdout import hold_out, validation_score
from perennial.storage.base import Json, derive_seed

Candidate = Mapping[str, Json]
"""Settings that are tried together: name -> value."""

Model = TypeVar("Model", bound=FittedModel)

Solver = Callable[[Candidate], Model]
"""Solver of prepared rows for one candidate."""

BLOCK_SCORES = 1 << 22


@dataclass(frozen=True)
class Trial:
    """Result of one candidate.

    Attributes:
        score: the best validation HR@100 in per cent; `None` without validation rows.
        steps: updates or sweeps until then; 0 for a closed form.
    """

    candidate: Candidate
    score: float | None
    steps: int = 0

    def to_json(self) -> dict[str, Json]:
        """Return the trial as it is recorded with the fit."""
        return {**self.candidate, "HR@100": self.score, "steps": self.steps}


def cap_and_hold_out(
    rows: TrainingRows, options: FitOptions, max_users: int | None, share: float = 0.1
) -> tuple[TrainingRows, Holdout]:
    """Apply the row cap, then hold out interactions; at most `max_users` rows are validated."""
    kept = cap_rows(rows, options.max_rows, derive_seed(options.seed, "row cap"))
    return kept, hold_out(kept, derive_seed(options.seed, "hold-out"), share, max_users)


class HoldoutRecipe(ABC, Generic[Model]):
    """Base of recipes that choose on a holdout; their models are dataclasses with a `report`."""

    validation_users: int | None
    validation_share: float = 0.1

    @property
    def starts_warm(self) -> bool:
        """False: no fit reads the model of the period before."""
        return False

    @property
    def can_teach(self) -> bool:
        """False: no fit reads the scores of a teacher."""
        return False

    @property
    def draws_at_random(self) -> bool:
        """True: at least the holdout is drawn."""
        return True

    @property
    def settings(self) -> Mapping[str, Json]:
        """Fields as they are recorded with a run."""
        fields: dict[str, Json] = dataclasses.asdict(self)  # type: ignore[call-overload]
        return fields

    def fit(self, rows: TrainingRows, options: FitOptions) -> Model:
        """Cap the rows, choose on a holdout of the real ones, and fit on all that are kept."""
        kept, holdout = cap_and_hold_out(
            rows, options, self.validation_users, self.validation_share
        )
        if kept is not rows:
            options.progress(f"{kept.num_rows:,} of {rows.num_rows:,} rows")
        model: Any = self.fit_with_holdout(holdout, kept, options)
        report = {**model.report, "rows_given": rows.num_rows}
        fitted: Model = dataclasses.replace(model, report=report)
        return fitted

    @abstractmethod
    def fit_with_holdout(self, holdout: Holdout, rows: TrainingRows, options: FitOptions) -> Model:
        """See `perennial.models.base.Recipe.fit_with_holdout`."""


def cross(axes: Mapping[str, Sequence[Json]]) -> tuple[Candidate, ...]:
    """Return the grid of all combinations of some values, the last axis fastest."""
    return tuple(
        dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())
    )


def choose(
    candidates: Sequence[Candidate], holdout: Holdout, attempt: Callable[[Candidate], Trial]
) -> tuple[Trial, ...]:
    """Try all candidates, or none without validation rows.

    Returns:
        The trials, best first; of equal ones the earlier candidate comes first. Where none is
        tried it is the first candidate alone, without a score.
    """
    if len(holdout.users) == 0:
        return (Trial(candidates[0], None),)
    return best_first([attempt(candidate) for candidate in candidates])


def best_first(trials: Iterable[Trial]) -> tuple[Trial, ...]:
    """Sort trials by score; of equal ones the earlier comes first."""
    return tuple(sorted(trials, key=lambda trial: -(trial.score or 0.0)))


def describe(candidate: Candidate) -> str:
    """Format a candidate for messages: `layers 3, temperature 0.15`."""
    return ", ".join(f"{name} {value:g}" for name, value in candidate.items())


def validate(
    score_blocks: Iterable[NDArray[np.float32]], holdout: Holdout, options: FitOptions
) -> float:
    """Compute HR@100 in per cent from score blocks `(b, num_items)` of `holdout.contexts`."""
    tie_seed = derive_seed(options.seed, "ties")
    return validation_score(score_blocks, holdout, "HR", k=100, tie_seed=tie_seed)


def validate_model(model: FittedModel, holdout: Holdout, options: FitOptions) -> float:
    """Compute HR@100 in per cent of a model, with at most 16 MiB of scores at a time."""
    block_rows = max(1, BLOCK_SCORES // max(1, model.num_items))
    return validate(model.score_blocks(holdout.contexts, block_rows), holdout, options)


def choose_and_solve(
    candidates: Sequence[Candidate],
    holdout: Holdout,
    rows: TrainingRows,
    options: FitOptions,
    prepare: Callable[[TrainingRows], Solver[Model]],
) -> tuple[tuple[Trial, ...], Model]:
    """`choose` for a model with a closed form, and solve the best candidate on `rows`.

    A single candidate is taken without a trial. If `rows` are `holdout.training`, the model of the
    best trial is the result. `prepare` computes for some rows what all candidates share, and
    returns the solver.
    """
    if len(candidates) == 1:
        return (Trial(candidates[0], None),), prepare(rows)(candidates[0])
    best: tuple[float, Model] | None = None
    solve = prepare(holdout.training) if len(holdout.users) else None

    def attempt(candidate: Candidate) -> Trial:
        nonlocal best
        assert solve is not None  # noqa: S101 - nothing is tried without validation rows
        model = solve(candidate)
        score = validate_model(model, holdout, options)
        options.progress(f"{describe(candidate)}: validation HR@100 {score:.2f}")
        if rows is holdout.training and (best is None or score > best[0]):
            best = score, model
        return Trial(candidate, score)

    trials = choose(candidates, holdout, attempt)
    if best is not None:
        return trials, best[1]
    solve = None  # Prepared rows may be large, so they are freed before others are prepared.
    return trials, prepare(rows)(trials[0].candidate)


def report_choice(trials: Sequence[Trial], holdout: Holdout, rows: TrainingRows) -> dict[str, Json]:
    """Return the entries of a selection in a model's report: `chosen`, `steps`, all `trials`."""
    best = trials[0]
    return {
        "rows_used": rows.num_rows,
        "chosen": dict(best.candidate),
        "steps": best.steps,
        "validation_HR@100": best.score,
        "validation_users": len(holdout.users),
        "trials": [trial.to_json() for trial in trials],
    }
