"""Item blocks against the arrays that are as wide as the items."""

import dataclasses

import numpy as np
import pytest
from distill_rows import SETTINGS, tastes
from model_rows import rows_of
from scipy.sparse import csr_array, random_array

import perennial.memory.distill.item_blocks as item_blocks
import perennial.memory.distill.loop as distillation
import perennial.memory.distill.problem as work
from perennial.memory.distill.item_blocks import BlockedOptimisation, ItemBlocks
from perennial.memory.distill.loop import DenseOptimisation, distill
from perennial.memory.distill.problem import DistillationProblem, takes_blocks
from perennial.memory.distill.settings import DistillSettings
from perennial.models.base import Holdout
from perennial.models.holdout import hold_out

PLAIN = dataclasses.replace(SETTINGS, batch_size=128)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    """Three blocks of items in the logs below."""
    monkeypatch.setattr(item_blocks, "BLOCK", 64)


def log(num_users=128, num_items=150):
    """Users of the same tastes."""
    return tastes(num_users, num_items)


def started(settings, rows=None, seed=5):
    """One task for both, with all users in every batch."""
    rows = log() if rows is None else rows
    return DistillationProblem.of(hold_out(rows, 0, max_users=40), settings, seed)


def wide_parameters(resident, width):
    return np.asarray(resident._state.parameters)[:, :width]


@pytest.mark.parametrize(
    "changes",
    [{}, {"guide": 0.0, "sparsity_weight": 0.5}],
    ids=["default", "own rows and a penalty"],
)
def test_the_steps_are_those_of_whole_rows(changes):
    # No padding: a penalty's slope counts in the norm of the gradient there too.
    task = started(dataclasses.replace(PLAIN, **changes), log(num_items=512))
    width = len(task.items)
    assert width == task.width == 512
    blocked, resident = BlockedOptimisation(task), DenseOptimisation(task)
    resident.load_users(0)
    np.testing.assert_allclose(
        blocked._parameters.T[:, :width], wide_parameters(resident, width), atol=1e-5
    )
    for _ in range(3):
        blocked.step()
        resident.step()
        assert blocked._loss == pytest.approx(float(resident._loss), rel=2e-5)
    # Single precision decides which of nearly equal entries are kept, and so a few of the slopes.
    np.testing.assert_allclose(
        blocked._parameters.T[:, :width], wide_parameters(resident, width), atol=2e-3
    )


def test_the_first_support_is_judged_alike():
    task = started(PLAIN)
    ours, theirs = BlockedOptimisation(task).validate(0), DenseOptimisation(task).validate(0)
    np.testing.assert_allclose(
        ours.support.toarray(), theirs.support[:, : len(task.items)], atol=1e-5
    )
    assert (ours.validation, ours.reg) == (theirs.validation, theirs.reg)
    assert np.isnan(ours.loss)
    assert np.isnan(theirs.loss)


def test_padding_never_grows():
    task = started(PLAIN)
    blocked = BlockedOptimisation(task)
    for _ in range(3):
        blocked.step()
    assert blocked._parameters.shape[0] % 64 == 0
    np.testing.assert_array_equal(blocked._parameters[len(task.items) :], 0)


class TestInBlocks:
    """Whole distillations, in blocks for want of a narrower bound."""

    @pytest.fixture(autouse=True)
    def _narrow(self, monkeypatch):
        monkeypatch.setattr(work, "WIDEST_ON_CPU", 0)

    def test_a_summary_is_as_good_and_obeys_the_same_bounds(self, monkeypatch):
        found = distill(log(), PLAIN, 0)
        monkeypatch.setattr(work, "WIDEST_ON_CPU", 2**17)
        usual = distill(log(), PLAIN, 0)
        assert found.report["validation"] == pytest.approx(usual.report["validation"], abs=1.5)
        assert found.report["device_bytes"] < usual.report["device_bytes"]
        lengths = np.diff(found.rows.indptr)
        assert lengths.min() > 0
        assert lengths.max() <= PLAIN.max_items
        assert 0 < found.rows.data.min() <= found.rows.data.max() <= 1

    def test_hard_weights_are_ones(self):
        assert set(distill(log(), dataclasses.replace(PLAIN, export="hard"), 0).rows.data) == {1.0}

    def test_more_users_are_taken_than_of_few_items(self, monkeypatch):
        monkeypatch.setattr(distillation, "MAX_USERS", 50)
        monkeypatch.setattr(distillation, "MAX_USERS_IN_BLOCKS", 100)
        assert distill(log(), SETTINGS, 0).report["users_used"] == 100

    def test_the_way_to_work_is_decided_before_users_are_drawn(self, monkeypatch):
        # With all 128 users whole rows are faster, with the 50 that would be left blocks.
        monkeypatch.setattr(work, "WIDEST_ON_CPU", 512 - 30)
        monkeypatch.setattr(distillation, "MAX_USERS", 50)
        monkeypatch.setattr(distillation, "BlockedOptimisation", None)
        assert distill(log(), SETTINGS, 0).report["users_used"] == 50

    def test_nobody_to_judge_is_no_hindrance(self):
        rows = log()
        nobody = Holdout(rows, np.zeros(0, np.int64), csr_array((0, 150), dtype=np.float32))
        summary = distillation.distill_with_holdout(nobody, PLAIN, 0)
        assert summary.report["validation"] is None
        assert summary.num_rows == 16


