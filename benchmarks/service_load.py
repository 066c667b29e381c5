"""`perennial serve` under load while new models are published: `python -m benchmarks.service_load`.

A real service, and so many clients that each ask again as soon as they are answered. Three loads
in one run: alone; with publications made beforehand that are put in place one after the other; and
with a publisher in a third process that takes in and trains on one period after another. The second
shows what swaps cost; the third adds the training, which needs the same cores. Ends with 1 if a
single request failed, or no swap was seen.
"""

import argparse
import asyncio
import contextlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from perennial.replay.config import ModelChoice, ReplayConfig
from perennial.replay.live.setup import configure_live
from perennial.replay.live.updater import LiveUpdater
from perennial.storage.log.ingest import ingest_period
from perennial.storage.log.periods import list_periods
from perennial.storage.log.vocabulary import ITEMS, USERS, all_ids
from perennial.storage.opening import open_for_reading
from perennial.storage.store import Store

DAY = 86_400_000_000
START = 1_600_000_000_000_000


@dataclass(frozen=True)
class Names:
    """Users and items of a store, and the time of its last period."""

    users: Sequence[str | int]
    items: Sequence[str | int]
    end: int


@dataclass
class Outcome:
    """Responses that the clients received.

    Attributes:
        seconds: of each request.
        statuses: how often each came; 0 for a connection that broke.
        periods: of the models that answered.
    """

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    periods: set[int] = field(default_factory=set)
    duration: float = 0.0
    swaps: int = 0


