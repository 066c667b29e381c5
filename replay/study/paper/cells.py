"""Cells of a paper study: a model, fitted with a seed on training rows of a split."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from perennial.memory.distill.settings import DistillSettings
from perennial.models.registry import make_recipe
from perennial.replay.config import ModelChoice
from perennial.replay.keys import describe_recipe, make_key
from perennial.storage.base import Json, build
from perennial.stream.noise import Noise

ALL_USERS = "all-users"
"""Every training row, as in the paper's tables."""

DISTILL = "distill-cf"
"""Synthetic users, learnt from all rows."""


@dataclass(frozen=True)
class TrainingSet:
    """The rows that a model is fitted on, but for their seed.

    Attributes:
        sampler: `all-users`, `distill-cf` or a key of `SAMPLERS`.
        users: number of rows that are kept; `None` for all.
        settings: fields of `DistillSettings` that differ from its defaults.
        noise: added to the training rows before sampling or distillation.
    """

    sampler: str = ALL_USERS
    users: int | None = None
    settings: Mapping[str, Json] = field(default_factory=dict)
    noise: Noise = field(default_factory=Noise)

    @property
    def is_made(self) -> bool:
        """True for rows that are sampled or distilled, and stored in a file."""
        return self.sampler != ALL_USERS

    @property
    def name(self) -> str:
        """Name for people: `distill-cf 500`."""
        name = self.sampler if self.users is None else f"{self.sampler} {self.users}"
        percent = self.noise.percent
        return f"{name} noise {percent:g}%" if percent else name

    def distillation(self) -> DistillSettings:
        """Build the settings of DISTILL-CF; raise `UserError` for an invalid field."""
        given = {**self.settings, "num_synthetic_users": self.users}
        settings = build("sampler", DISTILL, DistillSettings, given)
        assert isinstance(settings, DistillSettings)  # noqa: S101
        return settings

    def describe(self) -> dict[str, Json]:
        """Describe everything that determines the rows, but for the split and the seed."""
        described: dict[str, Json] = {"sampler": self.sampler, "users": self.users}
        if self.noise.percent:
            described["noise"] = dataclasses.asdict(self.noise)
        if self.sampler == DISTILL:
            described["settings"] = dataclasses.asdict(self.distillation())
        return described


@dataclass(frozen=True)
class StudyCell:
    """A model fitted on training rows; the seed is of rows, fit, negatives and order of ties."""

    rows: TrainingSet
    model: ModelChoice
    seed: int

    @property
    def name(self) -> str:
        """Name for people: `distill-cf 500 infinite-ae seed 0`."""
        return f"{self.rows.name} {self.model.name} seed {self.seed}"


@dataclass(frozen=True)
class StudyContext:
    """Everything that the cells of a study share; `keep_repeats` as in `read_paper_split`."""

    split: str
    content: str
    folder: str
    keep_repeats: bool
    versions: Mapping[str, str]

    def rows_key(self, rows: TrainingSet, seed: int) -> str:
        """Return the key of training rows; studies share the rows of equal keys."""
        return make_key(
            {
                "rows": rows.describe(),
                "split": self.content,
                "seed": seed,
                "versions": dict(self.versions),
            }
        )

    def cell_key(self, cell: StudyCell) -> str:
        """Return the key of a cell."""
        recipe = make_recipe(cell.model.name, cell.model.settings)
        return make_key(
            {
                "paper cell": self.rows_key(cell.rows, cell.seed),
                "model": describe_recipe(recipe),
                "keep_repeats": self.keep_repeats,
            }
        )