def test_only_what_follows_from_inner_products_is_done_in_blocks():
    others = (DistillSettings(loss="multinomial"), DistillSettings(max_items=None))
    chosen = (DistillSettings(), *others, DistillSettings.paper())
    assert [takes_blocks(2**17 + 512, 100, one) for one in chosen] == [True, False, False, False]


@pytest.mark.parametrize(
    ("device", "num_users", "widest"),
    [
        ("cpu", 2_000, 12_288 + 1_000),
        ("cpu", 32_768, 12_288 + 16_384),
        ("cpu", 1_000_000, 12_288 + 16_384),
        ("gpu", 2_000, 2**17),
        ("tpu", 60_000, 2**17),
    ],
)
def test_an_accelerator_and_many_users_are_for_whole_rows(device, num_users, widest, monkeypatch):
    monkeypatch.setattr(work.jax, "default_backend", lambda: device)
    assert not takes_blocks(widest, num_users, DistillSettings())
    assert takes_blocks(widest + 512, num_users, DistillSettings())


def test_nothing_as_wide_as_the_items_is_held_but_three_arrays():
    """A catalogue of 40,000 items, in which one array too many would show."""
    import tracemalloc

    generator = np.random.default_rng(0)
    items = np.concatenate([np.arange(40_000), generator.integers(0, 40_000, 8_000)])
    users = generator.integers(0, 100, len(items))
    rows = csr_array((np.ones(len(items), np.float32), (users, items)), (100, 40_000))
    rows.sum_duplicates()
    rows.data[:] = 1
    settings = dataclasses.replace(SETTINGS, num_synthetic_users=64)
    task = DistillationProblem.of(hold_out(rows_of(rows), 0, max_users=10), settings, 0)
    tracemalloc.start()
    blocked = BlockedOptimisation(task)
    blocked.step()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    unit = blocked._parameters.nbytes
    assert 3 * unit < peak < 5 * unit


@pytest.mark.parametrize("num_items", [1, 63, 64, 200])
def test_combinations_are_those_of_whole_rows(num_items):
    generator = np.random.default_rng(0)
    rows = csr_array(random_array((30, num_items), density=0.2, rng=generator), dtype=np.float32)
    coefficients = generator.normal(size=(30, 5)).astype(np.float32)
    blocks = ItemBlocks(rows)
    found = np.concatenate([blocks.combine(coefficients, block) for block in blocks])
    assert found.shape == (blocks.num_padded, 5)
    assert blocks.num_padded % 64 == 0
    np.testing.assert_allclose(found[:num_items], rows.T @ coefficients, atol=1e-5)
    np.testing.assert_array_equal(found[num_items:], 0)


def test_inner_products_take_a_few_columns(monkeypatch):
    monkeypatch.setattr(item_blocks, "_USERS", 7)
    generator = np.random.default_rng(0)
    rows = csr_array(random_array((30, 40), density=0.3, rng=generator), dtype=np.float32)
    columns = np.array([0, 3, 4, 39])
    values = generator.random((4, 6)).astype(np.float32)
    dense = np.zeros((6, 40), np.float32)
    dense[:, columns] = values.T
    found = ItemBlocks(rows).inner(columns, values)
    np.testing.assert_allclose(found, rows.toarray() @ dense.T, atol=1e-5)
