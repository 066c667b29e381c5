"""MVAE: Mult-VAE, the variational autoencoder with multinomial likelihood (Liang et al., 2018)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.models.base import FitOptions, FittedModel, Holdout, TrainingRows, check_memory
from perennial.models.holdout import validation_score
from perennial.models.mvae.model import FittedMVAE, pad_parameters
from perennial.models.mvae.network import MVAEParameters
from perennial.models.mvae.teacher_batches import draw_teacher_batches
from perennial.models.mvae.training import (
    MVAERates,
    estimate_memory,
    fresh_weights,
    train,
    warm_weights,
)
from perennial.models.selection import HoldoutRecipe, Trial
from perennial.models.training.batches import check_stored
from perennial.models.training.loop import Check, Search
from perennial.storage.base import Json, derive_seed, require
from perennial.storage.errors import UserError

_GATHER_BELOW = 0.01
_BLOCK_SCORES = 1 << 22


@dataclass(frozen=True)
class MVAE(HoldoutRecipe[FittedMVAE]):
    """Settings of MVAE.

    Two additions to the paper's recipe make it learn in few updates: the bias of each item starts
    at its log popularity, and the model is a running average of the weights.

    Attributes:
        hidden: units of the two hidden layers.
        latent: width of the latent space.
        dropout: share of the input entries that are dropped.
        beta: β, the weight of the divergence once it is annealed.
        anneal_share: share of `max_updates` over which β grows linearly from 0.
        learning_rate: Adam's.
        averaging: how much of the running average of the weights stays at each update; 0 takes
            the last weights.
        batch_size: rows per update.
        max_updates: largest number of updates of a training.
        check_every: updates between two validations.
        patience: validations without a better nDCG@100 after which the training ends.
        validation_share: share of the interactions of the real rows that is held out.
        validation_users: largest number of validation rows, a seeded sample.
        warm_start: start from the weights of the period before, with fresh ones for new items.
        first_layer: `gather` the few items of each row, multiply `dense` rows, or `auto`: gather
            where less than 1% of the matrix is filled.
    """

    name: ClassVar[str] = "mvae"

    hidden: int = 600
    latent: int = 200
    dropout: float = 0.5
    beta: float = 0.2
    anneal_share: float = 0.2
    learning_rate: float = 3e-3
    averaging: float = 0.98
    batch_size: int = 104
    max_updates: int = 300
    check_every: int = 20
    patience: int = 3
    validation_share: float = 0.1
    validation_users: int = 500
    warm_start: bool = False
    first_layer: Literal["auto", "gather", "dense"] = "auto"

    def __post_init__(self) -> None:
        for field in ("hidden", "latent", "batch_size", "max_updates", "check_every", "patience"):
            require(getattr(self, field) >= 1, f"{field} must be at least 1")
        require(self.validation_users >= 1, "validation_users must be at least 1")
        require(self.learning_rate > 0, "learning_rate must be above 0")
        require(self.beta >= 0, "beta must not be negative")
        require(0 <= self.dropout < 1, "dropout must be in [0, 1)")
        require(0 <= self.averaging < 1, "averaging must be in [0, 1)")
        require(0 <= self.anneal_share <= 1, "anneal_share must be in [0, 1]")
        require(0 < self.validation_share < 1, "validation_share must be in (0, 1)")

    @property
    def starts_warm(self) -> bool:
        """True if the fit reads the model of the period before."""
        return self.warm_start

    @property
    def can_teach(self) -> bool:
        """True: replayed rows are trained on a teacher's scores."""
        return True

    def fit_with_holdout(
        self, holdout: Holdout, rows: TrainingRows, options: FitOptions
    ) -> FittedMVAE:
        """Choose the number of updates on a given holdout, then train on `rows`.

        Both trainings start alike: from fresh weights, or with `warm_start` from those of
        `options.previous`. (In a joint refit that starts warm, the previous model has seen the
        targets, and the choice is optimistic.)

        Raises:
            UserError: training does not fit `options.memory_limit`, or `options.previous` is of
                another model or has other widths.
        """
        gather = self._gathers(rows.interactions)
        needed = self._check_memory(rows, gather, options.memory_limit)
        previous = self._previous(options, rows.num_items)
        training = _Training(self, options, gather, previous)
        best, updates_tried = training.choose_updates(holdout)
        parameters = training.refit(rows, best.steps)
        taught = 0 if rows.teacher is None else int(rows.replayed.sum())
        report = {
            "rows_given": rows.num_rows,
            "rows_used": rows.num_rows,
            "updates": best.steps,
            "updates_tried": updates_tried,
            "max_updates": self.max_updates,
            "epochs": best.steps * min(1.0, self.batch_size / max(1, rows.num_rows - taught)),
            "validation_nDCG@100": best.score,
            "validation_users": len(holdout.users),
            "first_layer": "gather" if gather else "dense",
            "started_warm": previous is not None,
            "rows_taught": taught,
            "bytes_estimated": needed,
        }
        return FittedMVAE(parameters, rows.num_items, gather, report)

    def restore(
        self, arrays: Mapping[str, NDArray[Any]], manifest: Mapping[str, Json]
    ) -> FittedMVAE:
        """Restore the model that `FittedMVAE.to_arrays` was called on."""
        try:
            num_items, hidden, latent = (
                int(manifest[key]) for key in ("num_items", "hidden", "latent")
            )
            gather, report = bool(manifest["gather"]), dict(manifest["report"])
        except (KeyError, TypeError, ValueError):
            raise UserError("the saved MVAE has a damaged manifest; fit the model again") from None
        shapes = {
            "encoder_items": (num_items, hidden),
            "encoder_bias": (hidden,),
            "latent_weights": (hidden, 2 * latent),
            "latent_bias": (2 * latent,),
            "decoder_weights": (latent, hidden),
            "decoder_bias": (hidden,),
            "decoder_items": (num_items, hidden),
            "item_bias": (num_items,),
        }
        parameters = pad_parameters(check_stored("MVAE", arrays, shapes), num_items)
        return FittedMVAE(parameters, num_items, gather, report)

    @property
    def anneal_updates(self) -> int:
        """Updates over which β grows linearly from 0."""
        return round(self.anneal_share * self.max_updates)

    def rates(self, number: int) -> MVAERates:
        """Return the rates of the update that `number` others came before."""
        grown = min(1.0, (number + 1) / max(1, self.anneal_updates))
        numbers = (self.learning_rate, self.dropout, self.averaging, self.beta * grown)
        return MVAERates(*map(np.float32, numbers))

    def _gathers(self, interactions: csr_array) -> bool:
        if self.first_layer != "auto":
            return self.first_layer == "gather"
        num_rows, num_items = interactions.shape
        return bool(interactions.nnz < _GATHER_BELOW * num_rows * num_items)

    def _previous(self, options: FitOptions, num_items: int) -> FittedMVAE | None:
        """Return the model to start from, if any."""
        if not self.warm_start or options.previous is None:
            return None
        previous: FittedModel = options.previous
        if not isinstance(previous, FittedMVAE):
            raise UserError("a warm start of mvae needs an mvae of the period before")
        if (previous.hidden, previous.latent) != (self.hidden, self.latent):
            raise UserError(
                f"cannot start from an mvae with hidden={previous.hidden}, "
                f"latent={previous.latent}; keep these settings, or start without warm_start"
            )
        if previous.num_items > num_items:
            raise ValueError("the previous model has more items than there are")
        return previous

    def _check_memory(self, rows: TrainingRows, gather: bool, limit: int | None) -> int:
        """Refuse a training over the memory limit before it allocates; return its bytes."""
        # With a teacher an update has a batch of new rows and one of replayed rows.
        batch_rows = self.batch_size * (1 if rows.teacher is None else 2)
        longest = np.sort(np.diff(rows.interactions.indptr))[-batch_rows:]
        needed = estimate_memory(
            rows.num_items,
            max(batch_rows, _block_rows(rows.num_items)),
            int(longest.sum()),
            hidden=self.hidden,
            latent=self.latent,
            gather=gather,
        )
        purpose = f"the weights and the optimiser of {rows.num_items:,} items"
        check_memory("mvae", needed, limit, purpose, "lower mvae's setting 'hidden'")
        return needed


