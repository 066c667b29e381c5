"""Fits, scores and distillations on some CPU devices: `python two_devices.py DEVICES FILE.npz`."""

import sys

import jax
import numpy as np
from model_rows import planted, rows_of
from scipy.sparse import csr_array

from perennial.memory.distill import loop as work
from perennial.memory.distill.loop import distill
from perennial.memory.distill.settings import DistillSettings
from perennial.models.base import FitOptions
from perennial.models.infinite_ae.recipe import InfiniteAE
from perennial.models.mesh import device_mesh

SETTINGS = DistillSettings(
    num_synthetic_users=16, max_items=12, num_steps=4, validate_every=4, batch_size=64
)


class Losses:
    def __init__(self):
        self.said = []

    def __call__(self, event):
        if event.validation is not None:
            loss = np.nan if event.loss is None else event.loss
            self.said.append((loss, event.validation))


def fit_and_score():
    """Scores of an ∞-AE with λ by validation, and where its factor lies."""
    rows = planted(num_rows=700, num_items=90)
    model = InfiniteAE().fit(rows_of(rows), FitOptions(seed=3))
    contexts = planted(num_rows=33, num_items=90, seed=5)
    scores = np.concatenate(list(model.score_blocks(contexts, 20)))
    validation = list(model.report["validation"].values())
    placed = model.placed
    shares = [] if placed is None else [len(s.data) for s in placed.gram().addressable_shards]
    return {"scores": scores, "validation": validation, "shares": shares}


def learn():
    """A summary, the losses on the way, and how many devices a step's state lies on."""
    listener, lies_on = Losses(), []
    step = work.outer_step

    def watched(state, *rest):
        state, loss = step(state, *rest)
        lies_on.append(len(state.parameters.devices()))
        return state, loss

    work.outer_step = watched
    summary = distill(rows_of(planted(num_rows=200, num_items=60)), SETTINGS, 7, listener=listener)
    rows: csr_array = summary.rows
    order = np.lexsort(rows.toarray().T)
    return {"summary": rows.toarray()[order], "losses": np.array(listener.said), "lies_on": lies_on}


if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", int(sys.argv[1]))
    mesh = device_mesh()
    found = {**fit_and_score(), **learn(), "devices": 0 if mesh is None else mesh.size}
    np.savez(sys.argv[2], **found)
