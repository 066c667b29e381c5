"""The studies on the paper's split by name. A new one is one file and one entry here.

Names only, so that the command line can list them before anything heavy is imported.
"""

import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from perennial.memory.samplers.registry import SAMPLERS
from perennial.models.registry import MODELS

if TYPE_CHECKING:
    from perennial.replay.study.paper.base import PaperStudy

ROW_MAKERS: Mapping[str, str] = {
    "distill-cf": "perennial.memory.distill.loop:distill_with_holdout",
    **SAMPLERS,
}
"""Ways to reduce the training rows: name on the command line -> function."""


_NUMBERS = (25, 50, 100, 200, 500, 1000)


@dataclass(frozen=True)
class StudyEntry:
    """A study's command and defaults.

    Attributes:
        help: of its command; lists show the first line.
        models: default models; empty for all.
        samplers: default samplers; empty for all.
        users: default numbers of rows of each sampler.
        noises: default noises, per cent; empty for a study without noise.
    """

    target: str
    help: str
    models: tuple[str, ...] = ()
    samplers: tuple[str, ...] = ("distill-cf",)
    users: tuple[int, ...] = (500,)
    seeds: tuple[int, ...] = (0, 1, 2)
    noises: tuple[int, ...] = ()
    has_paper_table: bool = False

    @property
    def default_models(self) -> tuple[str, ...]:
        """Those of `models` that are registered."""
        return tuple(name for name in self.models or MODELS if name in MODELS)


PAPER_STUDIES: Mapping[str, StudyEntry] = {
    "table1": StudyEntry(
        "perennial.replay.study.paper.studies.table1:STUDY",
        "Compare the models on a random split of a log (Table 1 of the paper).\n\n"
        "Every model is fitted on all users, and ∞-AE on 500 synthetic users too. Where the paper"
        " has figures for the data set they are shown next to ours.",
        has_paper_table=True,
    ),
    "sample-efficiency": StudyEntry(
        "perennial.replay.study.paper.studies.sample_efficiency:STUDY",
        "Count how many users ∞-AE needs, by how they are chosen or made (Figure 1).\n\n"
        "Synthetic users, and real ones by each sampler, from few to many, next to all users.",
        models=("infinite-ae",),
        samplers=(),
        users=_NUMBERS,
    ),
    "transfer": StudyEntry(
        "perennial.replay.study.paper.studies.sample_efficiency:TRANSFER",
        "Fit models that were not distilled for on the same rows (Figure 2).\n\n"
        "Rows are shared with `sample-efficiency` where the output folder is the same.",
        models=("ease", "mvae"),
        samplers=(),
        users=_NUMBERS,
    ),
    "noise": StudyEntry(
        "perennial.replay.study.paper.studies.noise:STUDY",
        "Put noise into the training data, and measure what it costs (Figures 3 and 4).\n\n"
        "Users are kept or made of the noisy data, and models fitted on them; the test is clean.",
        models=("ease", "infinite-ae"),
        samplers=(),
        noises=(0, 10, 20, 30, 40, 50),
    ),
}
"""Name on the command line -> the study."""


def find_study(name: str) -> "PaperStudy":
    """Return a study by its name, a key of `PAPER_STUDIES`."""
    return cast("PaperStudy", pkgutil.resolve_name(PAPER_STUDIES[name].target))
