"""The seam of the studies on the paper's split: their cells, and how results are shown."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from perennial.models.registry import make_recipe
from perennial.replay.config import ModelChoice
from perennial.replay.study.paper.cells import DISTILL, StudyCell, TrainingSet
from perennial.replay.study.paper.groups import Group
from perennial.storage.base import Json
from perennial.stream.noise import Noise

FEW_ROWS: Mapping[str, Mapping[str, Json]] = {
    # On few rows the best λ is below the models' own grids, which are for whole logs.
    "infinite-ae": {"regs": (0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 50.0, 200.0)},
    "ease": {"regs": (0.1, 1.0, 5.0, 20.0, 100.0, 500.0, 2000.0, 10000.0)},
}
"""Model -> default settings for rows that are sampled or distilled."""


@dataclass(frozen=True)
class StudyOptions:
    """Options of a study; each study uses those that apply to it.

    Attributes:
        models: with the settings that differ from their defaults.
        users: numbers of these rows, ascending.
        seeds: each cell is computed with each.
        distillation: fields of `DistillSettings` that differ from its defaults.
        noises: in the training rows, ascending and of one kind.
    """

    models: tuple[ModelChoice, ...]
    samplers: tuple[str, ...] = ()
    users: tuple[int, ...] = ()
    seeds: tuple[int, ...] = (0,)
    distillation: Mapping[str, Json] = field(default_factory=dict)
    noises: tuple[Noise, ...] = (Noise(),)

    def few(self) -> tuple[TrainingSet, ...]:
        """Return the rows of each sampler, from few to many."""
        return tuple(
            TrainingSet(sampler, users, self.distillation if sampler == DISTILL else {})
            for sampler in self.samplers
            for users in self.users
        )

    def cross(
        self, rows: Sequence[TrainingSet], models: Sequence[ModelChoice] | None = None
    ) -> tuple[StudyCell, ...]:
        """Return the cells of each model on each of some training sets with each seed."""
        return tuple(
            StudyCell(one, suited(model, one), seed)
            for model in (self.models if models is None else models)
            for one in rows
            for seed in self.seeds
        )


@dataclass(frozen=True)
class Axis:
    """Horizontal axis of a study's plots.

    Attributes:
        place: coordinate of a group; `None` for a horizontal line, as of all users.
        line: name of the line that a group belongs to.
        name: heading of a coordinate's table column.
    """

    label: str
    place: Callable[[Group], float | None]
    line: Callable[[Group], str]
    name: Callable[[float], str]
    log: bool = False


@dataclass(frozen=True)
class PaperStudy:
    """A study; `axis` is `None` for a table that is plotted as it is.

    `row` names a group's row in the paper's table; `None` for a study without one.
    """

    title: str
    about: str
    cells: Callable[[StudyOptions], tuple[StudyCell, ...]]
    describe: Callable[[Sequence[Group]], list[str]]
    axis: Axis | None = None
    row: Callable[[Group], str | None] | None = None


def suited(model: ModelChoice, rows: TrainingSet) -> ModelChoice:
    """Give a model the grid for few rows, unless it has a grid or a fixed λ."""
    if not rows.is_made:
        return model
    own = FEW_ROWS.get(model.name, {})
    fields = make_recipe(model.name).settings
    fixed = "reg" in model.settings
    more = {name: value for name, value in own.items() if name in fields and not fixed}
    return ModelChoice(model.name, {**more, **model.settings})
