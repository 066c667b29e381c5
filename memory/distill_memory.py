"""Memory of DISTILL-CF: a summary after each period, made once and kept in the store."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.sparse import csr_array, vstack

from perennial.memory.base import Memory, replayed_rows
from perennial.memory.budget import Policy, share_budget
from perennial.memory.distill.loop import distill
from perennial.memory.distill.reservoir import extend_summary
from perennial.memory.distill.settings import DistillSettings
from perennial.memory.distill.summary import Summary, report_steps
from perennial.models.base import FittedModel, TrainingRows
from perennial.models.mesh import round_up
from perennial.storage.base import Json, Progress, derive_seed, ignore_progress
from perennial.storage.log.matrices import count_known_users
from perennial.storage.log.periods import fingerprint, first_retained_period
from perennial.storage.results.summaries import (
    StoredSummary,
    SummaryRecord,
    find_summary,
    insert_summary,
    list_summaries,
)
from perennial.storage.results.versions import read_versions
from perennial.storage.store import Store
from perennial.stream.history import History

_WIDTH_STEP = 64
"""Rows are padded to a multiple of this, so that few shapes are compiled."""


@dataclass(frozen=True)
class DistillMemory(Memory):
    """Summaries of the periods before t.

    They stay on the default device between periods, and the store has a copy of each.

    Attributes:
        budget: B, the most rows that are replayed.
        policy: by which B is shared among the periods.
        weight: of a synthetic user; a real user has weight 1.
        settings: of the distillation; B replaces its number of synthetic users.
        summaries: oldest first; under `rolling` and `whole` the newest stands for all periods.
    """

    budget: int
    policy: Policy
    weight: float
    settings: DistillSettings
    summaries: "tuple[DeviceSummary, ...]" = ()

    def replay_rows(self, num_items: int) -> TrainingRows | None:
        """Return a prefix of each summary, widened to the present catalogue."""
        sizes = [summary.rows.num_rows for summary in self.summaries]
        shares = share_budget(self.budget, sizes, self.policy)
        if sum(shares) == 0:
            return None
        parts = [
            summary.rows.fetch(share, num_items)
            for summary, share in zip(self.summaries, shares, strict=True)
        ]
        periods = np.repeat([summary.record.period for summary in self.summaries], shares)
        rows = csr_array(vstack(parts, format="csr"), dtype=np.float32)
        return replayed_rows(rows, self.weight, periods.astype(np.int32))

    @property
    def reach(self) -> int | None:
        """Reach of the policy."""
        return self.policy.reach

    def first_period(self, last: int) -> int:
        """Return the first period of the oldest summary."""
        return self.summaries[0].record.first_period if self.summaries else last

    def update(
        self,
        history: History,
        model: FittedModel | None,
        seed: int,
        progress: Progress = ignore_progress,
        *,
        chain_seed: int | None = None,
    ) -> "DistillMemory":
        """Distil period `history.period`, or read its summary from the store.

        If the store no longer holds the period's interactions, a summary of other code or settings
        is taken; without any, the period is left out.
        """
        settings = dataclasses.asdict(self._distillation)
        key = self._key(history, seed, read_versions(), settings, self._keys_before)
        summary = find_summary(history.store, key)
        if summary is None and history.period < first_retained_period(history.store):
            summary = self._made_otherwise(history, seed)
            if summary is None:
                progress(f"nothing is remembered of period {history.period}: its log is gone")
                return self
        if summary is None:
            summary = self._distil(history, seed, key, progress)
            insert_summary(history.store, summary)
        newest = DeviceSummary(summary.record, ResidentRows.place(summary.rows))
        kept = self.policy.newest((*self.summaries, newest))
        return dataclasses.replace(self, summaries=kept)

    @cached_property
    def _distillation(self) -> DistillSettings:
        """Settings with B as the number of synthetic users."""
        return dataclasses.replace(self.settings, num_synthetic_users=self.budget)

    def _made_otherwise(self, history: History, seed: int) -> StoredSummary | None:
        """Return the newest summary of this period by other code, or also with other settings.

        Of settings those in use until last are the best. Code of version 0.1.0 had one key for
        summaries of a period, rolling or not.
        """
        newest_first = [one for one in list_summaries(history.store)[::-1] if one.seed == seed]
        settings = {json.dumps(one.settings): one.settings for one in newest_first}
        keys = self._keys_before
        of_period = [one for one in newest_first if one.period == history.period]
        for before, given, record in product(
            (keys, [key for key in keys if key]),
            (dataclasses.asdict(self._distillation), *settings.values()),
            of_period,
        ):
            if record.key == self._key(history, seed, record.versions, given, before):
                return find_summary(history.store, record.key)
        return None

    def _key(
        self,
        history: History,
        seed: int,
        versions: Mapping[str, str],
        settings: Mapping[str, Json],
        before: Sequence[str | None],
    ) -> str:
        """Return the key of the summary of period `history.period`."""
        first = self._first_period(history.period)
        return _summary_key(history.fingerprint, settings, seed, versions, first, before)

    @property
    def _keys_before(self) -> list[str | None]:
        """Keys of `_before`; of the first rolling summary, which extends an empty one, `None`.

        Other policies distil the same period in another way.
        """
        if self.policy.name != "rolling":
            return []
        return [summary.record.key for summary in self._before] or [None]

    @property
    def _before(self) -> "tuple[DeviceSummary, ...]":
        """Summaries that the next one is made from."""
        return self.summaries[-1:] if self.policy.name == "rolling" else ()

    def _first_period(self, period: int) -> int:
        """Return the first period that the next summary stands for."""
        if self.policy.name == "whole":
            return 1
        return self._before[0].record.first_period if self._before else period

    def _distil(self, history: History, seed: int, key: str, progress: Progress) -> StoredSummary:
        first = self._first_period(history.period)
        draws = derive_seed(seed, history.period, "memory")
        if self.policy.name == "rolling":
            progress(f"remembering the new users of period {history.period}")
            summary = self._extend(history, draws)
        else:
            folder = None if history.store.path is None else history.store.models_folder
            summary = distill(
                TrainingRows.of_users(history.rows(first=first)),
                self._distillation,
                draws,
                checkpoint=None if folder is None else folder / f"distill-{key}.safetensors",
                listener=report_steps(progress, f"distilling period {history.period}"),
            )
        if summary.report.get("interrupted"):
            # The next replay resumes from the checkpoint; an incomplete summary is not stored.
            raise KeyboardInterrupt
        record = SummaryRecord(
            key=key,
            first_period=first,
            period=history.period,
            seed=seed,
            settings=dataclasses.asdict(self._distillation),
            report=summary.report,
            versions=read_versions(),
            num_rows=summary.num_rows,
            num_items=summary.rows.shape[1],
            num_entries=summary.rows.nnz,
            created=datetime.now(UTC).replace(tzinfo=None),
        )
        return StoredSummary(record, summary.rows)

    def _extend(self, history: History, seed: int) -> Summary:
        """Return the summary before, extended by the new users of period `history.period`."""
        users = history.rows(first=history.period)
        is_new = users.users >= count_known_users(history.store, history.period - 1)
        before = self._before[0].fetch() if self._before else None
        return extend_summary(
            before, TrainingRows.of_users(users), is_new, self._distillation, seed
        )


def _summary_key(
    log: str,
    settings: Mapping[str, Json],
    seed: int,
    versions: Mapping[str, str],
    first: int,
    before: Sequence[str | None],
) -> str:
    """Return the key of a summary: of all it follows from, not of strategy, model or weight."""
    parts = {
        "log": log,
        "settings": dict(settings),
        "seed": seed,
        "versions": dict(versions),
        "first": first,
        "before": list(before),
    }
    text = json.dumps(parts, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=20).hexdigest()


def is_rolling(store: Store, record: SummaryRecord) -> bool:
    """Return whether a summary extends one of earlier periods, or an empty one."""
    log = fingerprint(store, record.period)
    made = (log, record.settings, record.seed, record.versions, record.first_period)
    earlier = (one.key for one in list_summaries(store) if one.period < record.period)
    return any(_summary_key(*made, [key]) == record.key for key in (None, *earlier))


@dataclass(frozen=True)
class DeviceSummary:
    """A summary in the memory: its rows on the default device, its record on the host."""

    record: SummaryRecord
    rows: "ResidentRows"

    def fetch(self) -> Summary:
        """Return the summary on the host."""
        rows = self.rows.fetch(self.rows.num_rows, self.record.num_items)
        return Summary(rows, self.record.report)


@dataclass(frozen=True)
class ResidentRows:
    """Sparse rows as two arrays on the default device.

    Attributes:
        items: `(n, k)` int32, each row's items in increasing order, then zeros.
        weights: `(n, k)` float32 in (0, 1], then zeros.
    """

    items: Array
    weights: Array

    @classmethod
    def place(cls, rows: csr_array) -> "ResidentRows":
        """Send rows `(n, num_items)` float32 to the default device.

        Columns are in increasing order, without stored zeros.
        """
        lengths = np.diff(rows.indptr)
        longest = int(lengths.max()) if len(lengths) else 0
        width = round_up(longest, _WIDTH_STEP)
        filled = np.arange(width) < lengths[:, None]
        items = np.zeros((len(lengths), width), dtype=np.int32)
        weights = np.zeros((len(lengths), width), dtype=np.float32)
        items[filled], weights[filled] = rows.indices, rows.data
        return cls(jnp.asarray(items), jnp.asarray(weights))

    def fetch(self, count: int, num_items: int) -> csr_array:
        """Return the first `count` rows on the host, `(count, num_items)`, in one transfer.

        Raises:
            ValueError: a row has an item beyond `num_items`.
        """
        items, weights = jax.device_get((self.items[:count], self.weights[:count]))
        filled = weights > 0
        if filled.any() and int(items[filled].max()) >= num_items:
            raise ValueError(f"rows cannot be narrowed to {num_items} items")
        offsets = np.concatenate([[0], filled.sum(axis=1).cumsum()]).astype(np.int32)
        return csr_array((weights[filled], items[filled], offsets), shape=(len(items), num_items))

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return len(self.items)
