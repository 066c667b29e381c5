"""What studies share that ask how many users are enough."""

from collections.abc import Sequence

from perennial.replay.study.paper.base import Axis, StudyOptions
from perennial.replay.study.paper.cells import StudyCell
from perennial.replay.study.paper.groups import Group
from perennial.replay.study.paper.sentences import share_of_whole

ENOUGH = 95.0
"""Per cent of what all users give at which few of them count as enough."""

BY_USERS = Axis(
    label="users, log scale",
    place=lambda group: group.users,
    line=lambda group: "all users" if group.users is None else group.sampler,
    name=lambda users: f"{users:,.0f}",
    log=True,
)


def cells(asked: StudyOptions) -> tuple[StudyCell, ...]:
    """Every model on all users, and on every number of them by every sampler."""
    return asked.cross((*asked.whole(), *asked.few()))


def tell(groups: Sequence[Group]) -> list[str]:
    """From how many users on each sampler is as good as all users, nearly."""
    return [
        sentence
        for model in dict.fromkeys(group.model for group in groups)
        if (sentence := _tell_model(model, groups))
    ]


def _tell_model(model: str, groups: Sequence[Group]) -> str:
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
