"""Questions to the published model, and its answers: everything in memory, nothing is fitted."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

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
from perennial.replay.recommend.catalogue import Catalogue, UnknownName
from perennial.replay.recommend.reasons import Reason, find_reasons
from perennial.storage.errors import UserError
from perennial.storage.log.periods import list_periods
from perennial.storage.results.fits import Fit, find_fit, read_model
from perennial.storage.results.publications import newest_publication
from perennial.storage.store import Store

__all__ = [
    "RankedUsers",
    "Reason",
    "RecommendationQuery",
    "RecommendedItem",
    "Recommender",
    "UnknownName",
]

_BLOCK_BYTES = 64 << 20
"""Scores that exist at a time when many users are answered."""


@dataclass(frozen=True)
class RecommendationQuery:
    """What someone asks.

    Attributes:
        user: someone the store knows, or `None`.
        items: instead of a user, what someone unknown likes.
        k: how many items, ≥ 1.
        exclude: items to leave out; those that nobody knows are left out anyway.
        exclude_seen: leave out what the user has had, or `items`.
        why: tell which training rows speak for each item.
    """

    user: str | int | None = None
    items: tuple[str | int, ...] = ()
    k: int = 10
    exclude: tuple[str | int, ...] = ()
    exclude_seen: bool = True
    why: bool = False

    def check(self) -> None:
        """Refuse what makes no sense.

        Raises:
            UserError: neither or both of user and items, or fewer than one item wanted.
        """
        if (self.user is None) == (not self.items):
            raise UserError("give either a user or items that someone likes")
        if self.k < 1:
            raise UserError(f"{self.k} recommendations make no sense; ask for at least 1")


@dataclass(frozen=True)
class RecommendedItem:
    """An item for someone.

    Attributes:
        item: its identifier, as it went into the store.
        score: the model's; only the order of a user's scores means something.
        title: what people call it, if that is known.
        reasons: the training rows that speak for it most, where asked for.
    """

    item: str | int
    score: float
    title: str | None
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True)
class RankedUsers:
    """The best items of a block of users.

    Attributes:
        users: `(b,)` rows of `Catalogue.histories`.
        items: `(b, k)` int32, best first; −1 where there are fewer.
        scores: `(b, k)` float32; undefined where there is no item.
    """

    users: NDArray[np.int64]
    items: NDArray[np.int32]
    scores: NDArray[np.float32]


@dataclass(frozen=True)
class Recommender:
    """A model and all that it takes to ask it; safe to ask from several threads at once.

    Attributes:
        period: the newest one that the model has seen.
        published: when, UTC, without a zone; now for a model that is not.
        fit_key: of its fit; nothing for a model that is not published.
        strategy: what it was fitted on.
        model_name: what was fitted.
        model: the model.
        known: what the store knows of users and items.
        fitted_on_newest: whether its rows of real users are exactly those of `period`.
    """

    period: int
    published: datetime
    fit_key: str
    strategy: str
    model_name: str
    model: FittedModel
    known: Catalogue
    fitted_on_newest: bool = False

    @property
    def num_items(self) -> int:
        """Items that the model knows."""
        return self.model.num_items

    @property
    def num_users(self) -> int:
        """Users that the store knows."""
        return self.known.num_users

    @classmethod
    def load(cls, store: Store, users: Sequence[str | int] | None = None) -> "Recommender":
        """Take the published model of a store; the store may be closed afterwards.

        Args:
            store: with a live configuration; reading it is enough.
            users: who can be asked about; everybody unless told.

        Raises:
            UserError: no live configuration, nothing published yet, or the model's file is lost.
        """
        config = ReplayConfig.from_json(require_live(store).config)
        where = store.path or "the store"
        published = newest_publication(store)
        if published is None:
            raise UserError(
                f"{where} has no published model yet; `perennial ingest` makes one of each period"
            )
        kept = read_model(store, published.fit_key)
        if kept is None:
            raise UserError(
                f"the model of period {published.period} is lost or damaged in "
                f"{store.models_folder}; `perennial update` makes it again"
            )
        choice = config.models[0]
        model = make_recipe(choice.name, choice.settings).restore(*kept)
        # The first question to a model compiles its code.
        next(model.score_blocks(csr_array((1, model.num_items), dtype=np.float32), 1))
        return cls(
            period=published.period,
            published=published.published,
            fit_key=published.fit_key,
            strategy=config.strategies[0],
            model_name=choice.name,
            model=model,
            known=Catalogue.load(store, users),
            fitted_on_newest=_on_newest(
                store, find_fit(store, published.fit_key), published.period
            ),
        )

    def of_those_in(self, store: Store) -> "Recommender | None":
        """The same for all but users that the store has no more; `None` where it has them all."""
        known = self.known.of_those_in(store)
        if len(known.user_rows) == len(self.known.user_rows):
            return None
        return replace(self, known=known)

    @classmethod
    def of_model(
        cls, store: Store, model: FittedModel, strategy: str, name: str, known: Catalogue
    ) -> "Recommender":
        """Take a model that was fitted on the newest period and not published."""
        return cls(
            period=list_periods(store)[-1].period,
            published=Clock().now(),
            fit_key="",
            strategy=strategy,
            model_name=name,
            model=model,
            known=known,
        )

    def answer(self, question: RecommendationQuery) -> tuple[RecommendedItem, ...]:
        """The best items for someone, best first; fewer than asked for where there are no more.

        Raises:
            UserError: a question that makes no sense, or the model cannot tell why.
            UnknownName: a user or an item that the store does not know.
        """
        question.check()
        if question.why:
            require_reasons(self.model, self.model_name)
        context = self._fit_width(self.known.context(question.user, question.items))
        (scores,) = self.model.score_blocks(context, 1)
        exclude = self._fit_width(self.known.marked(question.exclude))
        excluded = _excluded(context, exclude, question.exclude_seen)
        ranking = top_items(scores, excluded, question.k, tie_seed=0)[0]
        ranking = ranking[ranking >= 0]
        reasons: tuple[tuple[Reason, ...], ...] = ((),) * len(ranking)
        if question.why and isinstance(self.model, ExplainableModel):
            reasons = find_reasons(
                self.model.explain(context, ranking),
                context,
                self.known,
                on_newest=self.fitted_on_newest,
            )
        return tuple(
            self._answer(item, score, why)
            for item, score, why in zip(
                ranking.tolist(), scores[0, ranking].tolist(), reasons, strict=True
            )
        )

    def answer_users(
        self,
        users: Sequence[str | int],
        k: int = 10,
        *,
        exclude: Sequence[str | int] = (),
        exclude_seen: bool = True,
    ) -> Iterator[tuple[str | int, tuple[RecommendedItem, ...]]]:
        """Answer many users, block by block; arguments as `RecommendationQuery`.

        Yields:
            Each user, as in the store, with their answers, in the order of `users`.

        Raises:
            UserError: fewer than one item wanted.
            UnknownName: a user that the store does not know; before the first answer.
        """
        for block in self.rank_users(users, k, exclude=exclude, exclude_seen=exclude_seen):
            for user, items, scores in zip(
                block.users.tolist(), block.items.tolist(), block.scores.tolist(), strict=True
            ):
                yield (
                    self.known.user_ids[user],
                    tuple(
                        self._answer(item, score)
                        for item, score in zip(items, scores, strict=True)
                        if item >= 0
                    ),
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
        """As `answer_users`, in arrays; `progress` is told how many users are answered."""
        if k < 1:
            raise UserError(f"{k} recommendations make no sense; ask for at least 1")
        rows = self.known.rows_of(users)
        contexts = self._fit_width(self.known.histories[rows])
        left_out = self._fit_width(self.known.marked(exclude))
        block_rows = max(1, _BLOCK_BYTES // (4 * max(1, self.num_items)))
        start = 0
        for scores in self.model.score_blocks(contexts, block_rows):
            asked = slice(start, start + len(scores))
            excluded = _excluded(csr_array(contexts[asked]), left_out, exclude_seen)
            items = top_items(scores, excluded, k, tie_seed=0)
            best = np.take_along_axis(scores, np.maximum(items, 0), axis=1)
            yield RankedUsers(rows[asked], items, best)
            start = asked.stop
            if progress is not None:
                progress(start)

    def _fit_width(self, rows: csr_array) -> csr_array:
        """Rows over the items of the model: later ones are dropped."""
        return rows if rows.shape[1] == self.num_items else csr_array(rows[:, : self.num_items])

    def _answer(self, item: int, score: float, reasons: tuple[Reason, ...] = ()) -> RecommendedItem:
        name = self.known.item_ids[item]
        return RecommendedItem(name, score, self.known.title(name), reasons)


def require_reasons(model: FittedModel, name: str) -> None:
    """Refuse to say why for a model that cannot.

    Raises:
        UserError: it cannot.
    """
    if not isinstance(model, ExplainableModel):
        raise UserError(f"{name} cannot tell why it recommends something; only infinite-ae can")


def _excluded(context: csr_array, exclude: csr_array, exclude_seen: bool) -> csr_array | None:
    """What may not be ranked, per row of the context; `None` for nothing."""
    if exclude.nnz == 0:
        return context if exclude_seen else None
    num_rows = context.shape[0]
    repeated = csr_array(
        (
            np.tile(exclude.data, num_rows),
            np.tile(exclude.indices, num_rows),
            exclude.nnz * np.arange(num_rows + 1, dtype=np.int64),
        ),
        shape=context.shape,
    )
    return csr_array(context + repeated) if exclude_seen else repeated


def _on_newest(store: Store, fit: Fit | None, period: int) -> bool:
    """Whether the real users among a fit's rows are those of one period, all told.

    A strategy takes at least these; where it was given no more, it was given exactly these.
    """
    report: dict[str, Any] = dict(fit.report) if fit is not None else {}
    given, replayed = report.get("rows_given"), report.get("kept_rows")
    users = {one.period: one.users for one in list_periods(store)}.get(period)
    return given is not None and replayed is not None and given - replayed == users
