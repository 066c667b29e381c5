"""Advice on the strategy to take on a log, from the means, intervals and costs of a study."""

from collections.abc import Callable
from dataclasses import dataclass

from perennial.replay.analysis.run import Cost
from perennial.replay.analysis.summary import Difference, RunSummary

METRIC = "HR"
CUTOFFS = (10, 100)
"""A strategy is level with another one unless it is below it at one of these."""


@dataclass(frozen=True)
class Advice:
    """Advice for one model.

    Attributes:
        best: strategy with the highest HR@10.
        strategy: the fastest of `best` and those level with it; `None` if intervals are missing.
        difference: HR@10 of `strategy` minus `best`; `None` if these are one.
        speedup: time of `best` by time of `strategy`, of fits and memory.
        saves_log: `best` needs the log of all periods, and `strategy` does not.
        is_fastest: no strategy of the study takes less time than `strategy`.
    """

    model: str
    best: str
    strategy: str | None
    difference: Difference | None = None
    speedup: float = 1.0
    saves_log: bool = False
    is_fastest: bool = False

    def describe(self) -> str:
        """Describe the advice in one sentence."""
        if self.strategy is None:
            return (
                f"With {self.model} no strategy can be advised: some differences from {self.best} "
                "have no interval; give more seeds, such as --seed 0,1,2."
            )
        text = f"With {self.model} take {self.strategy}: "
        one = self.difference
        if one is None or one.low is None or one.high is None:
            rest = "no other is faster" if self.is_fastest else "all that are faster are below it"
            return f"{text}it has the highest HR@10, and {rest}."
        gap = f"HR@10 {_signed(one.mean)}, 95% interval {_signed(one.low)} to {_signed(one.high)}"
        saved = f"takes {1 - 1 / self.speedup:.0%} less time"
        saved = f", {saved} and needs no log" if self.saves_log else f" and {saved}"
        return f"{text}it is level with {self.best} ({gap}){saved}."


def advise(summary: RunSummary, needs_log: Callable[[str], bool]) -> tuple[Advice, ...]:
    """Advise on a strategy for each model that has several.

    `summary` has the differences between all strategies. Times of fits and memory count, also
    those of a memory that another model made first.
    """
    heights = {
        (one.model, one.strategy): one.mean
        for one in summary.means
        if (one.metric, one.k) == (METRIC, CUTOFFS[0])
    }
    advice = []
    for model in dict.fromkeys(model for model, _ in heights):
        strategies = [name for of, name in heights if of == model]
        if len(strategies) > 1:
            best = max(strategies, key=lambda name: heights[model, name])
            advice.append(_advise_model(summary, model, best, strategies, needs_log))
    return tuple(advice)


def _advise_model(
    summary: RunSummary,
    model: str,
    best: str,
    strategies: list[str],
    needs_log: Callable[[str], bool],
) -> Advice:
    found = {
        (one.strategy, one.k): one
        for one in summary.differences
        if (one.model, one.baseline, one.metric) == (model, best, METRIC)
    }
    others = [name for name in strategies if name != best]
    known = {name: [found.get((name, k)) for k in CUTOFFS] for name in others}
    highs = {name: [one.high for one in both if one is not None] for name, both in known.items()}
    if any(not ends or None in ends for ends in highs.values()):
        return Advice(model, best, None)
    level = [name for name in others if all(end is not None and end >= 0 for end in highs[name])]
    seconds = {name: _seconds(summary.costs, model, name) for name in strategies}
    chosen = min([best, *level], key=lambda name: seconds[name])
    return Advice(
        model=model,
        best=best,
        strategy=chosen,
        difference=None if chosen == best else found[chosen, CUTOFFS[0]],
        speedup=seconds[best] / max(seconds[chosen], 1e-9),
        saves_log=needs_log(best) and not needs_log(chosen),
        is_fastest=seconds[chosen] == min(seconds.values()),
    )


def _seconds(costs: tuple[Cost, ...], model: str, strategy: str) -> float:
    """Return the seconds of fits and of the memory, which the first model bears for all."""
    own = [one for one in costs if one.strategy == strategy]
    fits = sum(one.fit_seconds for one in own if one.model == model)
    return fits + max((one.memory_seconds for one in own), default=0.0)


def _signed(points: float) -> str:
    return f"{points:+.1f}".replace("-", "−")