@dataclass(frozen=True)
class _Training:
    """The trainings of one fit: the settings, and what is decided before the first one."""

    recipe: MVAE
    options: FitOptions
    gather: bool
    previous: FittedMVAE | None

    def choose_updates(self, holdout: Holdout) -> tuple[Trial, int]:
        """Train on the rows of the holdout until nDCG@100 on its targets no longer grows.

        The best number of updates with its score, and the number of updates made are returned.
        """
        recipe = self.recipe
        if len(holdout.users) == 0:
            # Only the settings are left to choose by: as long as the annealing takes.
            return Trial({}, None, max(1, recipe.anneal_updates)), 0
        search: Search[MVAEParameters] = Search(
            recipe.patience,
            lambda parameters: self._score(parameters, holdout),
            self.options,
            metric="nDCG@100",
            keep_best=False,
        )
        train = partial(self._train, holdout.training, recipe.max_updates, "choice")
        return search.attempt({}, "mvae:", train), search.last_step

    def refit(self, rows: TrainingRows, num_updates: int) -> MVAEParameters:
        """Train on all rows for the chosen number of updates."""

        def report(updates: int, _parameters: MVAEParameters) -> bool:
            self.options.progress(f"mvae: refit, {updates} of {num_updates} updates")
            return True

        return self._train(rows, num_updates, "refit", report)

    def _first_weights(self, rows: TrainingRows) -> MVAEParameters:
        fresh = fresh_weights(
            rows.interactions,
            rows.weights,
            hidden=self.recipe.hidden,
            latent=self.recipe.latent,
            seed=derive_seed(self.options.seed, "weights"),
        )
        if self.previous is None:
            return fresh
        return warm_weights(self.previous, fresh, rows.num_items)

    def _train(
        self, rows: TrainingRows, num_updates: int, purpose: str, check: Check[MVAEParameters]
    ) -> MVAEParameters:
        recipe, seed = self.recipe, derive_seed(self.options.seed, purpose)
        teacher_seed = derive_seed(seed, "lessons")
        teacher_batches = draw_teacher_batches(rows, recipe.batch_size, teacher_seed)
        first = self._first_weights(rows)
        if teacher_batches is not None:
            rows = rows.take(np.flatnonzero(~rows.replayed))
        return train(
            first,
            rows.interactions,
            rows.weights,
            batch_size=recipe.batch_size,
            rates=recipe.rates,
            gather=self.gather,
            num_updates=num_updates,
            seed=seed,
            teacher_batches=teacher_batches,
            check_every=recipe.check_every,
            check=check,
        )

    def _score(self, parameters: MVAEParameters, holdout: Holdout) -> float:
        model = FittedMVAE(parameters, holdout.training.num_items, self.gather, {})
        blocks = model.score_blocks(holdout.contexts, _block_rows(model.num_items))
        tie_seed = derive_seed(self.options.seed, "ties")
        return validation_score(blocks, holdout, "nDCG", k=100, tie_seed=tie_seed)


def _block_rows(num_items: int) -> int:
    """Return the rows scored at a time, a power of two whose scores take at most 16 MiB."""
    return 1 << (max(1, _BLOCK_SCORES // max(1, num_items)).bit_length() - 1)
