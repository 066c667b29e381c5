"""The neural tangent kernel of ∞-AE in closed form (paper section 3; design note 2).

The network is Dense – (ReLU – Dense) × depth in the NTK parameterisation. Its kernel between two
rows depends on three numbers only, ⟨x, x'⟩, |x|² and |x'|², so everything here is elementwise. In
each hidden layer, with θ the angle of the two rows there,

    κ₀ = (π − θ)/π,  κ₁ = (sin θ + (π − θ) cos θ)/π,
    Σ⁺ = σ_w²/2 · √(Σ(x,x) Σ(x',x')) · κ₁ + σ_b²,
    Θ⁺ = Σ⁺ + σ_w²/2 · Θ · κ₀,

from Σ₀ = Θ₀ = σ_w² ⟨x, x'⟩/d + σ_b².
"""

import math
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Num


@dataclass(frozen=True)
class KernelSettings:
    """The network whose kernel it is: depth ≥ 1 hidden layers, σ_w², σ_b² (the authors' 0.01)."""

    depth: int = 1
    weight_variance: float = 2.0
    bias_variance: float = 0.01


def _arcsine_series(terms: int) -> tuple[float, ...]:
    """Taylor coefficients of arcsin(√z)/√z, highest first; on [0, 1/4] each gains two bits."""
    return tuple(math.comb(2 * k, k) / (4**k * (2 * k + 1)) for k in reversed(range(terms)))


_SERIES = {np.dtype(np.float32): _arcsine_series(11), np.dtype(np.float64): _arcsine_series(25)}


def _angle(cosine: Float[Array, "*pairs"]) -> Float[Array, "*pairs"]:
    """Compute arccos without branches, to two units in the last place.

    XLA's own costs ten times as much on a CPU, where it is most of the kernel's time.
    """
    size = jnp.abs(cosine)
    near_one = size >= 0.5
    # arccos c = 2 arcsin √((1−c)/2) near one, π/2 − arcsin c elsewhere.
    z = jnp.where(near_one, (1 - size) / 2, size * size)
    root = jnp.where(near_one, jnp.sqrt(z), size)
    value = jnp.zeros_like(z)
    for coefficient in _SERIES[np.dtype(z.dtype)]:
        value = value * z + coefficient
    arcsine = root * value
    angle = jnp.where(near_one, 2 * arcsine, math.pi / 2 - arcsine)
    return jnp.where(cosine < 0, math.pi - angle, angle)


@jax.custom_jvp
def relu_moments(
    cosine: Float[Array, "*pairs"],
) -> tuple[Float[Array, "*pairs"], Float[Array, "*pairs"]]:
    """Compute κ₀ and κ₁ of the angle whose cosine is given, elementwise.

    The derivative of κ₁ is κ₀. That of κ₀ is 1/(π sin θ), infinite where two rows coincide; there
    it is taken as 0, to which the slopes on either side of the kink average.
    """
    angle = _angle(cosine)
    sine = jnp.sqrt((1 - cosine) * (1 + cosine))
    return (math.pi - angle) / math.pi, (sine + (math.pi - angle) * cosine) / math.pi


@relu_moments.defjvp
def _relu_moments_jvp(
    primals: tuple[Array], tangents: tuple[Array]
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """The derivatives that `relu_moments` states, finite everywhere and to any order."""
    (cosine,), (change,) = primals, tangents
    zeroth, first = relu_moments(cosine)
    squared_sine = (1 - cosine) * (1 + cosine)
    distinct = squared_sine > 8 * float(np.finfo(cosine.dtype).eps)
    slope = jnp.where(distinct, 1 / (math.pi * jnp.sqrt(jnp.where(distinct, squared_sine, 1))), 0)
    return (zeroth, first), (slope * change, zeroth * change)


@partial(jax.jit, static_argnames="settings")
def kernel_values(
    inner: Float[Array, "l r"],
    left_squares: Float[Array, " l"],
    right_squares: Float[Array, " r"],
    num_items: Num[Array, ""],
    settings: KernelSettings,
) -> Float[Array, "l r"]:
    """Compute Θ of each pair of rows from three numbers per pair.

    Args:
        inner: ⟨x, x'⟩, float32 or float64 (the latter inside `jax.enable_x64(True)`).
        left_squares: |x|².
        right_squares: |x'|².
        num_items: d > 0, the width of the rows.
        settings: the network.

    Returns:
        Θ in the dtype of `inner`. Where the two rows are equal the cosine is off from 1 by
        its last place and Θ by about that number's square root; `kernel_diagonal` is exact.
    """
    half_variance, bias = settings.weight_variance / 2, settings.bias_variance
    scale = settings.weight_variance / jnp.asarray(num_items, inner.dtype)
    sigma = theta = scale * inner + bias
    left = scale * jnp.asarray(left_squares, inner.dtype)[:, None] + bias
    right = scale * jnp.asarray(right_squares, inner.dtype)[None, :] + bias
    for _ in range(settings.depth):
        norm, cosine = _norm_and_cosine(sigma, left * right)
        zeroth, first = relu_moments(cosine)
        sigma = half_variance * norm * first + bias
        theta = sigma + half_variance * theta * zeroth
        left, right = half_variance * left + bias, half_variance * right + bias
    return theta


@partial(jax.jit, static_argnames="settings")
def kernel_diagonal(
    squares: Float[Array, " n"], num_items: Num[Array, ""], settings: KernelSettings
) -> Float[Array, " n"]:
    """Compute Θ of each row with itself from its |x|² and d > 0, where κ₀ = κ₁ = 1."""
    half_variance, bias = settings.weight_variance / 2, settings.bias_variance
    sigma = settings.weight_variance * squares / jnp.asarray(num_items, squares.dtype) + bias
    theta = sigma
    for _ in range(settings.depth):
        sigma = half_variance * sigma + bias
        theta = sigma + half_variance * theta
    return theta


def _norm_and_cosine(
    sigma: Float[Array, "l r"], product: Float[Array, "l r"]
) -> tuple[Float[Array, "l r"], Float[Array, "l r"]]:
    """√(Σ(x,x) Σ(x',x')) and the cosine, both 0 where a row has no length (σ_b = 0, empty row)."""
    positive = product > 0
    norm = jnp.sqrt(jnp.where(positive, product, 1))
    cosine = jnp.where(positive, jnp.clip(sigma / norm, -1, 1), 0)
    return jnp.where(positive, norm, 0), cosine
