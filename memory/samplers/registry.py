"""The samplers by name. A new sampler is one file and one line here."""

import pkgutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from perennial.storage.errors import UserError

if TYPE_CHECKING:
    from perennial.memory.samplers.base import Sampler

SAMPLERS: Mapping[str, str] = {
    "user-rns": "perennial.memory.samplers.user_rns:sample",
    "interaction-rns": "perennial.memory.samplers.interaction_rns:sample",
    "head-user": "perennial.memory.samplers.head_user:sample",
    "svp-cf-user": "perennial.memory.samplers.svp_cf_user:sample",
}
"""Name on the command line -> function that is the `Sampler`."""


def find_sampler(name: str) -> "Sampler":
    """A sampler by its name.

    Raises:
        UserError: there is none of that name.
    """
    if name not in SAMPLERS:
        raise UserError(f"unknown sampler '{name}'; choose from {', '.join(sorted(SAMPLERS))}")
    return cast("Sampler", pkgutil.resolve_name(SAMPLERS[name]))
