"""The strategies by name. A new strategy is one file and one line here."""

import pkgutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from storage.errors import UserError

if TYPE_CHECKING:
    from replay.strategies.protocol import Strategy

STRATEGIES: Mapping[str, str] = {
    "individual": "replay.strategies.individual:Individual",
    "joint": "replay.strategies.joint:Joint",
}
"""Name on the command line -> class that is the `Strategy`."""


def make_strategy(name: str) -> "Strategy":
    """Build a strategy.

    Raises:
        UserError: unknown strategy.
    """
    if name not in STRATEGIES:
        raise UserError(f"unknown strategy '{name}'; choose from {', '.join(sorted(STRATEGIES))}")
    return cast("Strategy", pkgutil.resolve_name(STRATEGIES[name])())
