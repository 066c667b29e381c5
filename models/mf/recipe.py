"""Matrix factorisation for implicit feedback: iALS with the settings of its careful replication.

Hu, Koren & Volinsky, ICDM 2008; Rendle, Krichene, Zhang & Koren, "Revisiting the performance of
iALS on item recommendation benchmarks", RecSys 2022. The objective, and the meaning of weights
and of values below 1, are in `perennial.models.mf.solver`.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.models.base import FitOptions, Holdout, TrainingRows, check_memory
from perennial.models.mf.solver import (
    BLOCK_FLOATS,
    Objective,
    block_floats,
    first_items,
    solve_rows,
    sweep,
)
from perennial.models.scoring import context_blocks
from perennial.models.selection import (
    BLOCK_SCORES,
    Candidate,
    HoldoutRecipe,
    Trial,
    best_first,
    choose,
    cross,
    describe,
    report_choice,
    validate_model,
)
from perennial.storage.base import Json, derive_seed, require
from perennial.storage.errors import UserError
from perennial.storage.parallel import count_cores


@dataclass(frozen=True)
class FittedMF:
    """Vectors of the items, `(num_items, dimension)` float32; those of users follow from rows."""

    items: NDArray[np.float32]
    objective: Objective
    report: Mapping[str, Json]

    @property
    def num_items(self) -> int:
        """Number of items."""
        return len(self.items)

    def fold_in(self, contexts: csr_array) -> NDArray[np.float32]:
        """Compute the best vector of each row for these items, exactly as a sweep does for a user.

        Contexts are `(n, num_items)` float32 in (0, 1]; vectors `(n, dimension)` float32, zero for
        an empty row.
        """
        return solve_rows(contexts, self.items, np.ones(self.num_items), self.objective)

    def score_blocks(self, contexts: csr_array, block_rows: int) -> Iterator[NDArray[np.float32]]:
        """Compute ⟨w_u, h_i⟩ with w_u of the context, any row of items; 0 if it is empty."""
        for block in context_blocks(contexts, self.num_items, block_rows):
            yield self.fold_in(block) @ self.items.T

    def to_arrays(self) -> tuple[dict[str, NDArray[Any]], dict[str, Json]]:
        """Return the items' vectors; the objective and the report are in the manifest."""
        manifest = {"objective": dataclasses.asdict(self.objective), "report": dict(self.report)}
        return {"items": self.items}, manifest


