"""Early stopping: trainings that end once validation gains no more, and the best weights of all."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from perennial.models.base import FitOptions
from perennial.models.selection import Candidate, Trial

Weights = TypeVar("Weights")
"""Result of a training: all that scoring needs."""

Check = Callable[[int, Weights], bool]
"""Takes the updates made and the weights then; returns False to end the training."""


@dataclass
class Patience:
    """Ends a training after so many `checks` without a better score."""

    checks: int
    best: float = -np.inf
    best_step: int = 0
    _since: int = 0

    def add(self, step: int, score: float) -> bool:
        """Add a score; return True if it is the best so far."""
        if score > self.best:
            self.best, self.best_step, self._since = score, step, 0
            return True
        self._since += 1
        return False

    @property
    def ended(self) -> bool:
        """True once the training should end."""
        return self._since >= self.checks


@dataclass
class Search(Generic[Weights]):
    """The trainings of one fit, each stopped early.

    Attributes:
        patience: checks without a better score after which a training ends.
        score: validation score of some weights, in per cent.
        options: its progress gets a message at each check.
        keep_best: if false, `best` stays `None`, and a training may overwrite checked weights.
        best: the best weights of all trainings; `None` before the first check.
    """

    patience: int
    score: Callable[[Weights], float]
    options: FitOptions
    metric: str = "HR@100"
    keep_best: bool = True
    best: Weights | None = None
    last_step: int = 0
    _best_score: float = -np.inf

    def attempt(
        self, candidate: Candidate, tried: str, train: Callable[[Check[Weights]], object]
    ) -> Trial:
        """Train until the score no longer grows.

        Messages of the progress begin with `tried`. `train` must not change weights that it has
        passed to a check.
        """
        patience = Patience(self.patience)

        def check(updates: int, weights: Weights) -> bool:
            score, self.last_step = self.score(weights), updates
            patience.add(updates, score)
            if self.keep_best and score > self._best_score:
                self.best, self._best_score = weights, score
            self.options.progress(
                f"{tried} {updates} updates, validation {self.metric} {score:.2f}, "
                f"best {patience.best:.2f} after {patience.best_step}"
            )
            return not patience.ended

        train(check)
        return Trial(candidate, patience.best, patience.best_step)
