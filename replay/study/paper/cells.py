"""What a cell is: a model, fitted with a seed on some rows of a split."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from perennial.memory.distill.settings import DistillSettings
from perennial.models.registry import make_recipe
from perennial.replay.config import ModelChoice
from perennial.replay.keys import describe_recipe, make_key
from perennial.storage.registry import build
from perennial.stream.noise import Noise

Json = Any
"""What `json.dumps` takes."""

ALL_USERS = "all-users"
"""Every row of train, as the paper's tables have it."""

DISTILL = "distill-cf"
"""Synthetic users, learnt from all rows."""


@dataclass(frozen=True)
class TrainingSet:
    """The rows that a cell is fitted on, but for their seed.

    Attributes:
        sampler: `all-users`, `distill-cf` or a key of `SAMPLERS`.
        users: how many rows are kept; `None` for all.
        settings: fields of `DistillSettings` that differ from its defaults.
        noise: in train, before anything is kept or made of it.
    """

    sampler: str = ALL_USERS
    users: int | None = None
    settings: Mapping[str, Json] = field(default_factory=dict)
    noise: Noise = field(default_factory=Noise)

    @property
    def is_made(self) -> bool:
        """Whether they have to be made of the rows of train, and are kept in a file."""
        return self.sampler != ALL_USERS

    @property
    def name(self) -> str:
        """For people: `distill-cf 500`."""
        name = self.sampler if self.users is None else f"{self.sampler} {self.users}"
        percent = self.noise.percent
        return f"{name} noise {percent:g}%" if percent else name

    def distillation(self) -> DistillSettings:
        """The settings of DISTILL-CF.

        Raises:
            UserError: a field that it has not, or a value that does not fit.
        """
        given = {**self.settings, "num_synthetic_users": self.users}
        settings = build("sampler", DISTILL, DistillSettings, given)
        assert isinstance(settings, DistillSettings)  # noqa: S101 - what was asked for
        return settings

    def describe(self) -> dict[str, Json]:
        """All that they follow from, but for the split and the seed."""
        described: dict[str, Json] = {"sampler": self.sampler, "users": self.users}
        if self.noise.percent:
            described["noise"] = dataclasses.asdict(self.noise)
        if self.sampler == DISTILL:
            described["settings"] = dataclasses.asdict(self.distillation())
        return described


@dataclass(frozen=True)
class StudyCell:
    """A model fitted on some rows.

    Attributes:
        rows: which.
        model: with the settings that differ from its defaults.
        seed: every draw derives from it: of rows, fit, negatives and the order of ties.
    """

    rows: TrainingSet
    model: ModelChoice
    seed: int

    @property
    def name(self) -> str:
        """For people: `distill-cf 500 infinite-ae seed 0`."""
        return f"{self.rows.name} {self.model.name} seed {self.seed}"


@dataclass(frozen=True)
class StudyContext:
    """What the cells of a study have in common.

    Attributes:
        split: file of the split.
        content: hash of that file.
        folder: where cells and rows are kept.
        keep_repeats: count targets that stand in the context as misses, as the authors do.
        versions: of the code and its libraries.
    """

    split: str
    content: str
    folder: str
    keep_repeats: bool
    versions: Mapping[str, str]

    def rows_key(self, rows: TrainingSet, seed: int) -> str:
        """Of everything that rows follow from; studies that share them find them by it."""
        return make_key(
            {
                "rows": rows.describe(),
                "split": self.content,
                "seed": seed,
                "versions": dict(self.versions),
            }
        )

    def cell_key(self, cell: StudyCell) -> str:
        """Of everything that a cell follows from."""
        recipe = make_recipe(cell.model.name, cell.model.settings)
        return make_key(
            {
                "paper cell": self.rows_key(cell.rows, cell.seed),
                "model": describe_recipe(recipe),
                "keep_repeats": self.keep_repeats,
            }
        )
