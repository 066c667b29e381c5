"""The engines by name. A new engine is one file and one line here.

Names only, so that the command line can list them before anything heavy is imported.
"""

import pkgutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from perennial.replay.study.workers.base import Executor, ExecutorOptions

LOCAL = "local"
"""What is taken where none is named."""

ENGINES: Mapping[str, str] = {
    LOCAL: "perennial.replay.study.workers.local:open_local",
    "ray": "perennial.replay.study.workers.ray:open_ray",
}
"""Name on the command line -> context manager that gives the `Executor` that is asked for."""


def open_engine(
    name: str, request: "ExecutorOptions", say: Callable[[str], None]
) -> "AbstractContextManager[Executor]":
    """An engine for as long as it is needed.

    Args:
        name: a key of `ENGINES`.
        request: what is asked of it.
        say: told in words what takes long, and what there is.

    Raises:
        UserError: on entering: it is not installed or cannot be reached.
    """
    opener = pkgutil.resolve_name(ENGINES[name])
    return cast("AbstractContextManager[Executor]", opener(request, say))
