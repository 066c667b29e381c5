"""Trainings that end once validation gains no more, and the best of what they came by."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from perennial.models.base import FitOptions
from perennial.models.selection import Candidate, Patience, Trial

Weights = TypeVar("Weights")
"""What a training comes by: all that scoring needs."""

Look = Callable[[int, Weights], bool]
"""Takes the updates made and the weights then; says whether to go on."""


@dataclass
class Search(Generic[Weights]):
    """The trials of one fit.

    Attributes:
        patience: looks without a better HR@100 after which a training ends.
        score: HR@100 in per cent of some weights.
        options: told how it goes.
        best: the weights of the best look of all trials; `None` before the first.
    """

    patience: int
    score: Callable[[Weights], float]
    options: FitOptions
    best: Weights | None = None
    _best_score: float = -np.inf

    def attempt(
        self, candidate: Candidate, tried: str, train: Callable[[Look[Weights]], object]
    ) -> Trial:
        """Train until HR@100 no longer grows.

        Args:
            candidate: the settings.
            tried: these and the model, for progress messages.
            train: trains, with a look now and then; it must not touch weights that it showed.
        """
        patience = Patience(self.patience)

        def look(updates: int, weights: Weights) -> bool:
            score = self.score(weights)
            patience.see(updates, score)
            if score > self._best_score:
                self.best, self._best_score = weights, score
            self.options.progress(
                f"{tried} {updates} updates, validation HR@100 {score:.2f}, "
                f"best {patience.best:.2f} after {patience.best_step}"
            )
            return not patience.ended

        train(look)
        return Trial(candidate, patience.best, patience.best_step)
