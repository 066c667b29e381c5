"""A small store with a live model: periods come in one by one, and each is published."""

from pathlib import Path

import numpy as np

from perennial.replay.config import ModelChoice, ReplayConfig
from perennial.replay.live.setup import configure_live
from perennial.replay.live.updater import LiveUpdater
from perennial.storage.log.ingest import ingest_period
from perennial.storage.log.vocabulary import write_titles
from perennial.storage.store import Store

NUM_USERS = 30
DAY = 86_400


def live_config() -> ReplayConfig:
    """Configuration of a live model that is cheap to fit and explains."""
    return ReplayConfig(
        strategies=("individual",), models=(ModelChoice("infinite-ae", {"reg": 1.0}),), seeds=(0,)
    )


def write_period(path: Path, period: int, *, num_users: int = NUM_USERS, num_items: int = 20):
    """One day of a made-up log; items become known over time."""
    rng = np.random.default_rng([7, period])
    lines = ["user_id,item_id,timestamp"]
    for user in range(num_users):
        for second, item in enumerate(rng.choice(num_items, size=6, replace=False)):
            time = 1_000_000_000 + DAY * period + 60 * second + user
            lines.append(f"u{user},i{item + 4 * (period - 1)},{time}")
    path.write_text("\n".join(lines) + "\n")
    return path


def make_live(path: Path) -> Path:
    """A store in which a live model is fixed, and nothing is published yet."""
    with Store.open(path) as store:
        configure_live(store, live_config())
        write_titles(store, {f"i{item}": f"Item number {item}" for item in range(0, 200, 2)})
    return path


def publish_period(path: Path, period: int, **shape: int) -> str:
    """Take in one more period and publish its model; the key of its fit."""
    log = write_period(path.with_name(f"period-{period}.csv"), period, **shape)
    with Store.open(path, wait=30) as store:
        ingest_period(store, log)
        (*_, done) = LiveUpdater(store).catch_up()
        assert done.publication is not None
        return done.publication.fit_key


def publish_store(path: Path, num_periods: int = 2, **shape: int) -> Path:
    """A store whose newest published model has seen so many periods."""
    make_live(path)
    for period in range(1, num_periods + 1):
        publish_period(path, period, **shape)
    return path
