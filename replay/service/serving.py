"""From a store's path to a running service."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from replay.live_status import read_status
from replay.service.guards import LOOPBACK_NAMES, is_loopback
from replay.service.http import Service, create_app
from replay.service.limits import ServiceLimits, WorkQueue
from replay.service.metrics import ServiceMetrics
from replay.service.running import address_of, bind, run_until_told
from replay.service.statuses import StatusReader
from replay.service.store_file import StoreFile
from replay.service.swap import CurrentModel, Watcher
from storage.errors import UserError

_TRIES = 10
"""How often the store is tried at first, twice a second: a writer may be in the middle."""


@dataclass(frozen=True)
class Listening:
    """Where the service listens, and to whom.

    Attributes:
        host: an address of this machine.
        port: 0 for any that is free.
        token: that requests must carry.
        allowed_hosts: names that requests may be addressed to, besides those of loopback.
    """

    host: str
    port: int
    token: str | None = None
    allowed_hosts: tuple[str, ...] = ()

    def hosts(self) -> tuple[str, ...] | None:
        """Names that requests may be addressed to; `None` for any."""
        if not is_loopback(self.host) and not self.allowed_hosts:
            # A page from elsewhere that has its own name point here has no token.
            return None
        return (*LOOPBACK_NAMES, self.host, f"[{self.host}]", *self.allowed_hosts)


def serve_store(
    path: Path,
    listening: Listening,
    limits: ServiceLimits,
    check_every: float,
    say: Callable[[str], None],
) -> bool:
    """Serve the newest published model of a store until told to end.

    Returns:
        Whether it was Ctrl-C that told so.

    Raises:
        UserError: no such store, a port in use, or others could ask without a token.
    """
    if listening.token is None and not is_loopback(listening.host):
        raise UserError(
            f"--host {listening.host}: others reach it, so a token is needed; give one with "
            "--token-file FILE or in PERENNIAL_TOKEN"
        )
    if not path.is_file():
        raise UserError(f"{path}: no such store; make one with `perennial init`")
    with bind(listening.host, listening.port) as bound:
        file, current, metrics = StoreFile(path), CurrentModel(), ServiceMetrics()
        watcher = Watcher(file, current, metrics, every=check_every)
        _look_first(watcher)
        if current.answers is None:
            say(f"{path}: nothing is published yet; /recommend answers 503 until it is")
        service = Service(
            current,
            metrics,
            StatusReader(file, lambda store: read_status(store).to_json()),
            WorkQueue("scoring", limits.scorings, limits.waiting),
        )
        app = create_app(service, limits, token=listening.token, hosts=listening.hosts())

        def ready() -> None:
            watcher.start()
            say(f"serving {path} at {address_of(bound)}; Ctrl-C ends it")

        try:
            return run_until_told(app, bound, limits, ready)
        finally:
            watcher.stop()
            service.close()


def _look_first(watcher: Watcher) -> None:
    """Load the model, or fail where the store cannot be read at all."""
    for left in reversed(range(_TRIES)):
        try:
            watcher.look()
        except UserError:
            if left == 0:
                raise
            time.sleep(0.5)
        else:
            return
