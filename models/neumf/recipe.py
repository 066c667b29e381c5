"""NeuMF: neural matrix factorisation (He et al., WWW 2017), able to answer for unknown users.

He et al. learn an embedding for each user, so that somebody who came after the fit, or did
something since, has to be folded in. Here the embeddings are sums over the user's items, learnt end
to end (`neumf_network`): then everybody is as known as a training row. It is also better. On the
paper's split of ML-1M, with 64 factors, free embeddings came to a validation HR@100 of 51.6 (after
3,000 updates) and, each context folded in by 30 full-batch steps of Adam, to a test HR@10 of 24.7;
the sums came to 56.2 (after 1,900) and 27.4.

The log loss is the original's. A softmax over the same sampled items was worse, 53.6 against 54.7
after 1,200 updates that predicted all entries. Predicting the hidden ones alone makes no difference
on ML-1M (56.2 against 56.1) and is better on Magazine, test nDCG@10 22.1 against 21.4.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.models.base import FitOptions, Holdout, TrainingRows, check_memory
from perennial.models.neumf.network import NeuMFParameters, score
from perennial.models.neumf.training import (
    NeuMFRates,
    estimate_memory,
    fresh_weights,
    negative_weight,
    train,
)
from perennial.models.scoring import context_blocks
from perennial.models.selection import (
    Candidate,
    HoldoutRecipe,
    Trial,
    choose,
    cross,
    report_choice,
    validate,
)
from perennial.models.training.batches import (
    as_batch,
    check_stored,
    pad_rows,
    with_padding,
    without_padding,
)
from perennial.models.training.loop import Check, Search
from perennial.storage.base import Json, derive_seed, require
from perennial.storage.errors import UserError

ITEM_ARRAYS = frozenset({"factor_users", "factor_items", "tower_users", "tower_items", "item_bias"})
"""Names of the parameters whose first axis is the items'."""

_BLOCK_PAIRS = 1 << 22


@dataclass(frozen=True)
class FittedNeuMF:
    """The averaged weights of a training, padded along the item axis, ready to score."""

    parameters: NeuMFParameters
    num_items: int
    report: Mapping[str, Json]

    def score_blocks(self, contexts: csr_array, block_rows: int) -> Iterator[NDArray[np.float32]]:
        """Compute the logits of each item for each context, which need be no training row."""
        step = score_rows(self.num_items, int(self.parameters.first_bias.shape[0]))
        for block in context_blocks(contexts, self.num_items, block_rows):
            scores = np.empty(block.shape, dtype=np.float32)
            for start in range(0, len(scores), step):
                part = scores[start : start + step]
                padded = score(self.parameters, as_batch(block[start : start + step]))
                part[:] = np.asarray(padded)[: len(part), : self.num_items]
            yield scores

    def to_arrays(self) -> tuple[dict[str, NDArray[Any]], dict[str, Json]]:
        """Return the parameters without padding, and a manifest with the widths and the report."""
        parameters = self.parameters
        manifest = {
            "num_items": self.num_items,
            "factors": int(parameters.factor_output.shape[0]),
            "embedding": int(parameters.user_layer.shape[0]),
            "hidden": int(parameters.first_bias.shape[0]),
            "report": dict(self.report),
        }
        arrays = without_padding(parameters._asdict(), ITEM_ARRAYS, self.num_items)
        return {name: np.array(values) for name, values in arrays.items()}, manifest


