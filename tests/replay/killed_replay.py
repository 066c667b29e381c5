"""A replay that kills its own process at a chosen point."""

import dataclasses
import os
import signal

from perennial.models.registry import MODELS
from perennial.replay import cells, loop
from perennial.replay.config import ModelChoice, ReplayConfig
from perennial.replay.events import CellFinished, CellStarted, StageMessage
from perennial.replay.strategies.registry import STRATEGIES
from perennial.storage.store import Store

CONFIG = ReplayConfig(
    strategies=("individual", "toy"),
    models=(ModelChoice("popularity", {"warm": True}),),
    seeds=(0, 1),
)
STORED = dataclasses.replace(
    CONFIG, strategies=("stored-toy",), models=(ModelChoice("popularity"),)
)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def read_versions():
    """Stands for the real one, which would notice sources edited between two processes."""
    return {"code": "toys"}


class Countdown:
    """Kills the process at the n-th call."""

    def __init__(self, count):
        self.left = count

    def __call__(self):
        self.left -= 1
        if self.left == 0:
            die()


def replace(name, point, countdown):
    """Kill before or after a step that `loop` or `perennial.replay.cells` calls."""
    module = loop if hasattr(loop, name) else cells
    step = getattr(module, name)

    def wrapped(*args, **kwargs):
        if point.startswith("before"):
            countdown()
        result = step(*args, **kwargs)
        if point.startswith("after"):
            countdown()
        return result

    setattr(module, name, wrapped)


def replay_until_killed(store_path, point, count, name="CONFIG"):
    """Replay into a store; kill the process at the n-th time it comes to a point."""
    MODELS["popularity"] = "toys:Popularity"
    STRATEGIES["toy"] = "toys:Toy"
    STRATEGIES["stored-toy"] = "toys:StoredToy"
    loop.read_versions = read_versions
    countdown = Countdown(count)
    events = {"started": CellStarted, "message": StageMessage, "finished": CellFinished}

    def listen(event):
        if isinstance(event, events.get(point, ())):
            countdown()

    if point not in events:
        replace(point.split(":")[1], point, countdown)
    with Store.open(store_path) as store:
        loop.run_replay(store, globals()[name], listener=listen)
