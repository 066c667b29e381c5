"""Latency of recommendations, compared with dense scores and a full sort.

A seeded synthetic store in a temporary folder: a catalogue of 40,000 items and a published ∞-AE of
2,500 rows. Known users and baskets are queried one at a time, then many users in one batch. The
reference stores α densely, computes the kernel from dense rows, and sorts all scores; both process
the same queries in the same process, and their rankings are compared.

    uv run --extra dev python -m benchmarks.recommend_latency
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from perennial.replay.config import ModelChoice, ReplayConfig
from perennial.replay.machine import Clock, Stopwatch
from perennial.replay.plan import make_chains
from perennial.replay.recommend.recommender import RecommendationQuery, Recommender
from perennial.storage.log.ingest import ingest_period
from perennial.storage.results.fits import insert_fit, insert_model_file, write_model
from perennial.storage.results.publications import (
    LiveRecord,
    Publication,
    insert_publication,
    write_live,
)
from perennial.storage.results.runs import start_run
from perennial.storage.store import Store

REG = 5.0


def write_periods(folder: Path, num_items: int, num_rows: int, seed: int) -> list[Path]:
    """Write period 1 with all items and period 2 with the rows of the model."""
    rng = np.random.default_rng(seed)
    popularity = 1.0 / np.arange(1, num_items + 1) ** 0.8
    popularity /= popularity.sum()

    def draw(users: range) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        lengths = np.clip(rng.lognormal(3.5, 1.0, len(users)).astype(int), 5, 1000)
        owners = np.repeat(np.array(users), lengths)
        return owners, rng.choice(num_items, size=len(owners), p=popularity)

    first = draw(range(num_rows, 2 * num_rows))
    # Every item occurs once, so that the catalogue has the requested size.
    everything = np.full(num_items, num_rows), np.arange(num_items)
    periods = [
        tuple(np.concatenate(parts) for parts in zip(first, everything, strict=True)),
        draw(range(num_rows)),
    ]
    paths = []
    for number, (users, items) in enumerate(periods, start=1):
        times = np.arange(len(users)) + 10_000_000 * number
        path = folder / f"{number}.parquet"
        pq.write_table(pa.table({"user_id": users, "item_id": items, "timestamp": times}), path)
        paths.append(path)
    return paths


def publish(store: Store) -> None:
    """Fit a model on the users of the newest period and publish it."""
    config = ReplayConfig(
        strategies=("individual",), models=(ModelChoice("infinite-ae", {"reg": REG}),)
    )
    (chain,) = make_chains(store, config, {"code": "benchmark"})
    model, fit = chain.fit(chain.history(2), Stopwatch(Clock()), lambda _text: None)
    path = write_model(store, fit.key, *chain.to_arrays(model))
    run = start_run(store, config.to_json(), {}, 0, Clock().now())
    with store.transaction():
        write_live(store, LiveRecord(config.to_json(), run))
        insert_fit(store, fit)
        insert_model_file(store, fit.key, "published", chain.key, path)
        insert_publication(store, Publication(2, fit.key, {}, Clock().now()))


class DenseReference:
    """Textbook version of the model: dense rows, dense α, a full sort."""

    def __init__(self, recommender: Recommender) -> None:
        model: Any = recommender.model
        self.rows = model.rows.rows.toarray()
        self.squares = (self.rows**2).sum(axis=1)
        gram = self.kernel(self.rows @ self.rows.T, self.squares[:, None], self.squares)
        np.fill_diagonal(gram, 2 * (2 * self.squares / self.rows.shape[1] + 0.01) + 0.01)
        gram += REG * np.trace(gram) / len(gram) * np.eye(len(gram), dtype=gram.dtype)
        self.alpha = np.linalg.solve(gram.astype(np.float64), self.rows).astype(np.float32)

    def kernel(self, inner: Any, left: Any, right: Any) -> NDArray[np.float32]:
        """Θ at depth 1 (design note 2)."""
        d = np.float32(self.rows.shape[1])
        sigma, norm = 2 * inner / d + 0.01, np.sqrt((2 * left / d + 0.01) * (2 * right / d + 0.01))
        angle = np.arccos(np.clip(sigma / norm, -1, 1))
        first = norm * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / np.pi + 0.01
        theta: NDArray[np.float32] = first + sigma * (np.pi - angle) / np.pi
        return theta

    def recommend(self, items: NDArray[np.int32], k: int) -> NDArray[np.intp]:
        """Return the best items that are not in the context."""
        context = np.zeros(self.rows.shape[1], np.float32)
        context[items] = 1
        theta = self.kernel(self.rows @ context, self.squares, (context**2).sum())
        scores = theta @ self.alpha
        scores[items] = -np.inf
        return np.argsort(-scores)[:k]


def time_each(recommend: Callable[[Any], Any], queries: list[Any]) -> NDArray[np.float64]:
    """Return milliseconds per query; a few are run before, because they compile."""
    for query in queries[:5]:
        recommend(query)
    times = []
    for query in queries:
        start = time.perf_counter()
        recommend(query)
        times.append(1000 * (time.perf_counter() - start))
    return np.array(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=40_000)
    parser.add_argument("--rows", type=int, default=2_500)
    parser.add_argument("--questions", type=int, default=200, help="queries of each kind")
    parser.add_argument("--batch", type=int, default=2_000, help="users in the batch")
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.duckdb"
        with Store.open(path) as store:
            files = write_periods(Path(folder), arguments.items, arguments.rows, arguments.seed)
            for file in files:
                ingest_period(store, file)
            publish(store)
        start = time.perf_counter()
        with Store.open(path, read_only=True) as store:
            recommender = Recommender.load(store)
        print(f"{recommender.num_items:,} items, {arguments.rows:,} rows; {len(_cores())} core(s)")
        print(f"loading: {time.perf_counter() - start:.2f} s")
        measure(recommender, arguments)


def _cores() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else {0}


def measure(recommender: Recommender, arguments: argparse.Namespace) -> None:
    """Run the queries, and print milliseconds and ratios."""
    rng = np.random.default_rng(arguments.seed + 1)
    k, number = arguments.k, arguments.questions
    users = rng.choice(2 * arguments.rows, size=number, replace=False).tolist()
    names = [str(recommender.catalogue.item_ids[place]) for place in range(recommender.num_items)]
    baskets = [
        tuple(names[place] for place in rng.choice(2_000, size=5, replace=False))
        for _ in range(number)
    ]
    requested = {
        "known users": [RecommendationQuery(user=user, k=k) for user in users],
        "baskets of 5": [RecommendationQuery(items=basket, k=k) for basket in baskets],
        "baskets, why": [RecommendationQuery(items=basket, k=k, why=True) for basket in baskets],
    }
    catalogue = recommender.catalogue
    contexts = {
        "known users": [catalogue.context(user).indices for user in users],
        "baskets of 5": [catalogue.context(None, basket).indices for basket in baskets],
    }
    contexts["baskets, why"] = contexts["baskets of 5"]
    reference = DenseReference(recommender)
    check_agreement(recommender, reference, requested["baskets of 5"], contexts["baskets of 5"])
    for kind, queries in requested.items():
        ours = time_each(recommender.recommend, queries)
        dense = time_each(lambda items: reference.recommend(items, k), contexts[kind])
        print(
            f"{kind}: median {np.median(ours):.1f} ms, p99 {np.percentile(ours, 99):.1f} ms; "
            f"dense median {np.median(dense):.1f} ms, p99 {np.percentile(dense, 99):.1f} ms; "
            f"ours / dense {np.median(ours) / np.median(dense):.2f}"
        )
    batch = rng.choice(2 * arguments.rows, size=min(arguments.batch, 2 * arguments.rows)).tolist()
    start = time.perf_counter()
    for _block in recommender.rank_users(batch, k):
        pass
    rate = len(batch) / (time.perf_counter() - start)
    print(f"batch of {len(batch):,}: {rate:,.0f} users/s")


def check_agreement(
    recommender: Recommender,
    reference: DenseReference,
    queries: list[RecommendationQuery],
    contexts: list[Any],
) -> None:
    """Print the share of equal items; near ties may fall either way in float32."""
    same = [
        len(
            {one.item for one in recommender.recommend(query)}
            & {recommender.catalogue.item_ids[i] for i in reference.recommend(context, query.k)}
        )
        / query.k
        for query, context in zip(queries[:20], contexts[:20], strict=True)
    ]
    print(f"same items among the best {queries[0].k}: {np.mean(same):.1%}")


if __name__ == "__main__":
    main()
