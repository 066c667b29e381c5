"""Recommendations from a fitted model and a catalogue in memory; nothing is fitted here."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.models.base import FittedModel
from perennial.models.infinite_ae.explanations import ExplainableModel
from perennial.models.ranking import top_items
from perennial.models.registry import make_recipe
from perennial.replay.config import ReplayConfig
from perennial.replay.live.setup import require_live
from perennial.replay.machine import Clock
from perennial.replay.recommend.catalogue import Catalogue
from perennial.replay.recommend.reasons import Reason, find_reasons
from perennial.storage.errors import UserError
from perennial.storage.log.periods import list_periods
from perennial.storage.results.fits import Fit, find_fit, read_model
from perennial.storage.results.publications import newest_publication
from perennial.storage.store import Store

_BLOCK_BYTES = 64 << 20
"""Size of one block of scores when many users are ranked."""


@dataclass(frozen=True)
class RecommendationQuery:
    """Query for the recommendations of one user.

    Attributes:
        items: instead of a user, items that an unknown user likes.
        k: number of items to recommend, ≥ 1.
    """

    user: str | int | None = None
    items: tuple[str | int, ...] = ()
    k: int = 10
    exclude: tuple[str | int, ...] = ()
    exclude_seen: bool = True
    why: bool = False

    def validate(self) -> None:
        """Raise a `UserError` for k < 1, and for neither or both of user and items."""
        if (self.user is None) == (not self.items):
            raise UserError("give either a user or items that someone likes")
        check_k(self.k)


@dataclass(frozen=True)
class RecommendedItem:
    """One recommended item.

    Only the order of one user's scores has a meaning. The reasons are training rows that contribute
    most to the score, if requested.
    """

    item: str | int
    score: float
    title: str | None
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True)
class RankedUsers:
    """Best items of a block of users.

    Attributes:
        users: `(b,)` rows of `Catalogue.histories`.
        items: `(b, k)` int32, best first; −1 where a user has fewer.
        scores: `(b, k)` float32; undefined where there is no item.
    """

    users: NDArray[np.int64]
    items: NDArray[np.int32]
    scores: NDArray[np.float32]


@dataclass(frozen=True)
class Recommender:
    """A fitted model with the catalogue of its store; safe to use from several threads at once.

    Attributes:
        period: newest period that the model was fitted on.
        published: UTC time of its publication, without a zone; of loading if it is not published.
        fit_key: key of its fit; empty for a model that is not published.
        fitted_on_newest: whether its rows of real users are exactly those of `period`.
    """

    period: int
    published: datetime
    fit_key: str
    strategy: str
    model_name: str
    model: FittedModel
    catalogue: Catalogue
    fitted_on_newest: bool = False

    @property
    def num_items(self) -> int:
        """Number of items that the model can score."""
        return self.model.num_items

    @classmethod
    def load(cls, store: Store, users: Sequence[str | int] | None = None) -> "Recommender":
        """Load the published model of a store; the store may be closed afterwards.

        Read access is enough. Only `users` can be recommended to; all if `None`.

        Raises:
            UserError: no live configuration, nothing published yet, or the model's file is lost.
        """
        config = ReplayConfig.from_json(require_live(store).config)
        where = store.path or "the store"
        publication = newest_publication(store)
        if publication is None:
            raise UserError(
                f"{where} has no published model yet; `perennial ingest` makes one of each period"
            )
        files = read_model(store, publication.fit_key)
        if files is None:
            raise UserError(
                f"the model of period {publication.period} is lost or damaged in "
                f"{store.models_folder}; `perennial update` makes it again"
            )
        choice = config.models[0]
        model = make_recipe(choice.name, choice.settings).restore(*files)
        # The first scores compile the model's code.
        next(model.score_blocks(csr_array(np.zeros((1, model.num_items), dtype=np.float32)), 1))
        fit = find_fit(store, publication.fit_key)
        return cls(
            period=publication.period,
            published=publication.published,
            fit_key=publication.fit_key,
            strategy=config.strategies[0],
            model_name=choice.name,
            model=model,
            catalogue=Catalogue.load(store, users),
            fitted_on_newest=_fitted_on_newest(store, fit, publication.period),
        )

    @classmethod
    def from_model(
        cls, store: Store, model: FittedModel, strategy: str, name: str, catalogue: Catalogue
    ) -> "Recommender":
        """Wrap a model that was fitted on the newest period and is not published."""
        return cls(
            period=list_periods(store)[-1].period,
            published=Clock().now(),
            fit_key="",
            strategy=strategy,
            model_name=name,
            model=model,
            catalogue=catalogue,
        )

    @property
    def has_erased_users(self) -> bool:
        """Return whether histories of dropped users are still in memory."""
        return len(self.catalogue.user_rows) < len(self.catalogue.user_ids)

    def without_erased_users(self, store: Store) -> "Recommender":
        """Drop the users that `store` no longer has: they become unknown."""
        return replace(self, catalogue=self.catalogue.without_erased_users(store))

    def recommend(self, query: RecommendationQuery) -> tuple[RecommendedItem, ...]:
        """Recommend at most `query.k` items to one user, best first.

        A query that makes no sense, and a model that cannot explain its scores, are a `UserError`,
        and a user or an item that is not in the store an `UnknownName`.
        """
        query.validate()
        if query.why and not isinstance(self.model, ExplainableModel):
            raise UserError(
                f"{self.model_name} cannot explain its recommendations; only infinite-ae can"
            )
        context = self._to_model_width(self.catalogue.context(query.user, query.items))
        (scores,) = self.model.score_blocks(context, 1)
        excluded = self._to_model_width(self.catalogue.indicator(query.exclude))
        mask = _mask(context, excluded, query.exclude_seen)
        ranking = top_items(scores, mask, query.k, tie_seed=0)[0]
        ranking = ranking[ranking >= 0]
        reasons: tuple[tuple[Reason, ...], ...] = ((),) * len(ranking)
        if query.why and isinstance(self.model, ExplainableModel):
            reasons = find_reasons(
                self.model.explain(context, ranking),
                context,
                self.catalogue,
                on_newest=self.fitted_on_newest,
            )
        names = [self.catalogue.item_ids[item] for item in ranking.tolist()]
        return tuple(
            RecommendedItem(name, score, self.catalogue.title(name), rows)
            for name, score, rows in zip(names, scores[0, ranking].tolist(), reasons, strict=True)
        )

    def rank_users(
        self,
        users: Sequence[str | int],
        k: int = 10,
        *,
        exclude: Sequence[str | int] = (),
        exclude_seen: bool = True,
        progress: Callable[[int], None] | None = None,
    ) -> Iterator[RankedUsers]:
        """Rank `k` ≥ 1 items for many users, block by block, in the order of `users`.

        Unknown items in `exclude` are ignored; `progress` is called with the number of users done.

        Raises:
            UserError: k < 1.
            UnknownName: a user that is not in the store; before the first block.
        """
        check_k(k)
        rows = self.catalogue.find_rows(users)
        contexts = self._to_model_width(self.catalogue.histories[rows])
        excluded = self._to_model_width(self.catalogue.indicator(exclude))
        start = 0
        for items, scores in rank_contexts(self.model, contexts, k, excluded, exclude_seen):
            yield RankedUsers(rows[start : start + len(items)], items, scores)
            start += len(items)
            if progress is not None:
                progress(start)

    def _to_model_width(self, rows: csr_array) -> csr_array:
        """Drop the columns of items that the model cannot score."""
        return rows if rows.shape[1] == self.num_items else csr_array(rows[:, : self.num_items])


def rank_contexts(
    model: FittedModel, contexts: csr_array, k: int, excluded: csr_array, exclude_seen: bool
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.float32]]]:
    """Rank `k` ≥ 1 items for each context, block by block.

    Contexts are `(n, num_items)` float32, and the items of the row `excluded`, `(1, num_items)`,
    are not ranked. Items and scores are `(b, k)`, as in `RankedUsers`.
    """
    block_rows = max(1, _BLOCK_BYTES // (4 * max(1, model.num_items)))
    start = 0
    for scores in model.score_blocks(contexts, block_rows):
        block = csr_array(contexts[start : start + len(scores)])
        items = top_items(scores, _mask(block, excluded, exclude_seen), k, tie_seed=0)
        yield items, np.take_along_axis(scores, np.maximum(items, 0), axis=1)
        start += len(scores)


def check_k(k: int) -> None:
    """Raise `UserError` for k < 1."""
    if k < 1:
        raise UserError(f"{k} recommendations make no sense; ask for at least 1")


def _mask(context: csr_array, excluded: csr_array, exclude_seen: bool) -> csr_array | None:
    """Mark the items that may not be ranked, per row of the context; `None` for none."""
    if excluded.nnz == 0:
        return context if exclude_seen else None
    num_rows = context.shape[0]
    repeated = csr_array(
        (
            np.tile(excluded.data, num_rows),
            np.tile(excluded.indices, num_rows),
            excluded.nnz * np.arange(num_rows + 1, dtype=np.int64),
        ),
        shape=context.shape,
    )
    return csr_array(context + repeated) if exclude_seen else repeated


def _fitted_on_newest(store: Store, fit: Fit | None, period: int) -> bool:
    """Return whether the real users among a fit's rows are exactly those of one period.

    Every strategy fits on at least these, so an equal number means the same users.
    """
    report = {} if fit is None else fit.report
    given, replayed = report.get("rows_given"), report.get("kept_rows")
    users = {row.period: row.users for row in list_periods(store)}.get(period)
    return given is not None and replayed is not None and given - replayed == users
