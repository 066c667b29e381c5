"""Sentences that several studies say."""

from collections.abc import Sequence

from perennial.replay.study.paper.cells import ALL_USERS
from perennial.replay.study.paper.groups import Group
from perennial.replay.study.paper.published import Figure

HEADLINE: Figure = ("HR", 10)
"""What sentences are about."""


def whole_of(group: Group, groups: Sequence[Group]) -> Group | None:
    """The same model on all users, without noise."""
    wanted = (group.model, ALL_USERS, 0.0)
    return next((one for one in groups if (one.model, one.sampler, one.noise) == wanted), None)


def share_of_whole(group: Group, groups: Sequence[Group]) -> float | None:
    """HR@10 in per cent of the same model's on all users without noise."""
    whole = whole_of(group, groups)
    ours, theirs = group.mean(HEADLINE), None if whole is None else whole.mean(HEADLINE)
    return 100.0 * ours / theirs if ours is not None and theirs else None


def share_sentence(group: Group, groups: Sequence[Group]) -> str:
    """What few rows are worth; empty where it cannot be told."""
    share, whole = share_of_whole(group, groups), whole_of(group, groups)
    if share is None or whole is None:
        return ""
    rows, users = group.records[0].num_rows, whole.records[0].num_rows
    return (
        f"{group.model} on {rows:,} rows of {group.sampler} has {share:.1f}% of its HR@10 on all"
        f" {users:,} users."
    )