@dataclass(frozen=True)
class MF(HoldoutRecipe[FittedMF]):
    """Settings of the matrix factorisation.

    α₀ and λ are chosen at the first dimension, and the dimension with these: with ν = 1 a good λ
    stays good as the dimension grows (Rendle et al., section 3).

    Attributes:
        dimensions: the grid of the vectors' widths, of which validation chooses by HR@100.
        unobserved: the grid of α₀, the weight of every cell as an absence.
        regs: the grid of λ.
        exponent: ν, growth of a vector's regularisation with the weight of its cells.
        sweeps: number of sweeps; each solves for all users and all items.
        validation_users: largest number of validation rows, a seeded sample; `None` means all.
    """

    name: ClassVar[str] = "mf"

    dimensions: tuple[int, ...] = (32, 64, 128)
    unobserved: tuple[float, ...] = (0.1, 0.01, 0.03, 0.3)
    regs: tuple[float, ...] = (0.01, 0.003, 0.03, 0.1)
    exponent: float = 1.0
    sweeps: int = 12
    validation_users: int | None = 2000

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        has_dimensions = bool(self.dimensions) and min(self.dimensions) >= 1
        require(has_dimensions, "dimensions must name at least one, each at least 1")
        for grid in ("unobserved", "regs"):
            values = getattr(self, grid)
            has_values = bool(values) and all(0 < value < np.inf for value in values)
            require(has_values, f"{grid} must name at least one value, each above 0")
        require(0 <= self.exponent < np.inf, "exponent must not be negative")
        require(self.sweeps >= 1, "sweeps must be at least 1")
        users = self.validation_users
        require(users is None or users >= 1, "validation_users must be at least 1")

    def fit_with_holdout(
        self, holdout: Holdout, rows: TrainingRows, options: FitOptions
    ) -> FittedMF:
        """Choose on a given holdout, then factorise `rows`."""
        needed = estimate_bytes(rows, max(self.dimensions))
        purpose = f"the vectors of {rows.num_rows:,} rows and {rows.num_items:,} items"
        check_memory("mf", needed, options.memory_limit, purpose, "set --max-rows")
        best: tuple[float, FittedMF] | None = None

        def attempt(candidate: Candidate) -> Trial:
            nonlocal best
            model = self._factorise(holdout.training, candidate, options)
            score = validate_model(model, holdout, options)
            options.progress(f"mf: {describe(candidate)}: validation HR@100 {score:.2f}")
            if best is None or score > best[0]:
                best = score, model
            return Trial(candidate, score, self.sweeps)

        trials = self._try_grid(holdout, attempt)
        if best is None or rows is not holdout.training:
            model = self._factorise(rows, trials[0].candidate, options)
        else:
            model = best[1]
        report = {**report_choice(trials, holdout, rows), "bytes_estimated": needed}
        return dataclasses.replace(model, report=report)

    def restore(self, arrays: Mapping[str, NDArray[Any]], manifest: Mapping[str, Json]) -> FittedMF:
        """Restore the model that `FittedMF.to_arrays` was called on."""
        try:
            items = arrays["items"]
            objective = Objective(**{key: float(v) for key, v in manifest["objective"].items()})
            if items.ndim != 2 or items.dtype != np.float32 or not np.isfinite(items).all():
                raise ValueError("the vectors are no float32 matrix")
            if not (0 < objective.unobserved < np.inf and 0 < objective.reg < np.inf):
                raise ValueError("a setting is out of range")
            return FittedMF(items, objective, dict(manifest["report"]))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"mf: the stored model is damaged ({error}); fit it again") from None

    def _try_grid(
        self, holdout: Holdout, attempt: Callable[[Candidate], Trial]
    ) -> tuple[Trial, ...]:
        """Try the grid at the first dimension, then the other dimensions; best first."""
        first, *others = self.dimensions
        grid = cross({"dimension": (first,), "unobserved": self.unobserved, "reg": self.regs})
        if len(grid) == 1 and not others:
            return (Trial(grid[0], None),)
        trials = choose(grid, holdout, attempt)
        wider = [{**trials[0].candidate, "dimension": dimension} for dimension in others]
        if not wider or not len(holdout.users):
            return trials
        return best_first((*trials, *choose(wider, holdout, attempt)))

    def _factorise(self, rows: TrainingRows, candidate: Candidate, options: FitOptions) -> FittedMF:
        """Make all sweeps with one candidate."""
        objective = Objective(candidate["unobserved"], candidate["reg"], self.exponent)
        seed = derive_seed(options.seed, "vectors")
        items = first_items(rows.num_items, candidate["dimension"], seed)
        sweeps = sweep(rows.interactions, rows.weights, items, objective)
        options.progress(f"mf: {self.sweeps} sweeps with {describe(candidate)}")
        for _users, items in islice(sweeps, self.sweeps):
            solved = np.asarray(items, np.float32)
        return FittedMF(solved, objective, {})


def estimate_bytes(rows: TrainingRows, width: int) -> int:
    """Estimate the peak bytes of a fit with vectors of `width`, a block of scores included."""
    lengths = np.diff(rows.interactions.indptr)
    popular = np.bincount(rows.interactions.indices, minlength=1)
    longest = int(max(lengths.max(initial=0), popular.max(initial=0)))
    # The vectors, rotated and as they come back; the kept model's; entries by row and by item.
    vectors = 4 * 4 * width * (rows.num_rows + 2 * rows.num_items)
    entries = (2 * 8 + 3 * 8) * rows.interactions.nnz
    # Gathered and scaled vectors and the matrices in their pieces, in each thread.
    block = 4 * 4 * count_cores() * max(BLOCK_FLOATS, block_floats(longest, width))
    scores = 2 * 4 * max(BLOCK_SCORES, rows.num_items)
    return int(vectors + entries + block + scores)
