"""The seam of the studies on the paper's split: which cells, and how they are shown."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from perennial.models.registry import make_recipe
from perennial.replay.config import ModelChoice
from perennial.replay.study.paper.cells import DISTILL, StudyCell, TrainingSet
from perennial.replay.study.paper.groups import Group
from perennial.stream.noise import Noise

Json = Any
"""What `json.dumps` takes."""

FEW_ROWS: Mapping[str, Mapping[str, Json]] = {
    # On few rows the best λ is smaller than the models' own grids for whole logs reach.
    "infinite-ae": {"regs": (0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 50.0, 200.0)},
    "ease": {"regs": (0.1, 1.0, 5.0, 20.0, 100.0, 500.0, 2000.0, 10000.0)},
}
"""Model -> settings for rows that were sampled or distilled, unless others are given."""


@dataclass(frozen=True)
class StudyOptions:
    """What a study is asked for; each one takes what it has a use for.

    Attributes:
        models: with the settings that differ from their defaults.
        samplers: that make few rows of many.
        users: how many rows each makes, ascending.
        seeds: each cell is made with each.
        distillation: fields of `DistillSettings` that differ from its defaults.
        noises: in train, ascending and of one kind.
    """

    models: tuple[ModelChoice, ...]
    samplers: tuple[str, ...] = ()
    users: tuple[int, ...] = ()
    seeds: tuple[int, ...] = (0,)
    distillation: Mapping[str, Json] = field(default_factory=dict)
    noises: tuple[Noise, ...] = (Noise(),)

    def whole(self) -> tuple[TrainingSet, ...]:
        """All users."""
        return (TrainingSet(),)

    def few(self) -> tuple[TrainingSet, ...]:
        """The rows of each sampler, from few to many."""
        return tuple(
            TrainingSet(sampler, users, self.distillation if sampler == DISTILL else {})
            for sampler in self.samplers
            for users in self.users
        )

    def noisy(self, rows: Sequence[TrainingSet]) -> tuple[TrainingSet, ...]:
        """The same rows at each noise."""
        return tuple(replace(one, noise=noise) for one in rows for noise in self.noises)

    def cross(
        self, rows: Sequence[TrainingSet], models: Sequence[ModelChoice] | None = None
    ) -> tuple[StudyCell, ...]:
        """Each model on each of some rows with each seed."""
        return tuple(
            StudyCell(one, suited(model, one), seed)
            for model in (self.models if models is None else models)
            for one in rows
            for seed in self.seeds
        )


def suited(model: ModelChoice, rows: TrainingSet) -> ModelChoice:
    """The model with a grid for few rows, where it is given none."""
    if not rows.is_made:
        return model
    own = FEW_ROWS.get(model.name, {})
    fields = make_recipe(model.name).settings
    fixed = "reg" in model.settings
    more = {name: value for name, value in own.items() if name in fields and not fixed}
    return ModelChoice(model.name, {**more, **model.settings})


@dataclass(frozen=True)
class Axis:
    """What the pictures of a study have from left to right.

    Attributes:
        label: below the axis.
        place: of a group; `None` where it holds all along the axis, as all users do.
        line: which line a group belongs to.
        name: of a place, heading its column.
        log: whether the axis is logarithmic.
    """

    label: str
    place: Callable[[Group], float | None]
    line: Callable[[Group], str]
    name: Callable[[float], str]
    log: bool = False


@dataclass(frozen=True)
class PaperStudy:
    """A study.

    Attributes:
        title: of the page.
        about: what is asked, in a paragraph.
        cells: which ones it has.
        tell: what the groups say, in sentences.
        axis: of the pictures; `None` for a table that is pictured as it stands.
        row: name of a group's row in the paper's table; `None` for a study without one.
    """

    title: str
    about: str
    cells: Callable[[StudyOptions], tuple[StudyCell, ...]]
    tell: Callable[[Sequence[Group]], list[str]]
    axis: Axis | None = None
    row: Callable[[Group], str | None] | None = None
