"""Parametrisations of the support, one per method: the parameters that are learnt.

A parametrisation is pure functions: initial parameters from real rows, the support of parameters,
the optimiser, and the projection of parameters into their domain after a step.
"""

import math
from collections.abc import Mapping
from typing import Protocol

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Float, Key

from perennial.memory.distill.gumbel import exact_support, matched_support, support_by_regime
from perennial.memory.distill.settings import DistillSettings, Method, Sampler
from perennial.memory.distill.top_k import keep_largest

MOMENTUM = 0.9
"""Decay of the running average of the gradients of `SparseWeights`."""


class Parametrisation(Protocol):
    """Parameters of a support."""

    def initialise(
        self, rows: Float[Array, "m i"], targets: Float[Array, "m i"], settings: DistillSettings
    ) -> Float[Array, "m i"]:
        """Return parameters from μ real users' rows and targets."""

    def support(
        self, parameters: Float[Array, "m i"], key: Key[Array, ""], settings: DistillSettings
    ) -> Float[Array, "m i"]:
        """Return the support in [0, 1], through which gradients reach the parameters."""

    def project(self, parameters: Float[Array, "m i"]) -> Float[Array, "m i"]:
        """Return parameters after a step, projected into their domain."""

    def optimiser(
        self, settings: DistillSettings, shape: tuple[int, ...]
    ) -> optax.GradientTransformation:
        """Return the optimiser of parameters of that shape."""


class SparseWeights:
    """Weights in [0, 1], of which the support has only the k largest of each row, at every step.

    The gradient passes straight through the selection, so that a weight outside can grow into it.
    All entries share one step size: Adam's own makes the rare items' noise as large as the signal,
    and the pattern churns (measured: 54.3 against 55.0 validation HR@100).
    """

    def initialise(
        self, rows: Float[Array, "m i"], targets: Float[Array, "m i"], settings: DistillSettings
    ) -> Float[Array, "m i"]:
        """Return the users' targets, scaled and clipped at 1."""
        return jnp.clip(settings.start_scale * targets, 0, 1)

    def support(
        self, parameters: Float[Array, "m i"], key: Key[Array, ""], settings: DistillSettings
    ) -> Float[Array, "m i"]:
        """Return the weights, with all but the k largest of a row at 0."""
        kept = keep_largest(parameters, settings.max_items)
        return parameters + jax.lax.stop_gradient(kept - parameters)

    def project(self, parameters: Float[Array, "m i"]) -> Float[Array, "m i"]:
        """Clip to [0, 1]."""
        return jnp.clip(parameters, 0, 1)

    def optimiser(
        self, settings: DistillSettings, shape: tuple[int, ...]
    ) -> optax.GradientTransformation:
        """Return momentum on gradients scaled to a root mean square change of a row's k entries."""
        return optax.chain(
            optax.normalize_by_update_norm(scale_factor=update_norm(settings, shape)),
            optax.ema(MOMENTUM),
            optax.scale(-settings.learning_rate),
        )


def update_norm(settings: DistillSettings, shape: tuple[int, ...]) -> float:
    """Return the norm of a gradient scaled so that each of a row's k entries changes by 1."""
    kept = shape[1] if settings.max_items is None else min(settings.max_items, shape[1])
    return math.sqrt(shape[0] * kept)


class GumbelPrior:
    """Logits over the items, sampled γ times with Gumbel noise (paper Eq. 4)."""

    def initialise(
        self, rows: Float[Array, "m i"], targets: Float[Array, "m i"], settings: DistillSettings
    ) -> Float[Array, "m i"]:
        """Return the users' rows as they are."""
        return rows

    def support(
        self, parameters: Float[Array, "m i"], key: Key[Array, ""], settings: DistillSettings
    ) -> Float[Array, "m i"]:
        """Return hard_tanh of the sum of γ softmaxes."""
        draw = _SAMPLERS[settings.sampler]
        return draw(parameters, key, settings.num_samples, settings.temperature)

    def project(self, parameters: Float[Array, "m i"]) -> Float[Array, "m i"]:
        """Return the parameters: any real number is a logit."""
        return parameters

    def optimiser(
        self, settings: DistillSettings, shape: tuple[int, ...]
    ) -> optax.GradientTransformation:
        """Return Adam."""
        return optax.adam(settings.learning_rate)


_SAMPLERS: Mapping[Sampler, "_Draw"] = {
    "auto": support_by_regime,
    "exact": exact_support,
    "matched": matched_support,
}

PARAMETRISATIONS: Mapping[Method, Parametrisation] = {
    "sparse": SparseWeights(),
    "paper": GumbelPrior(),
}


class _Draw(Protocol):
    def __call__(
        self, logits: Float[Array, "m i"], key: Key[Array, ""], num_samples: int, temperature: float
    ) -> Float[Array, "m i"]: ...
