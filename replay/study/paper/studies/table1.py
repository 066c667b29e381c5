"""The paper's Table 1: every model on all users, and ∞-AE on the synthetic ones of DISTILL-CF."""

from collections.abc import Sequence

from perennial.replay.study.paper.base import PaperStudy, StudyOptions
from perennial.replay.study.paper.cells import ALL_USERS, DISTILL, StudyCell
from perennial.replay.study.paper.groups import Group
from perennial.replay.study.paper.sentences import share_sentence

INFINITE_AE = "infinite-ae"
"""The model that the summaries are learnt with."""


def cells(asked: StudyOptions) -> tuple[StudyCell, ...]:
    """All models on all users; where ∞-AE is among them, it on what the samplers make too."""
    few = [model for model in asked.models if model.name == INFINITE_AE]
    return (*asked.cross(asked.whole()), *asked.cross(asked.few(), few))


def row(group: Group) -> str | None:
    """The row of the paper's table that a group stands beside."""
    if group.sampler == ALL_USERS:
        return group.model
    distilled = (group.sampler, group.users, group.model) == (DISTILL, 500, INFINITE_AE)
    return DISTILL if distilled else None


def tell(groups: Sequence[Group]) -> list[str]:
    """The best model, and what the few rows are worth."""
    scored = [(group.mean(("HR", 10)), group) for group in groups]
    known = [(value, group) for value, group in scored if value is not None]
    if not known:
        return []
    value, best = max(known, key=lambda pair: pair[0])
    found = [f"The highest HR@10 is that of {best.model} on {best.rows_name}: {value:.2f}."]
    return found + [
        sentence
        for group in groups
        if group.users is not None and (sentence := share_sentence(group, groups))
    ]


STUDY = PaperStudy(
    title="Table 1",
    about="Each model is fitted on train, its settings chosen on validation, and asked about test"
    " with train and validation as the context, without another fit.",
    cells=cells,
    tell=tell,
    row=row,
)
