"""`svp-cf-user`: the users whom a small model finds hardest (Sachdeva et al., WSDM 2022).

Selection via proxy: matrix factorisation is trained for a few epochs, and at each it is asked
whether it ranks an interaction above a random item that the user does not have. How often it does
not is what the authors' code calls the interaction's forgetting events: not only a right answer
that turns wrong counts, as for Toneva et al. (ICLR 2019), but every wrong one. A user's priority is
the mean over the user's interactions, and those with the highest are kept. The authors fill a share
of the interactions with such users, here it is a number of users.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from memory.samplers.protocol import Sample, take_first
from memory.samplers.proxy import watch_proxy


def sample(rows: csr_array, budget: int, seed: int) -> Sample:
    """Equal users in a seeded order."""
    priorities = np.random.default_rng(seed).random(rows.shape[0]) * 1e-6
    if rows.nnz:
        priorities += mean_events(rows, *watch_proxy(rows, seed))
    return take_first(rows, priorities, budget)


def mean_events(
    rows: csr_array, wrong: NDArray[np.bool_], asked: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Of each user the mean over the interactions of the share of wrong answers.

    Args:
        rows: `(m, num_items)` binary, n interactions.
        wrong: `(epochs, n)`, in the order of the rows.
        asked: `(epochs, n)`; an interaction that was never asked about has no wrong answers.

    Returns:
        `(m,)` in [0, 1]; 0 for an empty row.
    """
    lengths = np.diff(rows.indptr)
    shares = wrong.sum(axis=0) / np.maximum(asked.sum(axis=0), 1)
    owner = np.repeat(np.arange(rows.shape[0]), lengths)
    sums = np.bincount(owner, weights=shares, minlength=rows.shape[0])
    means: NDArray[np.float64] = sums / np.maximum(lengths, 1)
    return means