def score_rows(num_items: int, hidden: int) -> int:
    """Return the rows scored at a time, a power of two whose first layer takes about 16 MiB."""
    rows = max(1, _BLOCK_PAIRS // max(1, num_items * hidden))
    return pad_rows(1 << (rows.bit_length() - 1))


@dataclass(frozen=True)
class NeuMF(HoldoutRecipe[FittedNeuMF]):
    """Settings of NeuMF.

    Attributes:
        factors: width of the GMF part.
        embedding: width of the tower's embeddings.
        hidden: units of the tower's first layer; the second has half of them.
        dropout: share of the entries that are hidden from the users' embeddings at each update,
            and predicted.
        negatives: weight of all absences together, in that of all entries.
        learning_rates: the grid of Adam's, of which validation chooses by HR@100.
        averaging: how much of the running average of the weights stays at each update.
        batch_size: rows per update.
        num_candidates: items per update, drawn at random for all of its rows.
        max_updates: largest number of updates of a training.
        check_every: updates between two validations.
        patience: validations without a better HR@100 after which a training ends.
        validation_users: largest number of validation rows, a seeded sample.
    """

    name: ClassVar[str] = "neumf"

    factors: int = 128
    embedding: int = 16
    hidden: int = 16
    dropout: float = 0.5
    negatives: float = 4.0
    learning_rates: tuple[float, ...] = (0.01, 0.003)
    averaging: float = 0.98
    batch_size: int = 64
    num_candidates: int = 512
    max_updates: int = 3000
    check_every: int = 100
    patience: int = 4
    validation_users: int = 1000

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        for field in ("factors", "embedding", "batch_size", "num_candidates", "max_updates"):
            require(getattr(self, field) >= 1, f"{field} must be at least 1")
        for field in ("check_every", "patience", "validation_users"):
            require(getattr(self, field) >= 1, f"{field} must be at least 1")
        require(self.hidden >= 2, "hidden must be at least 2")
        require(0 < self.dropout < 1, "dropout must be in (0, 1)")
        require(self.negatives > 0, "negatives must be above 0")
        require(len(self.learning_rates) > 0, "learning_rates must name at least one")
        require(all(rate > 0 for rate in self.learning_rates), "learning_rates must be above 0")
        require(0 <= self.averaging < 1, "averaging must be in [0, 1)")

    def fit_with_holdout(
        self, holdout: Holdout, rows: TrainingRows, options: FitOptions
    ) -> FittedNeuMF:
        """Choose learning rate and number of updates on a given holdout, then train on `rows`."""
        needed = estimate_memory(
            rows.interactions,
            batch_size=self.batch_size,
            num_candidates=self.num_candidates,
            factors=self.factors,
            embedding=self.embedding,
            hidden=self.hidden,
            score_rows=score_rows(rows.num_items, self.hidden),
        )
        purpose = f"the weights and the optimiser of {rows.num_items:,} items"
        check_memory(
            "neumf", needed, options.memory_limit, purpose, "lower neumf's setting 'factors'"
        )
        sampled = _sample(holdout, self.validation_users, options.seed)

        def score(parameters: NeuMFParameters) -> float:
            model = FittedNeuMF(parameters, holdout.training.num_items, {})
            return validate(model.score_blocks(sampled.contexts, 1024), sampled, options)

        search = Search(self.patience, score, options)

        def attempt(candidate: Candidate) -> Trial:
            tried = f"neumf: learning rate {candidate['learning_rate']:g},"
            train = partial(
                self._train, holdout.training, candidate, self.max_updates, options.seed
            )
            return search.attempt(candidate, tried, train)

        trials = choose(cross({"learning_rate": self.learning_rates}), sampled, attempt)
        parameters = search.best
        if parameters is None or rows is not holdout.training:
            # Without validation rows a quarter of `max_updates` is a guess.
            updates = trials[0].steps or max(1, self.max_updates // 4)
            options.progress(f"neumf: refit with {updates} updates")
            parameters = self._train(rows, trials[0].candidate, updates, options.seed)
        report = {**report_choice(trials, sampled, rows), "bytes_estimated": needed}
        return FittedNeuMF(parameters, rows.num_items, report)

    def restore(
        self, arrays: Mapping[str, NDArray[Any]], manifest: Mapping[str, Json]
    ) -> FittedNeuMF:
        """Restore the model that `FittedNeuMF.to_arrays` was called on."""
        try:
            num_items, factors, embedding, hidden = (
                int(manifest[key]) for key in ("num_items", "factors", "embedding", "hidden")
            )
            report = dict(manifest["report"])
        except (KeyError, TypeError, ValueError):
            raise UserError("the saved NeuMF has a damaged manifest; fit the model again") from None
        shapes = {
            "factor_users": (num_items, factors),
            "factor_items": (num_items, factors),
            "tower_users": (num_items, embedding),
            "tower_items": (num_items, embedding),
            "item_bias": (num_items,),
            "factor_output": (factors,),
            "user_layer": (embedding, hidden),
            "item_layer": (embedding, hidden),
            "first_bias": (hidden,),
            "second_layer": (hidden, hidden // 2),
            "second_bias": (hidden // 2,),
            "tower_output": (hidden // 2,),
        }
        padded = with_padding(check_stored("NeuMF", arrays, shapes), ITEM_ARRAYS, num_items)
        return FittedNeuMF(NeuMFParameters(**padded), num_items, report)

    def _train(
        self,
        rows: TrainingRows,
        candidate: Candidate,
        num_updates: int,
        seed: int,
        check: Check[NeuMFParameters] | None = None,
    ) -> NeuMFParameters:
        fresh = fresh_weights(
            rows,
            self.negatives,
            factors=self.factors,
            embedding=self.embedding,
            hidden=self.hidden,
            seed=derive_seed(seed, "weights"),
        )
        numbers = (
            *(candidate["learning_rate"], self.dropout, self.averaging),
            *(negative_weight(rows, self.negatives), rows.num_items),
        )
        return train(
            fresh,
            rows,
            batch_size=self.batch_size,
            num_candidates=self.num_candidates,
            rates=NeuMFRates(*map(np.float32, numbers)),
            num_updates=num_updates,
            seed=derive_seed(seed, "training"),
            check_every=self.check_every,
            check=check,
        )


def _sample(holdout: Holdout, size: int, seed: int) -> Holdout:
    """Return at most `size` of the validation rows, the same ones at every validation."""
    if len(holdout.users) <= size:
        return holdout
    generator = np.random.default_rng(derive_seed(seed, "judged"))
    chosen = np.sort(generator.choice(len(holdout.users), size, replace=False))
    return holdout.take(chosen)
