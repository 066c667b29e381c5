"""The samplers by name. A new sampler is one file and one line here."""

from typing import TYPE_CHECKING

from perennial.storage.registry import Registry

if TYPE_CHECKING:
    from perennial.memory.samplers.base import Sampler

SAMPLERS: "Registry[Sampler]" = Registry(
    "sampler",
    {
        "user-rns": "perennial.memory.samplers.whole_users:sample_random",
        "interaction-rns": "perennial.memory.samplers.interaction_rns:sample",
        "head-user": "perennial.memory.samplers.whole_users:sample_longest",
        "svp-cf-user": "perennial.memory.samplers.svp_cf_user:sample",
    },
    group="perennial.samplers",
)
"""Name on the command line -> function that is the `Sampler`."""
