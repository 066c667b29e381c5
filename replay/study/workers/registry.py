"""The executors by name. A new executor is one file and one line here."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from perennial.storage.registry import Registry

if TYPE_CHECKING:
    from perennial.replay.study.workers.base import Executor, ExecutorOptions

LOCAL = "local"
"""Executor of a study for which none is named."""

EXECUTORS: "Registry[OpenExecutor]" = Registry(
    "engine",
    {
        LOCAL: "perennial.replay.study.workers.local:open_local",
        "ray": "perennial.replay.study.workers.ray:open_ray",
    },
)
"""Name on the command line -> function that makes a context manager of an `Executor`."""

if TYPE_CHECKING:
    OpenExecutor = Callable[
        [ExecutorOptions, Callable[[str], None]], AbstractContextManager[Executor]
    ]
