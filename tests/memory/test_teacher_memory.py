"""Rows of a memory with the last model's answers as what they are fitted to."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from perennial.memory.base import Memory, replayed_rows
from perennial.memory.exemplar_memory import TeacherMemory
from perennial.storage.errors import UserError


class Told(Memory):
    """A memory of one row that notes the seeds it was given."""

    def __init__(self, seeds=()):
        self.seeds = tuple(seeds)

    def replay_rows(self, num_items):
        if not self.seeds:
            return None
        row = csr_array(np.ones((1, num_items), dtype=np.float32))
        return replayed_rows(row, 2.0, np.ones(1, np.int32))

    def update(self, history, model, seed, say=None):
        assert model is None
        return Told((*self.seeds, seed))


class Speaker:
    """A teacher whose scores are not needed."""

    num_items = 3
    report = None

    def score_blocks(self, contexts, block_rows):
        raise NotImplementedError

    def to_arrays(self):
        raise NotImplementedError

    def similarity(self, rows):
        raise NotImplementedError


def test_rows_come_with_the_model_that_was_learnt_from():
    memory, model = TeacherMemory(Told()), Speaker()
    assert memory.replay_rows(3) is None
    learnt = memory.update(None, model, 5)
    rows = learnt.replay_rows(3)
    assert rows.teacher is model
    np.testing.assert_array_equal(rows.weights, [2.0])
    assert rows.replayed.all()
    assert memory.replay_rows(3) is None, "the memory before stays as it was"


def test_what_models_share_is_drawn_by_the_shared_seed():
    learnt = (
        TeacherMemory(Told()).update(None, Speaker(), 5).update(None, Speaker(), 9, chain_seed=6)
    )
    assert learnt.rows.seeds == (5, 9)


def test_a_restored_memory_replays_only_after_an_update():
    empty = TeacherMemory(Told())
    back = empty.restore(empty.update(None, Speaker(), 5).state())
    assert back.replay_rows(3) is None
    assert back.update(None, Speaker(), 5).replay_rows(3).teacher is not None


def test_a_model_that_cannot_be_taught_is_refused():
    with pytest.raises(UserError, match="choose infinite-ae or mvae"):
        TeacherMemory(Told()).update(None, object(), 0)
