"""Recommendations as lines and as JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from replay.service.answering import Answer, Answers
from replay.service.reasons import Reason


def answers_to_json(
    found: Sequence[Answer], model: Answers, *, published: bool, why: bool
) -> dict[str, Any]:
    """What `recommend --json` prints.

    Args:
        found: the answers.
        model: that gave them.
        published: whether it is the live one, of which it is told then.
        why: whether reasons were asked for.
    """
    listed = [
        {"item": one.item, "score": one.score, "title": one.title}
        | ({"reasons": [asdict(reason) for reason in one.reasons]} if why else {})
        for one in found
    ]
    if not published:
        return {"recommendations": listed}
    about = {
        "period": model.period,
        "published": model.published.isoformat() + "+00:00",
        "model": model.model_name,
        "strategy": model.strategy,
    }
    return about | {"recommendations": listed}


def describe_answers(found: Sequence[Answer], period: int) -> Iterator[str]:
    """A line per item, best first, and the reasons below it.

    Args:
        found: the answers.
        period: the newest one that the model has seen.
    """
    width = max((len(str(one.item)) for one in found if one.title is not None), default=0)
    for place, one in enumerate(found, start=1):
        title = "" if one.title is None else f"  {one.title}"
        yield f"{place:>3}  {one.item!s:{width}}{title}"
        for reason in one.reasons:
            yield f"       {_describe(reason, period)}"


def _describe(reason: Reason, period: int) -> str:
    who = {
        "remembered": "a remembered user",
        "newest": f"a user of period {period}",
        "user": "a user of the log",
        "unknown": "a row of the training",
    }[reason.kind]
    line = f"{reason.share:.0%} by {who}, similarity {reason.similarity:.2f}"
    if not reason.shared:
        return f"{line}, nothing in common"
    names = ", ".join(str(one.item if one.title is None else one.title) for one in reason.shared)
    more = reason.num_shared - len(reason.shared)
    return f"{line}; both have {names}" + (f" and {more:,} more" if more else "")
