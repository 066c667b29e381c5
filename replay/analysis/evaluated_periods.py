"""Counts of evaluated and skipped users of each period, with the reasons."""

from collections.abc import Sequence
from dataclasses import dataclass

from perennial.replay.analysis.run import RunData
from perennial.storage.results.cells import EvaluatedUsers


@dataclass(frozen=True)
class EvaluatedPeriod:
    """Numbers of evaluated and skipped users of a period.

    Of the skipped, users `without_context` have nothing before their first target (`None` in
    figures of an earlier version); the others have no target outside their context.
    """

    eval_period: int
    users: int
    skipped_users: int
    without_context: int | None


def count_users(evaluated: EvaluatedUsers) -> EvaluatedPeriod:
    """Count the users of an evaluation."""
    return EvaluatedPeriod(
        evaluated.eval_period,
        len(evaluated.users),
        evaluated.counts.get("skipped_users", 0),
        evaluated.counts.get("without_context"),
    )


def evaluated_periods(data: RunData) -> tuple[EvaluatedPeriod, ...]:
    """Count the users of the periods that cells of a run were evaluated on, in order."""
    found = {
        cell.eval_period: count_users(data.evaluated_users[cell.evaluation_key])
        for cell in data.cells
    }
    return tuple(found[period] for period in sorted(found))


def describe_empty(evaluations: Sequence[EvaluatedPeriod]) -> list[str]:
    """Return a sentence if nobody could be evaluated in some periods, else none."""
    empty = [one for one in evaluations if not one.users]
    if not empty:
        return []
    if len(empty) == len(evaluations):
        where = f"any of the {len(empty)} evaluated periods" if len(empty) > 1 else "the period"
    else:
        numbers = ", ".join(str(one.eval_period) for one in empty)
        where = f"{len(empty)} of {len(evaluations)} periods ({numbers}), left out of the means"
    return [f"Nobody could be evaluated in {where}: {describe_skipped(empty)}."]


def describe_skipped(evaluations: Sequence[EvaluatedPeriod]) -> str:
    """Describe why the skipped users of some periods were skipped, in a few words."""
    skipped = sum(one.skipped_users for one in evaluations)
    if not skipped:
        return "none of the users to evaluate was active"
    known = [one.without_context for one in evaluations if one.without_context is not None]
    without = sum(known)
    reasons = [f"{without:,} had no interaction before their first target"] if without else []
    if len(known) == len(evaluations) and without < skipped:
        reasons.append(f"{skipped - without:,} had met all their targets before")
    users = "1 user" if skipped == 1 else f"{skipped:,} users"
    return f"of {users}, {' and '.join(reasons)}" if reasons else f"{users} skipped"
