"""The paper's Figures 1 and 2: ∞-AE, or another model, against the number of users, by sampler."""

from collections.abc import Sequence

from perennial.replay.study.paper.base import Axis, PaperStudy, StudyOptions
from perennial.replay.study.paper.cells import StudyCell, TrainingSet
from perennial.replay.study.paper.groups import Group, share_of_whole

ENOUGH = 95.0
"""Share of the HR@10 on all users, per cent, at which few users count as enough."""

BY_USERS = Axis(
    label="users, log scale",
    place=lambda group: group.users,
    line=lambda group: "all users" if group.users is None else group.sampler,
    name=lambda users: f"{users:,.0f}",
    log=True,
)


def cells(options: StudyOptions) -> tuple[StudyCell, ...]:
    """Return every model on all users, and on each number of them by every sampler."""
    return options.cross((TrainingSet(), *options.few()))


def describe(groups: Sequence[Group]) -> list[str]:
    """Give the number of users from which each sampler is nearly as good as all users."""
    models = dict.fromkeys(group.model for group in groups)
    return [*filter(None, (_describe_model(model, groups) for model in models))]


def _describe_model(model: str, groups: Sequence[Group]) -> str:
    few = [group for group in groups if group.model == model and group.users is not None]
    reached, missed = [], []
    for sampler in dict.fromkeys(group.sampler for group in few):
        mine = [group for group in few if group.sampler == sampler]
        shares = {group.users: share_of_whole(group, groups) for group in mine}
        known = {users: share for users, share in shares.items() if users and share is not None}
        enough = [users for users, share in known.items() if share >= ENOUGH]
        if enough:
            reached.append(f"{min(enough):,} of {sampler}")
        elif known:
            missed.append(f"{max(known):,} of {sampler} ({known[max(known)]:.1f}%)")
    if not reached and not missed:
        return ""
    parts = [f"with {', '.join(reached)}"] if reached else []
    parts += [f"not with {', '.join(missed)}"] if missed else []
    return f"{model} has {ENOUGH:.0f}% of its HR@10 on all users {', '.join(parts)}."


STUDY = PaperStudy(
    title="Sample efficiency",
    about="∞-AE is fitted on a few rows that each sampler keeps or makes of train, and on all users"
    " for comparison. How many rows does it take to be as good?",
    cells=cells,
    describe=describe,
    axis=BY_USERS,
)

TRANSFER = PaperStudy(
    title="Transfer to other models",
    about="Synthetic users are learnt with ∞-AE. Here other models are fitted on them, and on the"
    " users that each sampler keeps: the rows of the study of sample efficiency.",
    cells=cells,
    describe=describe,
    axis=BY_USERS,
)
"""The paper's Figure 2: other models on the synthetic users that were learnt with ∞-AE."""
