"""What each fit is asked about: the next period or, for transfer, every period."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from replay.config import ReplayConfig
from replay.keys import evaluation_key
from storage.periods import fingerprint, first_held_period
from storage.store import Store
from stream.evaluation import Evaluation
from stream.protocol import build_evaluation


@dataclass(frozen=True)
class Question:
    """A period that the fits at another one are asked about.

    Attributes:
        key: of everything that the evaluation follows from.
    """

    fit_period: int
    eval_period: int
    key: str


def asked_periods(config: ReplayConfig, fit_period: int, num_periods: int) -> tuple[int, ...]:
    """The periods that a fit is asked about."""
    if config.held_out is None:
        return (fit_period + 1,)
    return tuple(range(1, num_periods + 1))


def make_questions(
    store: Store,
    config: ReplayConfig,
    fit_period: int,
    num_periods: int,
    versions: Mapping[str, str],
) -> tuple[Question, ...]:
    """The questions to the fits at a period, in order of the periods asked about."""
    extra: dict[str, Any] = {}
    held = first_held_period(store)
    if held > 1:
        # Contexts have only what the store still holds.
        extra["held_from"] = held
    questions = []
    for eval_period in asked_periods(config, fit_period, num_periods):
        if config.held_out is not None:
            extra |= {
                "fit_period": fit_period,
                "eval_period": eval_period,
                "only": [config.held_out.share, config.held_out.seed],
            }
        key = evaluation_key(
            log=fingerprint(store, max(fit_period, eval_period)),
            protocol=config.protocol,
            seed=config.evaluation_seed,
            versions=versions,
            extra=extra,
        )
        questions.append(Question(fit_period, eval_period, key))
    return tuple(questions)


def pose(store: Store, config: ReplayConfig, question: Question) -> Evaluation:
    """Build the evaluation that a question stands for."""
    return build_evaluation(
        store,
        question.fit_period,
        config.protocol,
        config.evaluation_seed,
        eval_period=question.eval_period,
        only=config.held_out,
    )
