"""The whole distillation on small logs."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from distill_rows import SETTINGS, Recorder, tastes
from scipy.sparse import csr_array

import perennial.memory.distill.item_blocks as item_blocks
import perennial.memory.distill.loop as distillation
import perennial.memory.distill.problem as work
from perennial.memory.distill.loop import distill
from perennial.memory.distill.parametrisation import PARAMETRISATIONS
from perennial.memory.distill.settings import DistillSettings
from perennial.memory.distill.step import DeviceUsers, initial_state, outer_step

PAPER = DistillSettings.paper(
    num_synthetic_users=16, num_steps=8, validate_every=4, batch_size=64, num_samples=20
)


@pytest.fixture(params=["dense", "blocks"])
def optimisation(request, monkeypatch):
    """Both kinds of optimisation; the blocks are three."""
    if request.param == "blocks":
        monkeypatch.setattr(item_blocks, "BLOCK", 24)
        monkeypatch.setattr(work, "WIDEST_ON_CPU", 0)


def resident(rows):
    """Users on the device whose targets are their own rows."""
    count, width = rows.shape
    return DeviceUsers(
        rows=rows,
        targets=rows,
        weights=jnp.ones(count),
        is_item=jnp.ones(width, bool),
        num_items=jnp.float32(width),
        row_sum=jnp.float32(10),
    )


def started(rows, settings):
    """Return the state at the start from the first 16 users."""
    start = PARAMETRISATIONS[settings.method].initialise(rows[:16], rows[:16], settings)
    return initial_state(start, settings, jax.random.key(0))


def test_steps_lower_the_loss_and_the_best_validation_is_kept():
    recorder = Recorder()
    summary = distill(tastes(), SETTINGS, 0, listener=recorder)
    best = max(score for _, score in recorder.scores)
    assert summary.report["validation"] == best
    first = next(step for step, score in recorder.scores if score == best)
    assert summary.report["best_step"] == first
    assert recorder.steps == list(range(recorder.steps[-1] + 1))


@pytest.mark.parametrize("settings", [SETTINGS, PAPER], ids=["sparse", "paper"])
def test_the_outer_loss_falls(settings):
    rows = jnp.asarray(tastes().interactions.toarray()[:64])
    users = resident(rows)
    state = started(rows, settings)
    losses = []
    for _ in range(15):
        state, loss = outer_step(state, users, settings)
        losses.append(float(loss))
    assert np.mean(losses[-3:]) < losses[0]


@pytest.mark.usefixtures("optimisation")
def test_the_same_seed_gives_the_same_summary_to_the_bit():
    one, other = (distill(tastes(), SETTINGS, 3) for _ in range(2))
    np.testing.assert_array_equal(one.rows.toarray(), other.rows.toarray())
    third = distill(tastes(), SETTINGS, 4)
    assert not np.array_equal(one.rows.toarray(), third.rows.toarray())


def test_items_that_do_not_occur_have_no_weight():
    rows = tastes()
    wide = csr_array(
        (rows.interactions.data, rows.interactions.indices * 3, rows.interactions.indptr),
        shape=(rows.num_rows, 200),
    )
    summary = distill(dataclasses.replace(rows, interactions=wide), SETTINGS, 0)
    assert summary.rows.shape[1] == 200
    assert set(np.unique(summary.rows.indices) % 3) == {0}


def test_ctrl_c_keeps_the_best_so_far():
    summary = distill(tastes(), SETTINGS, 0, listener=Recorder(stop_at=6))
    assert summary.report["interrupted"]
    assert summary.num_rows > 0
    assert summary.report["best_step"] in (0, 4)


@pytest.mark.usefixtures("optimisation")
def test_a_stopped_distillation_goes_on_to_the_same_end(tmp_path):
    path = tmp_path / "work.safetensors"
    whole = distill(tastes(), SETTINGS, 0)
    distill(tastes(), SETTINGS, 0, checkpoint=path, listener=Recorder(stop_at=6))
    assert path.exists()
    recorder = Recorder()
    resumed = distill(tastes(), SETTINGS, 0, checkpoint=path, listener=recorder)
    np.testing.assert_array_equal(resumed.rows.toarray(), whole.rows.toarray())
    assert recorder.steps[0] == 5
    assert not path.exists()


@pytest.mark.usefixtures("optimisation")
def test_another_tasks_checkpoint_is_left_alone(tmp_path):
    path = tmp_path / "work.safetensors"
    distill(tastes(), SETTINGS, 0, checkpoint=path, listener=Recorder(stop_at=6))
    recorder = Recorder()
    distill(tastes(), SETTINGS, 1, checkpoint=path, listener=recorder)
    assert recorder.steps[0] == 0


def test_users_beyond_the_limit_are_sampled(monkeypatch):
    monkeypatch.setattr(distillation, "MAX_USERS", 50)
    summary = distill(tastes(), SETTINGS, 0)
    assert (summary.report["users_given"], summary.report["users_used"]) == (120, 50)


def test_resident_users_change_where_not_all_fit(monkeypatch):
    monkeypatch.setattr(work, "RESIDENT_CELLS", 64 * 512)
    assert distill(tastes(), SETTINGS, 0).report["validation"] is not None


def test_a_step_makes_no_transfer_and_stays_on_the_default_device():
    rows = jnp.asarray(tastes().interactions.toarray()[:64])
    users = resident(rows)
    state = started(rows, SETTINGS)
    state, _ = outer_step(state, users, SETTINGS)
    with jax.transfer_guard("disallow"):
        state, loss = outer_step(state, users, SETTINGS)
    default = {jax.devices()[0]}
    for array in (*jax.tree.leaves(state), loss):
        assert array.devices() == default


@pytest.mark.parametrize(
    "change",
    [
        {"num_synthetic_users": 0},
        {"max_items": 0},
        {"guide": 1.5},
        {"regs": ()},
        {"regs": (0.0,)},
        {"learning_rate": 0.0},
        {"sparsity_weight": -1.0},
    ],
)
def test_settings_that_mean_nothing_are_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        DistillSettings(**change)
