"""`svp-cf-user`: the users whom a small model keeps forgetting (Sachdeva et al., WSDM 2022).

Selection via proxy: matrix factorisation is trained for a few epochs, and after each it is asked
whether it ranks an interaction above a random item. An interaction that was right and then is wrong
has been forgotten once. A user's priority is the mean number of times over the user's interactions:
the hardest users are kept.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from numpy.typing import NDArray
from scipy.sparse import csr_array

from memory.samplers.protocol import Sample, take_first

EPOCHS = 20
RANK = 32
LEARNING_RATE = 0.02
LARGEST_BATCH = 1024

_PADDING = 512
"""Users and items are padded to multiples of this, so that few shapes are compiled."""


def sample(rows: csr_array, budget: int, seed: int) -> Sample:
    """Equal users in a seeded order."""
    filled = np.flatnonzero(np.diff(rows.indptr))
    priorities = np.random.default_rng(seed).random(rows.shape[0]) * 1e-6
    if len(filled):
        priorities[filled] += mean_forgets(rows, seed)[filled]
    return take_first(rows, priorities, budget)


def mean_forgets(rows: csr_array, seed: int) -> NDArray[np.float64]:
    """Of each user the mean over the interactions of how often they were forgotten.

    Args:
        rows: `(m, num_items)` binary, at least one interaction.
        seed: of the start, the order and the random items.

    Returns:
        `(m,)` ≥ 0; 0 for an empty row.
    """
    lengths = np.diff(rows.indptr)
    users = np.repeat(np.arange(rows.shape[0], dtype=np.int32), lengths)
    occurring, items = np.unique(rows.indices, return_inverse=True)
    count = len(users)
    # At least a dozen steps an epoch, in few sizes.
    batch = min(LARGEST_BATCH, 1 << (count // 16).bit_length())
    filled_up = batch * -(-count // batch)
    sizes = tuple(_PADDING * -(-size // _PADDING) for size in (rows.shape[0], len(occurring)))
    right = _train(
        jnp.asarray(np.resize(users, filled_up)),
        jnp.asarray(np.resize(items.astype(np.int32), filled_up)),
        jnp.int32(len(occurring)),
        jax.random.key(seed % 2**32),
        batch,
        sizes,
    )
    forgets = count_forgets(np.asarray(right)[:, :count])
    sums = np.bincount(users, weights=forgets, minlength=rows.shape[0])
    means: NDArray[np.float64] = sums / np.maximum(lengths, 1)
    return means


def count_forgets(right: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How often each interaction was right after an epoch and wrong after the next.

    Args:
        right: `(epochs, n)`.
    """
    forgets: NDArray[np.int64] = (right[:-1] & ~right[1:]).sum(axis=0)
    return forgets


_Factors = tuple[Array, Array]
_State = tuple[_Factors, optax.OptState]


def _margins(factors: _Factors, users: Array, liked: Array, other: Array) -> Array:
    """How far each user prefers one item to another."""
    by_user, by_item = factors
    margins: Array = (by_user[users] * (by_item[liked] - by_item[other])).sum(axis=1)
    return margins


@partial(jax.jit, static_argnames=("batch", "sizes"))
def _train(
    users: Array, items: Array, num_items: Array, key: Array, batch: int, sizes: tuple[int, ...]
) -> Array:
    """`(epochs, n)` bool: which interactions rank above a random item after each epoch."""
    start_key, epochs_key = jax.random.split(key)
    user_key, item_key = jax.random.split(start_key)
    start = (
        0.1 * jax.random.normal(user_key, (sizes[0], RANK)),
        0.1 * jax.random.normal(item_key, (sizes[1], RANK)),
    )
    optimiser = optax.adam(LEARNING_RATE)

    def step(state: _State, drawn: tuple[Array, Array, Array]) -> tuple[_State, None]:
        factors, moments = state
        # Bayesian personalised ranking (Rendle et al., UAI 2009).
        slopes = jax.grad(lambda f: -jax.nn.log_sigmoid(_margins(f, *drawn)).mean())(factors)
        change, moments = optimiser.update(slopes, moments)
        return (optax.apply_updates(factors, change), moments), None

    def epoch(state: _State, key: Array) -> tuple[_State, Array]:
        order_key, train_key, test_key = jax.random.split(key, 3)
        order = jax.random.permutation(order_key, len(users))
        others = jax.random.randint(train_key, users.shape, 0, num_items)
        shape = (-1, batch)
        drawn = users[order].reshape(shape), items[order].reshape(shape), others.reshape(shape)
        state, _ = jax.lax.scan(step, state, drawn)
        asked = jax.random.randint(test_key, users.shape, 0, num_items)
        return state, _margins(state[0], users, items, asked) > 0

    epochs = jax.random.split(epochs_key, EPOCHS)
    _, right = jax.lax.scan(epoch, (start, optimiser.init(start)), epochs)
    answers: Array = right
    return answers
