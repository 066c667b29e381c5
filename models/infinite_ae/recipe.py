"""∞-AE: kernel ridge regression with the tangent kernel of an infinitely wide autoencoder.

Sachdeva et al., arXiv 2206.02626, section 3, Eq. 1: α = (K + λ'W⁻¹)⁻¹ X and f(x) = K(x, X) α, where
W weighs the rows (1 each for real users) and λ' is λ times the mean of K's diagonal, as in the
authors' code; the paper's equation has plain λ. With `centres` f is kept to the span of so many
rows, which needs no n × n matrix; see `perennial.models.infinite_ae.nystrom`.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from perennial.models.base import FitOptions, Holdout, TrainingRows, cap_rows, check_memory
from perennial.models.holdout import hold_out
from perennial.models.infinite_ae.exact_model import ExactSystem, FittedInfiniteAE
from perennial.models.infinite_ae.gram import Backend, TileKernel, make_tile_kernel
from perennial.models.infinite_ae.kernel import KernelSettings
from perennial.models.infinite_ae.memory_estimate import (
    FitSizes,
    Precision,
    choose_dtype,
    estimate_bytes,
    largest_fit,
    sizes_of,
)
from perennial.models.infinite_ae.nystrom import draw_centres
from perennial.models.infinite_ae.nystrom_model import FittedNystromAE, NystromSystem
from perennial.models.infinite_ae.storage import StoredFit
from perennial.models.infinite_ae.teacher_model import TaughtInfiniteAE, TaughtSystem
from perennial.models.scoring import score_replayed, score_rows
from perennial.models.selection import validate
from perennial.storage.base import Json, derive_seed, require
from perennial.storage.errors import UserError

System = ExactSystem | TaughtSystem | NystromSystem
"""Rows prepared for any λ."""

SolvedAE = FittedInfiniteAE | TaughtInfiniteAE | FittedNystromAE
"""Result of a fit."""


@dataclass(frozen=True)
class InfiniteAE:
    """The recipe of ∞-AE.

    Attributes:
        regs: the grid of λ, of which validation chooses by HR@100.
        reg: a given λ, without validation.
        jitter: taken in place of λ = 0, which is singular on equal rows.
        validation_users: largest number of validation rows, a seeded sample; `None` means all.
        backend: implementation of the kernel; `neural-tangents` makes rows dense tile by tile.
        precision: `auto` takes float32 where n/λ shows that it loses nothing, else float64. With
            `centres` it is the precision of B; the rest is float64.
        centres: m, keep f to the span of so many rows, a seeded sample; `None` solves exactly.
    """

    name: ClassVar[str] = "infinite-ae"
    starts_warm: ClassVar[bool] = False

    depth: int = 1
    weight_variance: float = 2.0
    bias_variance: float = 0.01
    regs: tuple[float, ...] = (1.0, 5.0, 20.0, 50.0, 100.0)
    reg: float | None = None
    jitter: float = 1e-6
    validation_users: int | None = 2000
    backend: Backend = "closed-form"
    precision: Precision = "auto"
    centres: int | None = None

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        require(self.depth >= 1, "depth must be at least 1")
        positive = self.weight_variance > 0 and self.bias_variance >= 0
        require(positive, "weight_variance must be positive and bias_variance not negative")
        regs = self.regs if self.reg is None else (*self.regs, self.reg)
        has_regs = bool(self.regs) and min(regs) >= 0
        require(has_regs, "regs must name at least one λ, and no λ may be negative")
        require(self.jitter > 0, "jitter must be positive")
        for field in ("validation_users", "centres"):
            value = getattr(self, field)
            require(value is None or value >= 1, f"{field} must be at least 1")

    @property
    def settings(self) -> Mapping[str, Json]:
        """Fields as they are recorded with a run.

        `centres` is among them only where it is given: keys of runs without it stay the same.
        """
        fields = dataclasses.asdict(self)
        if self.centres is None:
            del fields["centres"]
        return fields

    @property
    def can_teach(self) -> bool:
        """True for the exact solver, which fits rows to a teacher's scores."""
        return self.centres is None

    @property
    def draws_at_random(self) -> bool:
        """True if λ is chosen on a drawn holdout, or the centres are drawn."""
        return (self.reg is None and len(self.regs) > 1) or self.centres is not None

    def fit(self, rows: TrainingRows, options: FitOptions) -> SolvedAE:
        """Choose λ by HR@100 on a holdout of the real rows, then solve with all rows."""
        sizes = self._sizes(rows)
        kept, cap = self._cap(rows, sizes, options)
        if self.reg is None:
            seed = derive_seed(options.seed, "validation")
            holdout = hold_out(kept, seed, max_users=self.validation_users)
            unlimited = dataclasses.replace(options, memory_limit=None)  # The rows are capped.
            model = self.fit_with_holdout(holdout, kept, unlimited)
        else:
            model = self._solve(kept, self.reg, {}, options)
        report = {**model.report, "rows_given": rows.num_rows, "row_cap": cap}
        report["bytes_estimated"] = estimate_bytes(sizes, kept.num_rows)
        return dataclasses.replace(model, report=report)

    def fit_with_holdout(
        self, holdout: Holdout, rows: TrainingRows, options: FitOptions
    ) -> SolvedAE:
        """Choose λ on a given holdout, then solve with `rows`."""
        needed, purpose = (
            estimate_bytes(self._sizes(rows), rows.num_rows),
            f"{rows.num_rows:,} rows",
        )
        check_memory("∞-AE", needed, options.memory_limit, purpose, "take fewer rows")
        # One pass over the rows is enough where the split is fixed.
        fixed = self.centres is not None and rows is holdout.training
        shared = self._system_on_centres(rows, options) if fixed else None
        validation = self.sweep(holdout, options, shared)
        report: dict[str, Json] = {
            "validation": {f"{tried:g}": score for tried, score in validation.items()},
            "validation_users": len(holdout.users),
        }
        return self._solve(rows, best_reg(validation, self.regs), report, options, shared)

    def sweep(
        self, holdout: Holdout, options: FitOptions, shared: NystromSystem | None = None
    ) -> dict[float, float]:
        """Compute HR@100 in per cent on a holdout by λ of the grid, from one kernel matrix.

        A validation row is a training row, so its scores need no product with K: (Kα)_u = X_u −
        λ'/w_u α_u, and α_u is a row of the inverse times X. On centres, with a teacher and with
        external contexts that does not hold, and f(x) is computed.

        `shared` is the system of `holdout.training` on centres; it is made unless given. Without
        validation rows the result is empty.
        """
        if len(holdout.users) == 0:
            return {}
        rows = holdout.training
        system: System | None = shared
        if system is None and self.centres is not None:
            system = self._system_on_centres(rows, options)
        elif system is None:
            options.progress(f"∞-AE: kernel of {rows.num_rows:,} rows")
            if rows.teacher is None and holdout.external_contexts is None:
                others = np.setdiff1d(np.arange(rows.num_rows), holdout.users)
                order = np.concatenate([others, holdout.users])
                exact = self._exact_system(rows.take(order), min(self.regs))
                return self._validate_each(
                    lambda reg: exact.training_scores(reg, len(others)), holdout, options
                )
            system = self._system(rows, min(self.regs))

        def score(reg: float) -> Iterator[NDArray[np.float32]]:
            model = system.solve(reg, {})
            return model.score_blocks(holdout.contexts, score_rows(model.num_items))

        return self._validate_each(score, holdout, options)

    def _validate_each(
        self,
        score: Callable[[float], Iterator[NDArray[np.float32]]],
        holdout: Holdout,
        options: FitOptions,
    ) -> dict[float, float]:
        """`sweep` by a function from λ, or its jitter, to scores."""
        scores: dict[float, float] = {}
        for reg in self.regs:
            scores[reg] = validate(score(self._effective(reg)), holdout, options)
            options.progress(f"∞-AE: λ = {reg:g}, validation HR@100 {scores[reg]:.2f}")
        return scores

    def _system_on_centres(
        self, rows: TrainingRows, options: FitOptions, chosen: NDArray[np.int64] | None = None
    ) -> NystromSystem:
        """Prepare rows without a teacher for any λ in one pass; centres are drawn unless given."""
        if rows.teacher is not None:
            raise UserError("centres learn from no teacher; leave --set infinite-ae.centres out")
        if chosen is None:
            assert self.centres  # noqa: S101
            chosen = draw_centres(rows.weights, self.centres, derive_seed(options.seed, "centres"))
        options.progress(f"∞-AE: {rows.num_rows:,} rows on {len(chosen):,} centres")
        kernel = self._kernel(rows.num_items, np.dtype(np.float64))
        dtype = self._dtype(rows, self._smallest_reg)
        return NystromSystem.of(
            rows, chosen, self.settings, kernel, self.jitter, dtype, options.progress
        )

    def _system(self, rows: TrainingRows, smallest_reg: float) -> ExactSystem | TaughtSystem:
        """Prepare rows for any λ from the smallest on, without centres."""
        if rows.teacher is not None:
            return self._taught_system(rows, smallest_reg)
        return self._exact_system(rows, smallest_reg)

    def _exact_system(self, rows: TrainingRows, smallest_reg: float) -> ExactSystem:
        kernel = self._kernel(rows.num_items, self._dtype(rows, smallest_reg))
        on_devices = self._network if self.backend == "closed-form" else None
        return ExactSystem.of(rows, self.settings, kernel, on_devices)

    def _taught_system(
        self, rows: TrainingRows, smallest_reg: float, answers: NDArray[np.float32] | None = None
    ) -> TaughtSystem:
        """Prepare rows with their teacher's scores, computed unless given, for any λ."""
        if answers is None:
            assert rows.teacher is not None  # noqa: S101
            answers = score_replayed(rows.teacher, rows.interactions[rows.replayed])
        kernel = self._kernel(rows.num_items, self._dtype(rows, smallest_reg))
        return TaughtSystem.of(rows, answers, self.settings, kernel)

    def restore(self, arrays: Mapping[str, NDArray[Any]], manifest: Mapping[str, Json]) -> SolvedAE:
        """Solve again for the stored rows, λ and settings."""
        try:
            stored = StoredFit.read(arrays, manifest)
            regs = tuple(stored.settings["regs"])
            recipe = InfiniteAE(**{**stored.settings, "regs": regs})
            if (recipe.centres is None) != (stored.centres is None):
                raise ValueError("its centres do not go with its settings")
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"∞-AE: the stored model is damaged ({error}); fit it again") from None
        rows, reg, options = stored.rows, recipe._effective(stored.reg), FitOptions(seed=0)
        if stored.answers is not None:
            return recipe._taught_system(rows, stored.reg, stored.answers).solve(reg, stored.report)
        system: ExactSystem | NystromSystem
        if stored.centres is not None:
            system = recipe._system_on_centres(rows, options, stored.centres)
        else:
            system = recipe._exact_system(rows, stored.reg)
        return dataclasses.replace(system.solve(reg, stored.report), replayed=stored.replayed)

    def _cap(
        self, rows: TrainingRows, sizes: FitSizes, options: FitOptions
    ) -> tuple[TrainingRows, str | None]:
        """Return the rows that fit, and the reason if they are fewer than given."""
        cap, why = rows.num_rows, None
        if options.memory_limit is not None:
            fitting = largest_fit(sizes, options.memory_limit)
            if fitting < cap:
                cap, why = fitting, f"memory limit of {options.memory_limit / 2**20:,.0f} MiB"
        if options.max_rows is not None and options.max_rows < cap:
            cap, why = options.max_rows, f"max_rows {options.max_rows:,}"
        if why is not None:
            options.progress(f"∞-AE: {cap:,} of {rows.num_rows:,} rows ({why})")
        return cap_rows(rows, cap, derive_seed(options.seed, "row cap")), why

    def _sizes(self, rows: TrainingRows) -> FitSizes:
        return sizes_of(
            rows.interactions,
            rows.weights,
            0 if self.reg is not None else self.validation_users,
            self.precision,
            self._effective(self._smallest_reg),
            int(rows.replayed.sum()) if rows.teacher is not None else 0,
            self.centres,
        )

    @property
    def _smallest_reg(self) -> float:
        return self.reg if self.reg is not None else min(self.regs)

    def _dtype(self, rows: TrainingRows, smallest_reg: float) -> np.dtype[Any]:
        heaviest = float(rows.weights.max(initial=1.0))
        return choose_dtype(self.precision, rows.num_rows, heaviest, self._effective(smallest_reg))

    def _effective(self, reg: float) -> float:
        """Return λ, or the jitter in place of 0."""
        return reg if reg > 0 else self.jitter

    def _kernel(self, num_items: int, dtype: np.dtype[Any]) -> TileKernel:
        return make_tile_kernel(self.backend, self._network, num_items, dtype)

    @property
    def _network(self) -> KernelSettings:
        return KernelSettings(self.depth, self.weight_variance, self.bias_variance)

    def _solve(
        self,
        rows: TrainingRows,
        reg: float,
        report: Mapping[str, Json],
        options: FitOptions,
        shared: NystromSystem | None = None,
    ) -> SolvedAE:
        on_centres = self.centres is not None
        dtype = self._dtype(rows, self._smallest_reg if on_centres else reg)
        report = {**report, "reg": reg, "rows_used": rows.num_rows, "dtype": dtype.name}
        system: System
        if on_centres:
            system = shared or self._system_on_centres(rows, options)
        else:
            options.progress(f"∞-AE: solving for {rows.num_rows:,} rows with λ = {reg:g}")
            system = self._system(rows, reg)
        return system.solve(self._effective(reg), report)


def best_reg(validation: Mapping[float, float], regs: tuple[float, ...]) -> float:
    """Return the λ with the best score, of equal ones the larger, without any the middle one."""
    if not validation:
        return sorted(regs)[len(regs) // 2]
    return max(validation, key=lambda reg: (validation[reg], reg))
