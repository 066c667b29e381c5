"""What a replay is asked to do."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter

from stream.held_out import HeldOutUsers
from stream.protocol import ProtocolSettings

Json = Any
"""What `json.dumps` takes."""


@dataclass(frozen=True)
class ModelChoice:
    """A model by name, with the settings that differ from its defaults.

    Attributes:
        name: a key of `models.registry.MODELS`.
        settings: fields of the model's recipe.
    """

    name: str
    settings: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True)
class ReplayConfig:
    """The settings of a replay; each (strategy, model, seed) is followed through all periods.

    Attributes:
        strategies: keys of `replay.strategies.registry.STRATEGIES`.
        strategy_settings: strategy -> its settings that differ from the defaults.
        models: the models, each at most once.
        seeds: every random draw of a fit derives from one of these.
        protocol: how the next period is asked about (design note 5).
        evaluation_seed: of the sampled negatives and the order of ties, which all strategies,
            models and seeds share.
        max_rows: row cap of a fit, `None` for none but the memory's.
        memory_limit: bytes a fit may allocate, `None` for no limit.
        held_out: users whom no fit sees; with them each fit is asked about every period, and about
            these users alone, for what it has kept and what it can guess. `None` for the next
            period and all its users.
        source: where the log came from; recorded only.
        cut: how it was cut into periods; recorded only.
    """

    strategies: tuple[str, ...] = ("individual", "joint")
    strategy_settings: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    models: tuple[ModelChoice, ...] = (ModelChoice("infinite-ae"), ModelChoice("mvae"))
    seeds: tuple[int, ...] = (0,)
    protocol: ProtocolSettings = field(default_factory=ProtocolSettings)
    evaluation_seed: int = 0
    max_rows: int | None = None
    memory_limit: int | None = None
    held_out: HeldOutUsers | None = None
    source: str | None = None
    cut: str | None = None

    def to_json(self) -> dict[str, Json]:
        """The settings as they are recorded and reported."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, recorded: Mapping[str, Json]) -> "ReplayConfig":
        """The inverse of `to_json`, also after a journey through text."""
        return TypeAdapter(cls).validate_python(recorded)
