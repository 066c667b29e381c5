"""`svp-cf-user`: the users that are hardest for a small model (Sachdeva et al., WSDM 2022).

Selection via proxy: matrix factorisation is trained for a few epochs; after each, every interaction
is compared with a random item that the user does not have. The number of epochs in which the random
item ranks higher is what the authors' code calls the interaction's forgetting events: every mistake
counts, not only one that follows a right ranking as in Toneva et al. (ICLR 2019). A user's priority
is the mean over the user's interactions, and users with the highest are kept. The authors select
users up to a share of the interactions, here up to a number of users.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from numpy.typing import NDArray
from scipy.sparse import csr_array

from perennial.memory.samplers.base import Sample, take_first

EPOCHS = 50
RANK = 10
LEARNING_RATE = 0.006
LARGEST_BATCH = 1024
"""The authors' values, without their dropout. A larger model memorises rows, and two seeds agree
less on which users are hard: rank correlation 0.77 here, 0.63 at rank 32 after 20 epochs at 0.02
(ML-1M, period 3 of 17)."""

SMALLEST_BATCH = 8

_PADDING = 512
"""Users and items are padded to multiples of this, so that few shapes are compiled."""

_FEWEST = 128
"""Smallest multiple that interactions are padded to."""


def sample(rows: csr_array, budget: int, seed: int) -> Sample:
    """Take the rows `(m, num_items)` with the highest mean share of mistakes; ties at random."""
    priorities = np.random.default_rng(seed).random(rows.shape[0]) * 1e-6
    if rows.nnz:
        priorities += mean_mistakes(rows, *proxy_mistakes(rows, seed))
    return take_first(rows, priorities, budget)


def mean_mistakes(
    rows: csr_array, mistakes: NDArray[np.bool_], compared: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Compute each user's mean, over the interactions, of the share of mistakes: `(m,)` in [0, 1].

    The rows are `(m, num_items)` binary with n interactions, `mistakes` and `compared` `(epochs,
    n)` in their order. An interaction that was never compared has no mistakes, an empty row 0.
    """
    lengths = np.diff(rows.indptr)
    shares = mistakes.sum(axis=0) / np.maximum(compared.sum(axis=0), 1)
    owner = np.repeat(np.arange(rows.shape[0]), lengths)
    sums = np.bincount(owner, weights=shares, minlength=rows.shape[0])
    means: NDArray[np.float64] = sums / np.maximum(lengths, 1)
    return means


