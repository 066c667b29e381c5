"""The outer loss as a function of inner products, which item blocks can be summed into.

∞-AE on a support S depends on S through S Sᵀ and X Sᵀ only; and as f = W S, the cosine of f with
targets T depends on S through S Sᵀ and T Sᵀ. So the loss of a step is a function of three small
matrices, and so are its slopes: with A = X Sᵀ, N = S Sᵀ and C = T Sᵀ its gradient is
(∂A)ᵀ X + (∂N + ∂Nᵀ) S + (∂C)ᵀ T. It is exact; nothing is left out or sampled.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from memory.objective import SHORTEST, ridged_gram, support_shares


class Products(NamedTuple):
    """The inner products that the support takes part in.

    Attributes:
        cross: `(b, μ)` A, of the contexts with it.
        inner: `(μ, μ)` N, of itself.
        wanted: `(b, μ)` C, of the targets with it.
    """

    cross: Array
    inner: Array
    wanted: Array


class Asked(NamedTuple):
    """What is known of a batch.

    Attributes:
        context_squares: `(b,)` |x|².
        target_squares: `(b,)` |t|².
        weights: `(b,)` how much each user counts.
        num_items: `()` d of the kernel.
    """

    context_squares: Array
    target_squares: Array
    weights: Array
    num_items: Array


def cosine_loss(products: Products, asked: Asked, reg: Array) -> Array:
    """What `objective.reconstruction_loss` says of `objective.support_predictions`."""
    inner, squares = products.inner, jnp.diagonal(products.inner)
    gram = ridged_gram(inner, squares, reg, asked.num_items)
    shares = support_shares(gram, products.cross, asked.context_squares, squares, asked.num_items)
    lengths = ((shares @ inner) * shares).sum(axis=1) * asked.target_squares
    dots = (shares * products.wanted).sum(axis=1)
    losses = 1 - dots / jnp.sqrt(jnp.maximum(lengths, SHORTEST))
    return losses @ asked.weights / asked.weights.sum()


@partial(jax.jit)
def loss_and_slopes(products: Products, asked: Asked, reg: Array) -> tuple[Array, Products]:
    """The loss and its slope in each inner product; call it inside `jax.enable_x64(True)`.

    |f|² is here a difference of products that nearly cancel, for which single precision is short.
    """
    return jax.value_and_grad(cosine_loss)(products, asked, reg)
