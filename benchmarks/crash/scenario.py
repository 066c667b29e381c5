"""The commands of a small live store, and the files that they take."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

SENTINELS = ("sentinel-7c1e", "sentinel-90ab")
"""Users whom one command forgets; their names must be in no byte that is left."""
STORE = "live.duckdb"

_USERS, _ITEMS, _EVENTS = 15, 24, 8
_PERIOD = 10_000
_START = 1_600_000_000
"""Seconds from the beginning of a period to that of the next one."""


@dataclass(frozen=True)
class Scenario:
    """One live store, from its first command to its last.

    Attributes:
        name: of its chain.
        fixed: options of `init` for strategy and model.
        drops: whether old interactions are let go at last.
    """

    name: str
    fixed: tuple[str, ...]
    drops: bool

    def commands(self, files: Path, store: Path) -> tuple[tuple[str, ...], ...]:
        """Arguments of the commands, one after the other, without the name of the program."""
        at = ("--store", str(store))
        day = [str(files / f"day-{number}.csv") for number in range(1, 5)]
        return (
            ("init", *at, *self.fixed, "--memory-limit", "1GiB"),
            ("ingest", day[0], *at),
            ("ingest", day[1], *at),
            ("ingest", day[2], *at),
            ("ingest", str(files / "late.csv"), *at, "--late", "merge"),
            ("ingest", day[3], *at, *(("--forget-log-after", "2") if self.drops else ())),
            ("forget", *at, *(word for name in SENTINELS for word in ("--user", name))),
        )


SCENARIOS = {
    one.name: one
    for one in (
        Scenario(
            "distill-cf",
            (
                *("--strategy", "distill-cf", "--memory-policy", "recent:1", "--budget", "4"),
                *("--set", 'distill-cf.distillation={"num_steps": 2, "batch_size": 8}'),
                *("--model", "infinite-ae", "--set", "infinite-ae.reg=5"),
            ),
            drops=True,
        ),
        Scenario(
            "rolling",
            (
                *("--strategy", "distill-cf", "--memory-policy", "rolling", "--budget", "4"),
                *("--forget-log-after", "3", "--keep-histories", "3"),
                *("--model", "infinite-ae", "--set", "infinite-ae.reg=5"),
            ),
            drops=True,
        ),
        Scenario(
            "ader",
            (
                *("--strategy", "ader", "--budget", "5", "--model", "mvae"),
                *("--set", "mvae.hidden=6", "--set", "mvae.latent=3"),
                *("--set", "mvae.max_updates=10", "--set", "mvae.check_every=5"),
            ),
            drops=True,
        ),
    )
}


def write_files(folder: Path, seed: int) -> None:
    """Write four period files and one with events of the second period that come late."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    for period in range(4):
        users = [f"u{number}" for number in rng.permutation(2 * _USERS)[:_USERS]]
        if period >= 2:
            # Only from where the log is still held: what was made of it can be made again.
            users.extend(SENTINELS)
        times = np.sort(rng.integers(0, _PERIOD - 1, len(users) * _EVENTS))
        times += _START + period * _PERIOD
        lines = [
            f"{users[place % len(users)]},i{rng.integers(_ITEMS)},{time}\n"
            for place, time in enumerate(times.tolist())
        ]
        _write(folder / f"day-{period + 1}.csv", lines)
    late = [
        f"{user},i{rng.integers(_ITEMS)},{_START + _PERIOD + rng.integers(5_000, 9_000)}\n"
        for user in ("u0", "late")
        for _ in range(3)
    ]
    _write(folder / "late.csv", late)


def _write(path: Path, lines: list[str]) -> None:
    path.write_text("user_id,item_id,timestamp\n" + "".join(lines))