def proxy_mistakes(rows: csr_array, seed: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Train the proxy, and after each epoch compare each interaction with a random item.

    An item that the user has is not compared: users with long rows would otherwise seem hard. The
    rows are `(m, num_items)` binary with n ≥ 1 interactions.

    Returns:
        Two arrays `(EPOCHS, n)`, interactions in the order of the rows and then of the items:
        whether the random item ranks as high or above, and whether it is compared at all.
    """
    rows = rows.sorted_indices()
    lengths = np.diff(rows.indptr)
    users = np.repeat(np.arange(rows.shape[0], dtype=np.int32), lengths)
    occurring, items = np.unique(rows.indices, return_inverse=True)
    count = len(users)
    # At least a dozen steps an epoch, in few sizes.
    batch = min(LARGEST_BATCH, max(SMALLEST_BATCH, 1 << (count // 16).bit_length()))
    multiple = max(batch, _FEWEST)
    padded = multiple * -(-count // multiple)
    sizes = tuple(_PADDING * -(-size // _PADDING) for size in (rows.shape[0], len(occurring)))
    starts = np.full(sizes[0] + 1, count, dtype=np.int32)
    starts[: len(rows.indptr)] = rows.indptr
    log = _Log(
        users=jnp.asarray(np.resize(users, padded)),
        items=jnp.asarray(np.resize(items.astype(np.int32), padded)),
        starts=jnp.asarray(starts),
        num_items=jnp.int32(len(occurring)),
        halvings=jnp.int32(int(lengths.max()).bit_length()),
    )
    mistakes, compared = _train(log, jax.random.key(seed % 2**32), batch, sizes)
    return np.asarray(mistakes)[:, :count], np.asarray(compared)[:, :count]


class _Log(NamedTuple):
    """Interactions in order, `(n,)` int32 users and items, padded with the first ones.

    Attributes:
        starts: `(users + 1,)` int32, where each user's interactions start.
        num_items: number of items that occur.
        halvings: number of steps of a binary search in the longest row.
    """

    users: Array
    items: Array
    starts: Array
    num_items: Array
    halvings: Array


def _has(log: _Log, users: Array, items: Array) -> Array:
    """Return whether each user has the item: a binary search in the user's row."""
    end = log.starts[users + 1]

    def halve(_: Array, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds
        middle = (low + high) // 2
        is_below = (low < high) & (log.items[middle] < items)
        return jnp.where(is_below, middle + 1, low), jnp.where(is_below, high, middle)

    low, _ = jax.lax.fori_loop(0, log.halvings, halve, (log.starts[users], end))
    has: Array = (low < end) & (log.items[low] == items)
    return has


_Factors = tuple[Array, Array]
_State = tuple[_Factors, optax.OptState]


def _margins(factors: _Factors, users: Array, liked: Array, other: Array) -> Array:
    """Compute each user's score of one item less that of another, `(n,)`."""
    by_user, by_item = factors
    margins: Array = (by_user[users] * (by_item[liked] - by_item[other])).sum(axis=1)
    return margins


def _loss(factors: _Factors, drawn: tuple[Array, ...]) -> Array:
    """Bayesian personalised ranking (Rendle et al., UAI 2009), over the pairs that are compared."""
    users, liked, other, counts = drawn
    losses = -jax.nn.log_sigmoid(_margins(factors, users, liked, other))
    num_compared = jnp.maximum(counts.sum(), 1).astype(losses.dtype)
    return jnp.where(counts, losses, 0.0).sum() / num_compared


@partial(jax.jit, static_argnames=("batch", "sizes"))
def _train(log: _Log, key: Array, batch: int, sizes: tuple[int, ...]) -> tuple[Array, Array]:
    """Return two arrays `(EPOCHS, n)`, see `proxy_mistakes`."""
    start_key, epochs_key = jax.random.split(key)
    user_key, item_key = jax.random.split(start_key)
    start = (
        0.1 * jax.random.normal(user_key, (sizes[0], RANK)),
        0.1 * jax.random.normal(item_key, (sizes[1], RANK)),
    )
    optimiser = optax.adam(LEARNING_RATE)

    def draw(key: Array) -> tuple[Array, Array]:
        others = jax.random.randint(key, log.users.shape, 0, log.num_items)
        return others, ~_has(log, log.users, others)

    def step(state: _State, drawn: tuple[Array, ...]) -> tuple[_State, None]:
        factors, moments = state
        gradient = jax.grad(_loss)(factors, drawn)
        with jax.numpy_dtype_promotion("standard"):  # Optax divides by its int32 count.
            change, moments = optimiser.update(gradient, moments)
        return (optax.apply_updates(factors, change), moments), None

    def epoch(state: _State, key: Array) -> tuple[_State, tuple[Array, Array]]:
        order_key, train_key, test_key = jax.random.split(key, 3)
        order = jax.random.permutation(order_key, len(log.users))
        pairs = (log.users, log.items, *draw(train_key))
        drawn = tuple(part[order].reshape(-1, batch) for part in pairs)
        state, _ = jax.lax.scan(step, state, drawn)
        others, compared = draw(test_key)
        mistakes = compared & (_margins(state[0], log.users, log.items, others) <= 0)
        return state, (mistakes, compared)

    epochs = jax.random.split(epochs_key, EPOCHS)
    _, (mistakes, compared) = jax.lax.scan(epoch, (start, optimiser.init(start)), epochs)
    return mistakes, compared
