"""`ader`: fit on the new period and on herded rows, with the last model's scores as targets."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from perennial.memory.base import Memory, join_rows
from perennial.memory.budget import parse_budget
from perennial.memory.exemplar_memory import ExemplarMemory
from perennial.models.base import TrainingRows
from perennial.replay.strategies.base import Extent, WarmStart, check_extent, newest_rows
from perennial.stream.history import History


@dataclass(frozen=True)
class Ader:
    """Adaptively distilled exemplar replay (Mi, Lin & Faltings, RecSys 2020).

    Their backbone is SASRec on session prefixes; here rows are users, and the models are ours.

    Attributes:
        budget: M, the most exemplars that are kept, or bytes such as `256KiB`.
        distillation_weight: λ_base; 0.8 on DIGINETICA and 1 on YOOCHOOSE in the paper.
        warm_start: start from the weights of the period before where the model has any, as the
            method does; without it, the effect of the exemplars is separate from that of the
            weights.
        history: interactions of period t's users that are trained on: all up to t that the store
            holds (`full`), or period t's alone (`period`, the paper).
    """

    budget: int | str = 500
    distillation_weight: float = 1.0
    warm_start: bool = True
    history: Extent = "full"

    name = "ader"
    needs_log = False
    draws_at_random = True

    def __post_init__(self) -> None:
        """Refuse settings that are out of range."""
        check_extent(self.history)
        parse_budget(self.budget)
        if not 0 < self.distillation_weight < float("inf"):
            raise ValueError("distillation_weight must be positive")

    @property
    def starts_warm(self) -> WarmStart:
        """If the model has weights, unless switched off."""
        return WarmStart.IF_POSSIBLE if self.warm_start else WarmStart.BY_MODEL

    def empty_memory(self) -> Memory:
        """Return the memory without exemplars."""
        return ExemplarMemory(self.budget)

    def training_rows(self, history: History, memory: Memory) -> TrainingRows:
        """Return the users of period t, and the exemplars with their teacher."""
        rows = newest_rows(history, self.history)
        replayed = memory.replay_rows(rows.num_items)
        if replayed is None or replayed.teacher is None or not rows.num_rows:
            return rows
        strength = adaptive_weight(
            self.distillation_weight,
            old_items=replayed.teacher.num_items,
            items=rows.num_items,
            num_exemplars=replayed.num_rows,
            num_rows=rows.num_rows,
        )
        # ADER's loss is a mean over the new rows plus a weighted mean over the exemplars.
        each = strength * rows.num_rows / replayed.num_rows
        weighted = dataclasses.replace(replayed, weights=np.full(replayed.num_rows, each))
        return join_rows(rows, weighted)


def adaptive_weight(
    base: float, *, old_items: int, items: int, num_exemplars: int, num_rows: int
) -> float:
    """λ_t = λ_base √( |I_{t−1}|/|I_t| · |E_{t−1}|/|D_t| ), section 3.3 of the paper."""
    return float(base * np.sqrt(old_items / items * num_exemplars / num_rows))
