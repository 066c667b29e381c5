"""The studies on the paper's split by name. A new one is one file and one entry here.

Names only, so that the command line can list them before anything heavy is imported.
"""

import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from memory.samplers.registry import SAMPLERS
from models.registry import MODELS

if TYPE_CHECKING:
    from replay.study.paper.protocol import PaperStudy

ROW_MAKERS: Mapping[str, str] = {"distill-cf": "memory.distill:distill_judged", **SAMPLERS}
"""What makes few rows of many: name on the command line -> where it is."""


@dataclass(frozen=True)
class Entry:
    """A study, as the command line needs it.

    Attributes:
        target: its `PaperStudy`.
        help: of its command; the first line stands in lists.
        models: fitted unless told; empty for all.
        samplers: asked for rows unless told; empty for all.
        users: rows of each sampler unless told.
        seeds: unless told.
    """

    target: str
    help: str
    models: tuple[str, ...] = ()
    samplers: tuple[str, ...] = ("distill-cf",)
    users: tuple[int, ...] = (500,)
    seeds: tuple[int, ...] = (0, 1, 2)

    @property
    def default_models(self) -> tuple[str, ...]:
        """Those of `models` that there are."""
        return tuple(name for name in self.models or MODELS if name in MODELS)


PAPER_STUDIES: Mapping[str, Entry] = {
    "table1": Entry(
        "replay.study.paper.studies.table1:STUDY",
        "Compare the models on a random split of a log (Table 1 of the paper).\n\n"
        "Every model is fitted on all users, and ∞-AE on 500 synthetic users too. Where the paper"
        " has figures for the data set they stand beside ours.",
    ),
}
"""Name on the command line -> the study."""


def find_study(name: str) -> "PaperStudy":
    """A study by its name, a key of `PAPER_STUDIES`."""
    return cast("PaperStudy", pkgutil.resolve_name(PAPER_STUDIES[name].target))
