"""The outer objective of DISTILL-CF as a function of the support (paper Eq. 3; design note 3).

Inner: ∞-AE in closed form on the support S, f(X) = K(X, S) (K(S, S) + λ tr(K)/μ I)⁻¹ S. Outer: the
loss of f on a batch of real users against their targets, and an L1 penalty on S. Arrays are dense,
on the device: O(b·μ + (μ + b)·|I|) memory. The cosine loss also follows from the inner products of
support, contexts and targets alone, for catalogues that are too large for dense arrays.

In all functions m is μ, `reg` λ, `num_items` the d of the kernel, `squares` |s|² of the support's
rows and `context_squares` |x|².
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.linalg import solve
from jaxtyping import Bool, Float, Num

from perennial.memory.distill.settings import Loss
from perennial.models.infinite_ae.kernel import KernelSettings, kernel_diagonal, kernel_values

SHORTEST = 1e-30
"""Least product of squared lengths: an empty target has no direction."""

NETWORK = KernelSettings()
"""The network of the inner ∞-AE: the authors'."""


def support_predictions(
    contexts: Float[Array, "b i"],
    support: Float[Array, "m i"],
    reg: Float[Array, ""],
    num_items: Num[Array, ""],
) -> Float[Array, "b i"]:
    """Predict for contexts with ∞-AE fitted on the support; i may be a part of the catalogue.

    The product is (K(X, S) A⁻¹) S: b·μ² operations for the solve, not μ²·|I|.
    """
    squares = (support**2).sum(axis=1)
    gram = ridged_gram(inner_products(support), squares, reg, num_items)
    context_squares = (contexts**2).sum(axis=1)
    return support_shares(gram, contexts @ support.T, context_squares, squares, num_items) @ support


def ridged_gram(
    inner: Float[Array, "m m"],
    squares: Float[Array, " m"],
    reg: Float[Array, ""],
    num_items: Num[Array, ""],
) -> Float[Array, "m m"]:
    """Compute A = K(S, S) + λ tr(K)/μ I from the inner products of the support with itself."""
    gram = kernel_values(inner, squares, squares, num_items, NETWORK)
    diagonal = kernel_diagonal(squares, num_items, NETWORK)
    ridge = reg * diagonal.mean()
    same = jnp.eye(len(squares), dtype=bool)
    return jnp.where(same, (diagonal + ridge)[:, None], (gram + gram.T) / 2)


def support_shares(
    gram: Float[Array, "m m"],
    cross: Float[Array, "b m"],
    context_squares: Float[Array, " b"],
    squares: Float[Array, " m"],
    num_items: Num[Array, ""],
) -> Float[Array, "b m"]:
    """Compute K(X, S) A⁻¹, the coefficient of each row of the support in the predictions.

    A is `gram`, and `cross` are the inner products of contexts and support.
    """
    similar = kernel_values(cross, context_squares, squares, num_items, NETWORK)
    # The gradient is a second solve with the same factor, and does not pass the factorisation.
    shares: Array = solve(gram, similar.T, assume_a="pos").T
    return shares


@jax.custom_vjp
def inner_products(rows: Float[Array, "n i"]) -> Float[Array, "n n"]:
    """Compute `rows @ rows.T`, whose gradient is one product, (G + Gᵀ) rows, not two as in JAX."""
    return rows @ rows.T


def _inner_forward(rows: Array) -> tuple[Array, Array]:
    return rows @ rows.T, rows


def _inner_backward(rows: Array, slope: Array) -> tuple[Array]:
    return ((slope + slope.T) @ rows,)


inner_products.defvjp(_inner_forward, _inner_backward)


def _cosine(
    scores: Float[Array, "b i"], targets: Float[Array, "b i"], _is_item: Bool[Array, " i"]
) -> Float[Array, " b"]:
    """1 − the cosine of each user's scores and targets; it ignores the scale of both."""
    lengths = (scores**2).sum(axis=1) * (targets**2).sum(axis=1)
    return 1 - (scores * targets).sum(axis=1) / jnp.sqrt(jnp.maximum(lengths, SHORTEST))


