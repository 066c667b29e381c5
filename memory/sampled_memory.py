"""Memory of real users' rows, chosen by a sampler; the baseline of DISTILL-CF."""

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from perennial.memory.base import Memory, replayed_rows, widen
from perennial.memory.budget import Policy, parse_budget
from perennial.memory.samplers.base import Sampler, mean_entries, thin_to_mean
from perennial.models.base import FittedModel, TrainingRows
from perennial.storage.base import Progress, derive_seed, ignore_progress
from perennial.stream.history import History


@dataclass(frozen=True)
class _Part:
    """Rows kept of a period, or under `rolling` of all periods.

    Attributes:
        rows: `(n, num_items)` float32, highest priority first.
        priorities: `(n,)` float64.
        periods: `(n,)` int32, period that each row was sampled in.
        extent: as in `Sample`, under `rolling` of all periods so far.
        seed: of the interactions that are left out if not all rows are replayed.
    """

    rows: csr_array
    priorities: NDArray[np.float64]
    periods: NDArray[np.int32]
    extent: tuple[int, int] | None
    seed: int

    def first(self, count: int) -> csr_array:
        """Return the first rows; parts of rows are on average no longer than rows of the log."""
        rows = self.rows[:count]
        return rows if self.extent is None else thin_to_mean(rows, self.extent, self.seed)

    @property
    def entries(self) -> NDArray[np.int64]:
        """Numbers of interactions of the first 1, 2, … rows, `(n,)` int64."""
        whole = self.rows.indptr[1:].astype(np.int64)
        if self.extent is None:
            return whole
        counts = [mean_entries(count, self.extent) for count in range(1, len(whole) + 1)]
        return np.minimum(whole, np.array(counts, dtype=np.int64))


@dataclass(frozen=True)
class SampledMemory(Memory):
    """Rows of real users under a budget; they are drawn again from the log after a resume.

    Attributes:
        budget: B, the most rows that are replayed, or bytes such as `256KiB`.
        policy: by which B is shared among the periods.
        weight: of a replayed row; a row of the new period has weight 1.
        sampler: that chooses the rows.
        parts: oldest first.
    """

    budget: int | str
    policy: Policy
    weight: float
    sampler: Sampler
    parts: tuple[_Part, ...] = ()

    def replay_rows(self, num_items: int) -> TrainingRows | None:
        """Return a prefix of each part."""
        budget = parse_budget(self.budget)
        shares = budget.share([part.entries for part in self.parts], self.policy)
        if sum(shares) == 0:
            return None
        kept = list(zip(self.parts, shares, strict=True))
        rows = vstack([widen(part.first(share), num_items) for part, share in kept], format="csr")
        periods = np.concatenate([part.periods[:share] for part, share in kept])
        return replayed_rows(csr_array(rows, dtype=np.float32), self.weight, periods)

    @property
    def reach(self) -> int | None:
        """Reach of the policy."""
        return self.policy.reach

    def first_period(self, last: int) -> int:
        """Return the first period that the policy keeps."""
        return self.policy.first_period(last)

    def update(
        self,
        history: History,
        model: FittedModel | None,
        seed: int,
        progress: Progress = ignore_progress,
        *,
        chain_seed: int | None = None,
    ) -> "SampledMemory":
        """Sample the period, under `whole` the log so far.

        Under `rolling` the rows with the highest priorities of the buffer and the period are kept.
        Of bytes, rows are taken in this order until the next does not fit.
        """
        progress(f"sampling period {history.period}")
        first = 1 if self.policy.name == "whole" else history.period
        sample_seed = derive_seed(seed, history.period, "sample")
        budget = parse_budget(self.budget)
        sample = self.sampler(
            history.rows(first=first).interactions, budget.rows_of(1), sample_seed
        )
        periods = np.full(len(sample.users), history.period, dtype=np.int32)
        thin_seed = derive_seed(sample_seed, "thin")
        part = _Part(sample.rows, sample.priorities, periods, sample.extent, thin_seed)
        if self.policy.name == "rolling" and self.parts:
            part = _join(self.parts[-1], part)
        (count,) = budget.share([part.entries])
        # Thinned at once, so that the memory never has more than it may replay.
        part = dataclasses.replace(
            part,
            rows=part.first(count),
            priorities=part.priorities[:count],
            periods=part.periods[:count],
        )
        return dataclasses.replace(self, parts=self.policy.newest((*self.parts, part)))


def _join(old: _Part, new: _Part) -> _Part:
    """Return the rows of both, those with the highest priorities first."""
    priorities = np.concatenate([old.priorities, new.priorities])
    order = np.argsort(-priorities, kind="stable")
    rows = csr_array(vstack([widen(old.rows, new.rows.shape[1]), new.rows], format="csr"))
    periods = np.concatenate([old.periods, new.periods])
    extent = None
    if old.extent is not None and new.extent is not None:
        extent = (old.extent[0] + new.extent[0], old.extent[1] + new.extent[1])
    return _Part(rows[order], priorities[order], periods[order], extent, new.seed)