def write_period(path: Path, names: Names, number: int, rows: int, seed: int) -> Path:
    """A made-up log of the day after the last, popular items first."""
    rng = np.random.default_rng([seed, number])
    users = rng.integers(len(names.users), size=rows)
    items = (rng.zipf(1.3, size=rows) + rng.integers(50, size=rows)) % len(names.items)
    times = names.end + DAY * number + np.sort(rng.integers(DAY // 2, size=rows))
    lines = ["user_id,item_id,timestamp"]
    for user, item, moment in zip(users, items, times // 1_000_000, strict=True):
        lines.append(f"{names.users[user]},{names.items[item]},{moment}")
    path.write_text("\n".join(lines) + "\n")
    return path


def publish(store: Path, logs: Sequence[Path], every: float) -> None:
    """Take in period after period and publish; in a process of its own."""
    for log in logs:
        begun = time.monotonic()
        with Store.open(store, wait=60) as opened:
            ingest_period(opened, log)
            for _ in LiveUpdater(opened).catch_up():
                pass
        time.sleep(max(0.0, every - (time.monotonic() - begun)))


def make_store(path: Path, num_users: int, num_items: int, rows: int, seed: int) -> None:
    """A live store with one published period of a made-up log."""
    names = Names(
        [f"u{user}" for user in range(num_users)], [f"i{item}" for item in range(num_items)], START
    )
    config = ReplayConfig(
        strategies=("individual",), models=(ModelChoice("infinite-ae", {"reg": 5.0}),), seeds=(0,)
    )
    with Store.open(path) as store:
        configure_live(store, config)
    publish(path, [write_period(path.with_suffix(".csv"), names, 0, rows, seed)], 0)


def read_names(path: Path) -> Names:
    """Users and items for requests."""
    with open_for_reading(path) as store:
        last = list_periods(store)[-1]
        return Names(all_ids(store, USERS), all_ids(store, ITEMS), last.last_time)


def make_requests(names: Names, number: int, host: str, seed: int) -> list[bytes]:
    """Complete requests: half for users, half for baskets."""
    rng = np.random.default_rng(seed)
    found = []
    for turn in range(number):
        asked: dict[str, object] = {"k": 10}
        if turn % 2:
            asked["user"] = names.users[int(rng.integers(len(names.users)))]
        else:
            chosen = rng.choice(len(names.items), size=int(rng.integers(1, 10)), replace=False)
            asked["items"] = [names.items[one] for one in chosen.tolist()]
        body = json.dumps(asked).encode()
        head = (
            f"POST /recommend HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        found.append(head.encode() + body)
    return found


async def one_client(
    host: str, port: int, requests: Sequence[bytes], end: float, seen: Outcome
) -> None:
    """Ask one question after the other over one connection."""
    reader, writer = await asyncio.open_connection(host, port)
    turn = 0
    try:
        while time.perf_counter() < end:
            begun = time.perf_counter()
            writer.write(requests[turn % len(requests)])
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            body = await reader.readexactly(int(length[1]) if length else 0)
            seen.seconds.append(time.perf_counter() - begun)
            status = int(head[9:12])
            seen.statuses[status] += 1
            if status == 200:
                seen.periods.add(json.loads(body)["period"])
            turn += 1
    except (OSError, EOFError, ValueError):
        seen.statuses[0] += 1
    finally:
        writer.close()


async def drive(address: str, names: Names, arguments: argparse.Namespace) -> Outcome:
    """All clients at once; warming up is not timed, but must succeed too."""
    host, port = address.removeprefix("http://").split(":")
    clients = range(arguments.clients)
    requests = [make_requests(names, 200, host, arguments.seed + client) for client in clients]
    early, seen = Outcome(), Outcome()
    for outcome, lasting in ((early, arguments.warm), (seen, arguments.seconds)):
        begun = time.perf_counter()
        await asyncio.gather(
            *(
                one_client(host, int(port), requests[client], begun + lasting, outcome)
                for client in clients
            )
        )
        outcome.duration = time.perf_counter() - begun
    failed = Counter({status: n for status, n in early.statuses.items() if status != 200})
    seen.statuses.update(failed)
    return seen


@contextlib.contextmanager
def serving(store: Path, waiting: int) -> Iterator[str]:
    """A service on a free port; its address."""
    process = subprocess.Popen(  # noqa: S603 - our own program
        [
            *(sys.executable, "-m", "cli", "serve", "--store", str(store), "--port", "0"),
            *("--waiting", str(waiting), "--check-every", "0.2", "--no-access-log"),
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    said: list[str] = []
    try:
        for line in process.stderr:
            said.append(line)
            found = re.search(r"serving .* at (http://\S+)/;", line)
            if found:
                break
        else:
            raise SystemExit("the service did not start: " + "".join(said))
        rest = threading.Thread(target=lambda: said.extend(process.stderr or ()))
        rest.start()
        yield found[1]
        process.terminate()
        if process.wait(30) != 0:
            raise SystemExit(f"the service ended with {process.returncode}: " + "".join(said))
        rest.join()
    finally:
        process.kill()


def count_swaps(address: str) -> int:
    """Number of models that the service has loaded."""
    with urllib.request.urlopen(f"{address}/metrics") as answer:  # noqa: S310 - our own service
        text = answer.read().decode()
    found = re.search(r"(?m)^perennial_swaps_total (\S+)$", text)
    return int(float(found[1])) if found else 0


Change = Callable[[Path, threading.Event], None]
"""Changes a store until it is ended."""


def make_versions(store: Path, logs: Sequence[Path]) -> list[Path]:
    """The store as it is after each publication; the models of all of them lie beside it."""
    models, found = Path(f"{store}.models"), []
    kept = store.with_name("kept.models")
    shutil.copytree(models, kept)
    original = store.with_name("original.duckdb")
    shutil.copy(store, original)
    for number, log in enumerate(logs):
        publish(store, [log], 0)
        found.append(store.with_name(f"version-{number}.duckdb"))
        shutil.copy(store, found[-1])
        shutil.copytree(models, kept, dirs_exist_ok=True)
    original.replace(store)
    shutil.copytree(kept, models, dirs_exist_ok=True)
    return found


def put_in_place(versions: Sequence[Path], every: float) -> Change:
    """One version after the other takes the place of the store."""

    def change(store: Path, done: threading.Event) -> None:
        for version in versions:
            if done.wait(every):
                return
            shutil.copy(version, f"{store}.new")
            Path(f"{store}.new").replace(store)

    return change


def train(logs: Sequence[Path], every: float) -> Change:
    """A process of its own takes in one log after the other."""

    def change(store: Path, done: threading.Event) -> None:
        command = [sys.executable, "-m", "benchmarks.service_load", "--publish", *map(str, logs)]
        command += ["--store", str(store), "--every", str(every)]
        with subprocess.Popen(command) as publisher:  # noqa: S603 - our own program
            while publisher.poll() is None and not done.wait(0.1):
                pass
            publisher.terminate()

    return change


def measure(original: Path, change: Change | None, arguments: argparse.Namespace) -> Outcome:
    """One load on a fresh service and a fresh copy of a store that is changed meanwhile."""
    store = original.with_name("served.duckdb")
    shutil.copy(original, store)
    shutil.copytree(f"{original}.models", f"{store}.models", dirs_exist_ok=True)
    names, done = read_names(store), threading.Event()
    with serving(store, arguments.clients) as address:
        before = count_swaps(address)
        changing = threading.Thread(target=change or (lambda *_: None), args=(store, done))
        changing.start()
        try:
            seen = asyncio.run(drive(address, names, arguments))
        finally:
            seen_swaps = count_swaps(address) - before
            done.set()
            changing.join()
        seen.swaps = seen_swaps
    return seen


def show(rows: dict[str, Outcome]) -> None:
    """A line each, and the ratios of the others to the first."""
    print(
        f"{'':>20}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}{'per s':>9}{'requests':>10}"
        f"{'swaps':>7}  statuses"
    )
    figures: dict[str, list[float]] = {}
    for name, seen in rows.items():
        waits = np.percentile(np.array(seen.seconds) * 1000, [50, 99, 100]).tolist()
        figures[name] = [*waits, len(seen.seconds) / seen.duration]
        statuses = ", ".join(f"{status}: {n}" for status, n in sorted(seen.statuses.items()))
        print(
            f"{name:>20}{waits[0]:9.1f}{waits[1]:9.1f}{waits[2]:9.1f}{figures[name][3]:9.0f}"
            f"{len(seen.seconds):10}{seen.swaps:7}  {statuses}"
        )
    (_, alone), *others = figures.items()
    for name, one in others:
        ratios = "".join(f"{mine / its:9.2f}" for mine, its in zip(one, alone, strict=True))
        print(f"{name + ', ratio':>20}{ratios}")


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path, help="a live store; it is copied and left alone")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=30.0, help="of each load")
    parser.add_argument("--warm", type=float, default=3.0, help="seconds before that")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between publications")
    parser.add_argument("--users", type=int, default=2000)
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=20_000, help="interactions of a period")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--publish", type=Path, nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.publish:
        publish(arguments.store, arguments.publish, arguments.every)
        return
    with tempfile.TemporaryDirectory() as name:
        store = Path(name) / "live.duckdb"
        if arguments.store is None:
            make_store(store, arguments.users, arguments.items, arguments.rows, arguments.seed)
        else:
            shutil.copy(arguments.store, store)
            shutil.copytree(f"{arguments.store}.models", f"{store}.models")
        names, number = read_names(store), int(arguments.seconds / arguments.every) + 2
        logs = [
            write_period(Path(name) / f"{one}.csv", names, one, arguments.rows, arguments.seed)
            for one in range(1, number + 1)
        ]
        versions = make_versions(store, logs)
        rows = {
            "alone": measure(store, None, arguments),
            "swaps": measure(store, put_in_place(versions, arguments.every), arguments),
            "training": measure(store, train(logs, arguments.every), arguments),
        }
    print(f"{len(names.users):,} users, {len(names.items):,} items, {arguments.clients} clients")
    show(rows)
    failed = sum(
        n for seen in rows.values() for status, n in seen.statuses.items() if status != 200
    )
    if failed or not rows["swaps"].swaps:
        sys.exit(f"{failed} requests failed, {rows['swaps'].swaps} swaps were seen")


if __name__ == "__main__":
    main()
