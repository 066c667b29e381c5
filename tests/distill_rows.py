"""Small logs that are distilled in tests, and a listener that stops."""

import numpy as np
from model_rows import rows_of_dense

from perennial.memory.distill.settings import DistillSettings

SETTINGS = DistillSettings(
    num_synthetic_users=16, max_items=12, num_steps=12, validate_every=4, batch_size=64
)


def tastes(num_users=120, num_items=60, seed=0):
    """Users who like one of four groups of items, and a little of everything."""
    generator = np.random.default_rng(seed)
    group = generator.integers(0, 4, num_users)
    likes = np.where(np.arange(num_items)[None, :] % 4 == group[:, None], 0.6, 0.05)
    drawn = (generator.random((num_users, num_items)) < likes).astype(np.float32)
    return rows_of_dense(drawn)


class Recorder:
    def __init__(self, stop_at=None):
        self.steps, self.scores, self.stop_at = [], [], stop_at

    def __call__(self, event):
        self.num_steps = event.num_steps
        self.steps.append(event.step)
        if event.validation is not None:
            self.scores.append((event.step, event.validation))
        if event.step == self.stop_at:
            raise KeyboardInterrupt
