"""LightGCN: embeddings smoothed over the graph of rows and items (He et al., SIGIR 2020)."""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import jax
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.models.base import FitOptions, Holdout, TrainingRows, check_memory
from perennial.models.lightgcn.graph import Graph, Propagated, make_graph
from perennial.models.lightgcn.loss import Loss, directions
from perennial.models.lightgcn.training import LightGCNTrainingSettings, estimate_memory, train
from perennial.models.scoring import context_blocks
from perennial.models.selection import (
    Candidate,
    HoldoutRecipe,
    Trial,
    choose,
    cross,
    describe,
    report_choice,
    validate_model,
)
from perennial.models.training.loop import Check, Search
from perennial.storage.base import Json, derive_seed, require
from perennial.storage.errors import UserError


@dataclass(frozen=True)
class FittedLightGCN:
    """Items' side of the graph, which any row can be joined to.

    A context is joined as a training row was: its layer l is Σ value · item's layer l−1 / √(d_row ·
    d_item), with the items' layers as they are, and its layer 0 is zero. So a training row gets the
    representation that it had in training.

    Attributes:
        sources: `(num_items, dim)` float32, an item's share in a row that has it: its layers
            below the last, over √d_item.
        targets: `(num_items, dim)` float32, the items' representations; of length 1 if `cosine`.
        cosine: True if rows are scaled to length 1 before they are compared.
    """

    sources: NDArray[np.float32]
    targets: NDArray[np.float32]
    cosine: bool
    report: Mapping[str, Json]

    @property
    def num_items(self) -> int:
        """Number of items."""
        return len(self.targets)

    def represent(self, contexts: csr_array) -> NDArray[np.float32]:
        """`(n, dim)` float32, the contexts' representations; zero for an empty one."""
        sums = contexts @ self.sources
        degrees = np.asarray(contexts.sum(axis=1), dtype=np.float32).reshape(-1, 1)
        rows = np.divide(sums, np.sqrt(degrees), out=np.zeros_like(sums), where=degrees > 0)
        return directions(rows) if self.cosine else rows

    def score_blocks(self, contexts: csr_array, block_rows: int) -> Iterator[NDArray[np.float32]]:
        """Compute the cosine, or inner product, of contexts with all items; 0 for an empty one."""
        for block in context_blocks(contexts, self.num_items, block_rows):
            yield self.represent(block.astype(np.float32, copy=False)) @ self.targets.T

    def to_arrays(self) -> tuple[dict[str, NDArray[Any]], dict[str, Json]]:
        """Return the two arrays, and a manifest with the report."""
        arrays = {"sources": self.sources, "targets": self.targets}
        return arrays, {"cosine": self.cosine, "report": dict(self.report)}


def make_model(
    graph: Graph, propagated: Propagated, cosine: bool, report: Mapping[str, Json]
) -> FittedLightGCN:
    """Make the model of a propagation."""
    return FittedLightGCN(
        sources=graph.item_scales[:, None] * propagated.below,
        targets=directions(propagated.items) if cosine else propagated.items,
        cosine=cosine,
        report=report,
    )