def _multinomial(
    scores: Float[Array, "b i"], targets: Float[Array, "b i"], is_item: Bool[Array, " i"]
) -> Float[Array, " b"]:
    """−Σ_i t_i log softmax(f)_i, the authors' code."""
    logits = jnp.where(is_item, scores, -jnp.inf)
    return -jnp.where(is_item, targets * jax.nn.log_softmax(logits), 0).sum(axis=1)


def _bernoulli(
    scores: Float[Array, "b i"], targets: Float[Array, "b i"], is_item: Bool[Array, " i"]
) -> Float[Array, " b"]:
    """−Σ_i t_i log σ(f)_i + (1 − t_i) log(1 − σ(f)_i), the paper's Eq. 3."""
    likelihood = targets * jax.nn.log_sigmoid(scores) + (1 - targets) * jax.nn.log_sigmoid(-scores)
    return -jnp.where(is_item, likelihood, 0).sum(axis=1)


_LOSSES: Mapping[Loss, Callable[[Array, Array, Array], Array]] = {
    "cosine": _cosine,
    "multinomial": _multinomial,
    "bernoulli": _bernoulli,
}


def reconstruction_loss(
    scores: Float[Array, "b i"],
    targets: Float[Array, "b i"],
    weights: Float[Array, " b"],
    is_item: Bool[Array, " i"],
    loss: Loss,
) -> Float[Array, ""]:
    """Compute the weighted mean over users of the loss of scores against targets.

    The likelihoods clip the targets to [0, 1]; columns that are no item are padding.
    """
    wanted = targets if loss == "cosine" else jnp.clip(targets, 0, 1)
    return _LOSSES[loss](scores, wanted, is_item) @ weights / weights.sum()


def sparsity_penalty(
    support: Float[Array, "m i"], data_row_sum: Float[Array, ""]
) -> Float[Array, ""]:
    """Compute the mean row sum of the support as a share of the data's."""
    return support.sum(axis=1).mean() / data_row_sum


class SupportProducts(NamedTuple):
    """Inner products of the support with contexts, with itself and with targets."""

    cross: Float[Array, "b m"]
    inner: Float[Array, "m m"]
    wanted: Float[Array, "b m"]


class TargetBatch(NamedTuple):
    """Numbers of a batch of users; `target_squares` are |t|²."""

    context_squares: Float[Array, " b"]
    target_squares: Float[Array, " b"]
    weights: Float[Array, " b"]
    num_items: Num[Array, ""]


def cosine_loss(
    products: SupportProducts, batch: TargetBatch, reg: Float[Array, ""]
) -> Float[Array, ""]:
    """Compute the cosine `reconstruction_loss` of `support_predictions` from inner products."""
    inner, squares = products.inner, jnp.diagonal(products.inner)
    gram = ridged_gram(inner, squares, reg, batch.num_items)
    shares = support_shares(gram, products.cross, batch.context_squares, squares, batch.num_items)
    lengths = ((shares @ inner) * shares).sum(axis=1) * batch.target_squares
    dots = (shares * products.wanted).sum(axis=1)
    losses = 1 - dots / jnp.sqrt(jnp.maximum(lengths, SHORTEST))
    return losses @ batch.weights / batch.weights.sum()


@jax.jit
def loss_and_slopes(
    products: SupportProducts, batch: TargetBatch, reg: Float[Array, ""]
) -> tuple[Float[Array, ""], SupportProducts]:
    """Compute the loss and its slope in each inner product, inside `jax.enable_x64(True)`.

    |f|² is here a difference of products that nearly cancel: single precision is not enough.
    """
    return jax.value_and_grad(cosine_loss)(products, batch, reg)
