"""Small deterministic models, a strategy, a memory, a distillation and a log, for tests."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from perennial.memory.base import Memory, join_rows, replayed_rows
from perennial.memory.distill.summary import Summary
from perennial.models.base import FitOptions, TrainingRows
from perennial.models.registry import MODELS
from perennial.replay.events import CellFinished, Event
from perennial.replay.strategies.base import WarmStart
from perennial.replay.strategies.registry import STRATEGIES
from perennial.storage.log.ingest import ingest_log
from perennial.storage.reading.settings import IngestSettings
from perennial.storage.store import Store
from perennial.stream.history import History

BYTES_PER_ROW = 1000
"""Memory that the popularity model pretends to need."""


def register_plugins(monkeypatch: Any) -> None:
    """Add the models and the strategy to the registries as a new file and a line in each would."""
    monkeypatch.setitem(MODELS, "popularity", "toys:Popularity")
    monkeypatch.setitem(MODELS, "teacher", "toys:PopularityTeacher")
    monkeypatch.setitem(STRATEGIES, "toy", "toys:Toy")
    monkeypatch.setitem(STRATEGIES, "stored-toy", "toys:StoredToy")


def register_toys(monkeypatch: Any) -> None:
    """Register the plugins, and fix the version of the code that the loop records."""
    register_plugins(monkeypatch)
    # The real one would notice sources edited between two processes of a test.
    monkeypatch.setattr("perennial.replay.loop.read_versions", lambda: {"code": "toys"})


def write_log(path: Path, num_periods: int = 5, seed: int = 0) -> Path:
    """A CSV log with days as times: users come and go, and items become known over time."""
    rng = np.random.default_rng(seed)
    lines = ["user_id,item_id,timestamp"]
    for day in range(num_periods):
        for user in rng.choice(40, size=15, replace=False):
            items = rng.zipf(1.4, size=8) % (12 + 4 * day)
            for second, item in enumerate(dict.fromkeys(items.tolist())):
                lines.append(f"u{user},i{item},{1_000_000_000 + 86_400 * day + 60 * second}")
    path.write_text("\n".join(lines) + "\n")
    return path


def fill(store: Store, path: Path, num_periods: int = 5) -> Store:
    """Put a log of `write_log` into a store, one period a day."""
    starts = (1_000_000_000 + 86_400 * np.arange(1, num_periods)) * 1_000_000
    ingest_log(store, [path], lambda _times: starts.astype(np.int64), IngestSettings())
    return store


@dataclasses.dataclass(frozen=True)
class PopularityModel:
    """Scores items by counts, nudged by what the context's items are."""

    counts: np.ndarray
    report: Mapping[str, Any]

    @property
    def num_items(self) -> int:
        return len(self.counts)

    def score_blocks(self, contexts: csr_array, block_rows: int) -> Iterator[np.ndarray]:
        for start in range(0, contexts.shape[0], block_rows):
            lengths = np.diff(contexts[start : start + block_rows].indptr)
            tilt = np.cos(np.arange(self.num_items)[None, :] * (1 + lengths[:, None]))
            yield (self.counts[None, :] + 0.5 * tilt).astype(np.float32)

    def to_arrays(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        return {"counts": self.counts}, {"report": dict(self.report)}


@dataclasses.dataclass(frozen=True)
class Popularity:
    """Counts of the rows' items with seeded noise; `warm` adds half of the previous model's."""

    noise: float = 0.1
    warm: bool = False
    name = "popularity"

    @property
    def settings(self) -> Mapping[str, Any]:
        return dataclasses.asdict(self)

    @property
    def starts_warm(self) -> bool:
        return self.warm

    def fit(self, rows: TrainingRows, options: FitOptions) -> PopularityModel:
        options.progress("counting")
        rng = np.random.default_rng(options.seed)
        cap = rows.num_rows if options.max_rows is None else options.max_rows
        if options.memory_limit is not None:
            cap = min(cap, options.memory_limit // BYTES_PER_ROW)
        newest = np.argsort(-rows.last_period, kind="stable")[:cap]
        counts = self._count(rows, newest)
        counts = counts + self.noise * rng.standard_normal(rows.num_items)
        if options.previous is not None:
            before = options.previous.counts
            counts[: len(before)] += 0.5 * before
        report = {"rows_given": rows.num_rows, "rows_used": len(newest), "reg": 5.0}
        return PopularityModel(counts, report)

    def restore(self, arrays: Mapping[str, np.ndarray], manifest: Mapping[str, Any]) -> Any:
        return PopularityModel(arrays["counts"], manifest["report"])

    def _count(self, rows: TrainingRows, chosen: np.ndarray) -> np.ndarray:
        return rows.interactions[chosen].T @ rows.weights[chosen]


class TeacherModel(PopularityModel):
    """Scores items by counts, and compares rows by the cosine of their items."""

    def similarity(self, rows: csr_array) -> np.ndarray:
        lengths = np.sqrt(np.maximum(np.diff(rows.indptr), 1))
        return (rows @ rows.T).toarray().astype(np.float64) / np.outer(lengths, lengths)


@dataclasses.dataclass(frozen=True)
class PopularityTeacher(Popularity):
    """Counts the teacher's scores in place of the items of the rows that it teaches."""

    name = "teacher"
    can_teach = True

    def fit(self, rows: TrainingRows, options: FitOptions) -> TeacherModel:
        model = super().fit(rows, options)
        return TeacherModel(model.counts, model.report)

    def restore(self, arrays: Mapping[str, np.ndarray], manifest: Mapping[str, Any]) -> Any:
        return TeacherModel(arrays["counts"], manifest["report"])

    def _count(self, rows: TrainingRows, chosen: np.ndarray) -> np.ndarray:
        taught = rows.replayed[chosen] if rows.teacher is not None else np.zeros(len(chosen), bool)
        counts = super()._count(rows, chosen[~taught])
        if taught.any():
            (scores,) = rows.teacher.score_blocks(rows.interactions[chosen[taught]], len(chosen))
            counts[: scores.shape[1]] += rows.weights[chosen[taught]] @ scores
        return counts


@dataclasses.dataclass(frozen=True)
class LastRow(Memory):
    """Remembers one row: the sum of each period's most active users."""

    items: tuple[int, ...] = ()
    absorbed: tuple[int, ...] = ()
    reach = None

    def replay_rows(self, num_items: int) -> TrainingRows | None:
        if not self.items:
            return None
        row = np.isin(np.arange(num_items), self.items)[None].astype(np.float32)
        return replayed_rows(csr_array(row), 3.0, np.zeros(1, np.int32))

    def update(self, history, model, seed, say=None, *, chain_seed=None):
        rows = history.rows(first=history.period).interactions
        rng = np.random.default_rng(seed)
        chosen = rows[[int(rng.integers(rows.shape[0]))]].indices
        items = tuple(sorted({*self.items, *chosen.tolist()}))
        absorbed = (*self.absorbed, history.period)
        return dataclasses.replace(self, items=items, absorbed=absorbed)


class StoredRow(LastRow):
    """Needs no model, but the log of the last period alone does not give it back."""

    reach = 1
    is_stored = True

    def state(self) -> dict[str, np.ndarray]:
        return {"items": np.array(self.items, "i4"), "absorbed": np.array(self.absorbed, "i4")}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> Memory:
        return StoredRow(tuple(arrays["items"].tolist()), tuple(arrays["absorbed"].tolist()))


@dataclasses.dataclass(frozen=True)
class Toy:
    """Period t and the one remembered row."""

    size: int = 1
    name = "toy"
    starts_warm = WarmStart.BY_MODEL
    needs_log = False

    def empty_memory(self) -> Memory:
        return LastRow()

    def training_rows(self, history: History, memory: Memory) -> TrainingRows:
        assert memory.absorbed == tuple(range(1, history.period))
        now = TrainingRows.of_users(history.rows(first=history.period))
        past = memory.replay_rows(history.num_items)
        return now if past is None else join_rows(now, past)


class StoredToy(Toy):
    name = "stored-toy"

    def empty_memory(self) -> Memory:
        return StoredRow()


def distill(rows, settings, seed, **_options):
    """Draw rows in place of a distillation."""
    filled = np.flatnonzero(np.diff(rows.interactions.indptr))
    chosen = np.random.default_rng(seed).permutation(filled)[: settings.num_synthetic_users]
    return Summary(rows.interactions[chosen], {"steps": 1, "users_given": rows.num_rows})


def record_fits(monkeypatch: Any, *recipes: type) -> list[tuple[Any, TrainingRows, FitOptions]]:
    fits: list[tuple[Any, TrainingRows, FitOptions]] = []
    for recipe in recipes:
        original = recipe.fit

        def fit(self, rows, options, original=original):
            fits.append((self, rows, options))
            return original(self, rows, options)

        monkeypatch.setattr(recipe, "fit", fit)
    return fits


def interrupt_after(num_done: int) -> Callable[[Event], None]:
    """A listener that ends a replay like Ctrl-C after so many cells."""

    def listen(event: Event) -> None:
        if isinstance(event, CellFinished) and event.num_done == num_done:
            raise KeyboardInterrupt

    return listen