@dataclass(frozen=True)
class LightGCN(HoldoutRecipe[FittedLightGCN]):
    """Settings of LightGCN.

    Only items have embeddings of their own; a row's layer 0 is zero. The authors give rows some
    too, but a context is not a training row (it has grown, or is new),
    so what training put into its own embedding is missing from the answer. Validation HR@100 of
    rows folded in, 2 layers: with embeddings of rows 52.55 on the paper's split of ML-1M and 50.05
    on Magazine, without 56.35 and 53.77 (temperatures 0.15 and 0.2).

    The grid: 3 layers and 1 layer give 56.86 and 56.63 on ML-1M, 58.19 and 58.06 on Magazine; 2
    give 56.35 and 55.01. With 1 layer ML-1M has its best at a temperature of 0.15 (0.1: 54.45, 0.2:
    56.11), with 3 layers Magazine at 0.5 (0.15: 54.47, 1: 54.96). `bpr` is at 39.56 on ML-1M after
    100 updates, and still rising.

    Attributes:
        loss: `softmax` over all items, or the authors' `bpr`; see `perennial.models.lightgcn.loss`.
        layers: the grid of K, the layers of the propagation.
        temperatures: the grid of the temperature of `softmax`; `bpr` has none. Validation chooses
            by HR@100 among all pairs; a single pair is trained once, to find how long.
        dim: width of the embeddings.
        learning_rate: Adam's.
        l2: weight of half the squared length of the embeddings in the loss.
        max_updates: largest number of updates of a training.
        check_every: updates between two validations.
        patience: validations without a better HR@100 after which a training ends.
        batch_rows: rows whose loss an update takes; all, if there are fewer.
        batch_items: items, drawn at random, that an update takes it over; likewise.
        validation_users: largest number of validation rows, a seeded sample; `None` means all.
    """

    name: ClassVar[str] = "lightgcn"

    loss: Loss = "softmax"
    layers: tuple[int, ...] = (1, 3)
    temperatures: tuple[float, ...] = (0.15, 0.3, 0.5)
    dim: int = 64
    learning_rate: float = 0.05
    l2: float = 0.0
    max_updates: int = 200
    check_every: int = 10
    patience: int = 2
    batch_rows: int = 8192
    batch_items: int = 4096
    validation_users: int | None = 2000

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        counts = ("dim", "max_updates", "check_every", "patience", "batch_rows", "batch_items")
        for setting in counts:
            require(getattr(self, setting) >= 1, f"{setting} must be at least 1")
        require(
            self.validation_users is None or self.validation_users >= 1,
            "validation_users must be at least 1",
        )
        require(bool(self.layers) and min(self.layers) >= 1, "layers must name numbers from 1 on")
        require(
            bool(self.temperatures) and all(0 < one < np.inf for one in self.temperatures),
            "temperatures must name numbers above 0",
        )
        require(self.learning_rate > 0, "learning_rate must be above 0")
        require(self.l2 >= 0, "l2 must not be negative")

    def fit_with_holdout(
        self, holdout: Holdout, rows: TrainingRows, options: FitOptions
    ) -> FittedLightGCN:
        """Choose on a given holdout, then train on `rows`."""
        needed = estimate_memory(
            rows.num_rows,
            rows.num_items,
            rows.interactions.nnz,
            dim=self.dim,
            batch_items=self.batch_items,
            on_device=jax.default_backend() != "cpu",
        )
        purpose = (
            f"{rows.num_rows:,} rows, {rows.num_items:,} items and "
            f"{rows.interactions.nnz:,} interactions"
        )
        check_memory(
            "lightgcn",
            needed,
            options.memory_limit,
            purpose,
            "lower --max-rows or lightgcn's setting 'dim'",
        )
        graph = make_graph(holdout.training.interactions)

        def score(propagated: Propagated) -> float:
            return validate_model(self._model(graph, propagated), holdout, options)

        search = Search(self.patience, score, options)
        axes: dict[str, tuple[float, ...]] = {"layers": self.layers}
        if self.loss != "bpr":
            axes["temperature"] = self.temperatures

        def attempt(candidate: Candidate) -> Trial:
            tried = f"lightgcn, {describe(candidate)}:"
            train = partial(
                self._train, graph, holdout.training, candidate, self.max_updates, options.seed
            )
            return search.attempt(candidate, tried, train)

        trials = choose(cross(axes), holdout, attempt)
        if search.best is not None and rows is holdout.training:
            model = self._model(graph, search.best)
        else:
            graph = make_graph(rows.interactions)
            # Without validation rows a quarter of `max_updates` is a guess.
            updates = trials[0].steps or max(1, self.max_updates // 4)
            options.progress(f"lightgcn: refit, {updates} updates")
            trained = self._train(graph, rows, trials[0].candidate, updates, options.seed)
            model = self._model(graph, trained)
        report = {
            "rows_given": rows.num_rows,
            **report_choice(trials, holdout, rows),
            "bytes_estimated": needed,
        }
        return dataclasses.replace(model, report=report)

    def restore(
        self, arrays: Mapping[str, NDArray[Any]], manifest: Mapping[str, Json]
    ) -> FittedLightGCN:
        """Restore the model that `FittedLightGCN.to_arrays` was called on."""
        try:
            cosine, report = bool(manifest["cosine"]), dict(manifest["report"])
        except (KeyError, TypeError, ValueError):
            raise UserError(
                "the saved LightGCN has a damaged manifest; fit the model again"
            ) from None
        sources, targets = arrays.get("sources"), arrays.get("targets")
        for values in (sources, targets):
            if values is None or values.dtype != np.float32 or values.ndim != 2:
                raise UserError("the saved LightGCN lacks a float32 matrix; fit the model again")
        if sources is None or targets is None or sources.shape != targets.shape:
            raise UserError("the saved LightGCN has matrices of two shapes; fit the model again")
        return FittedLightGCN(sources, targets, cosine, report)

    def training_settings(self, candidate: Candidate) -> LightGCNTrainingSettings:
        """Return the settings of a training with a candidate."""
        return LightGCNTrainingSettings(
            loss=self.loss,
            layers=int(candidate["layers"]),
            temperature=float(candidate.get("temperature", 1.0)),
            dim=self.dim,
            learning_rate=self.learning_rate,
            l2=self.l2,
            batch_rows=self.batch_rows,
            batch_items=self.batch_items,
        )

    def _train(
        self,
        graph: Graph,
        rows: TrainingRows,
        candidate: Candidate,
        num_updates: int,
        seed: int,
        check: Check[Propagated] | None = None,
    ) -> Propagated:
        return train(
            graph,
            rows.interactions,
            rows.weights,
            settings=self.training_settings(candidate),
            num_updates=num_updates,
            seed=derive_seed(seed, "training"),
            check_every=self.check_every,
            check=check,
        )

    def _model(self, graph: Graph, propagated: Propagated) -> FittedLightGCN:
        return make_model(graph, propagated, self.loss == "softmax", {})
