"""Which kills a campaign makes: drawn by seed, as many in each phase as can be."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from benchmarks.crash.points import Point

LONGEST_DELAY = 0.005
"""Seconds: about what a commit, a checkpoint or a file takes."""


@dataclass(frozen=True)
class Place:
    """A point of a scenario.

    Attributes:
        scenario: its name.
        step: number of the command, from 0.
        point: number of the point in it, from 0.
    """

    scenario: str
    step: int
    point: int


@dataclass(frozen=True)
class Kill:
    """A kill to be made.

    Attributes:
        number: in the campaign, from 0.
        phase: that the point lies in.
        place: the point.
        delay: seconds after it; 0 at once.
        from_start: whether all commands are given again, from the first to the last, and not only
            the killed one.
    """

    number: int
    phase: str
    place: Place
    delay: float
    from_start: bool


def draw_kills(points: Mapping[Place, Point], count: int, seed: int) -> list[Kill]:
    """Draw kills, in the order in which they are to be made.

    Phases take turns, so that the first kills of a campaign are spread as well as all of them.
    Within a phase the points are cut into as many stretches as it has kills, and each has one.
    Half of the kills come at once, half a moment later, inside what follows.

    Args:
        points: of all scenarios, undisturbed, in their order.
        count: how many; a phase may have more kills than points.
        seed: of the draw.
    """
    rng = np.random.default_rng(seed)
    by_phase: dict[str, list[Place]] = defaultdict(list)
    for place, point in points.items():
        by_phase[point.phase].append(place)
    phases = sorted(by_phase)
    shares = {phase: len(range(turn, count, len(phases))) for turn, phase in enumerate(phases)}
    drawn = {phase: _spread(by_phase[phase], shares[phase], rng) for phase in phases}
    kills = []
    for number in range(count):
        phase = phases[number % len(phases)]
        late = bool(rng.integers(2))
        delay = float(rng.uniform(0, LONGEST_DELAY)) if late else 0.0
        place = drawn[phase].pop()
        kills.append(Kill(number, phase, place, delay, from_start=bool(rng.random() < 0.25)))
    return kills


def _spread(places: Sequence[Place], count: int, rng: np.random.Generator) -> list[Place]:
    """One place of each of so many stretches, in random order."""
    edges = np.linspace(0, len(places), count + 1)
    chosen = [
        places[min(int(rng.uniform(low, high)), len(places) - 1)] for low, high in pairwise(edges)
    ]
    return [chosen[number] for number in rng.permutation(count)]
