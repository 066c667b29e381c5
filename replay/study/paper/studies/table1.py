"""The paper's Table 1: every model on all users, and ∞-AE on the synthetic ones of DISTILL-CF."""

from collections.abc import Sequence

from perennial.replay.study.paper.base import PaperStudy, StudyOptions
from perennial.replay.study.paper.cells import ALL_USERS, DISTILL, StudyCell, TrainingSet
from perennial.replay.study.paper.groups import Group, share_of_whole, whole_group

INFINITE_AE = "infinite-ae"
"""The model that summaries are distilled with."""


def cells(options: StudyOptions) -> tuple[StudyCell, ...]:
    """Return all models on all users, and ∞-AE, if it is among them, on few rows too."""
    few = [model for model in options.models if model.name == INFINITE_AE]
    return (*options.cross((TrainingSet(),)), *options.cross(options.few(), few))


def row(group: Group) -> str | None:
    """Return the row of the paper's table for a group, if it has one."""
    if group.sampler == ALL_USERS:
        return group.model
    distilled = (group.sampler, group.users, group.model) == (DISTILL, 500, INFINITE_AE)
    return DISTILL if distilled else None


def describe(groups: Sequence[Group]) -> list[str]:
    """Name the best model, and the share of it that few rows reach."""
    scored = [(group.mean(("HR", 10)), group) for group in groups]
    known = [(value, group) for value, group in scored if value is not None]
    if not known:
        return []
    value, best = max(known, key=lambda pair: pair[0])
    best_sentence = f"The highest HR@10 is that of {best.model} on {best.rows_name}: {value:.2f}."
    few = [group for group in groups if group.users is not None]
    return [best_sentence, *filter(None, (_share_sentence(group, groups) for group in few))]


def _share_sentence(group: Group, groups: Sequence[Group]) -> str:
    share, whole = share_of_whole(group, groups), whole_group(group, groups)
    if share is None or whole is None:
        return ""
    rows, users = group.records[0].num_rows, whole.records[0].num_rows
    return (
        f"{group.model} on {rows:,} rows of {group.sampler} has {share:.1f}% of its HR@10 on all"
        f" {users:,} users."
    )


STUDY = PaperStudy(
    title="Table 1",
    about="Each model is fitted on train, its settings chosen on validation, and evaluated on test"
    " with train and validation as the context, without another fit.",
    cells=cells,
    describe=describe,
    row=row,
)
