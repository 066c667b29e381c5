"""Batches of a teacher's answers for an MVAE, and their effect."""

from dataclasses import replace
from functools import partial
from itertools import islice

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from model_rows import QUICK_MVAE, Oracle, rows_of_dense
from scipy.sparse import csr_array

from perennial.models.base import FitOptions, Teacher
from perennial.models.mvae import training as mvae_training
from perennial.models.mvae.network import TeacherBatch, densify, distillation_loss, negative_bound
from perennial.models.mvae.recipe import MVAE
from perennial.models.mvae.teacher_batches import draw_teacher_batches
from perennial.models.mvae.training import fresh_weights, update
from perennial.models.training.batches import assemble, make_key
from perennial.models.training.loop import start

NUM_ITEMS, KNOWN = 60, 50
ORACLE = Oracle(KNOWN, mean=0.0, deviation=1.0)
SMALL = replace(QUICK_MVAE, batch_size=32)


def make_rows(num_new, num_old, weight=1.0, teacher=None):
    """Exemplars in between: each has an item of its own and as many others as its number says."""
    order = np.random.default_rng(2).permutation(num_new + num_old)
    dense = np.zeros((num_new + num_old, NUM_ITEMS), np.float32)
    for row in range(num_old):
        dense[row, row] = 1
        dense[row, KNOWN - row % 5 : KNOWN] = 1
    dense[num_old:] = np.random.default_rng(0).random((num_new, NUM_ITEMS)) < 0.2
    replayed = np.arange(num_new + num_old) < num_old
    return rows_of_dense(
        dense[order],
        np.where(replayed, weight, 1.0)[order],
        replayed=replayed[order],
        last_period=np.where(replayed, 1, 2).astype(np.int32)[order],
        teacher=ORACLE if teacher is None else teacher,
    )


def rows_of(taught):
    """The rows of a batch without the padding, dense."""
    dense = np.asarray(densify(taught.batch, taught.batch.values, taught.expected.shape[1]))
    return dense[np.asarray(taught.batch.weights) > 0]


@pytest.mark.parametrize(
    ("num_new", "num_old", "batch_size", "size"),
    [
        (100, 30, 20, 6),  # five updates pass over the new rows, and over the exemplars
        (10, 4, 20, 4),  # every update has all rows
        (40, 1, 20, 1),
        (40, 3, 20, 2),  # 1.5 each would do
        (5, 40, 4, 4),  # never more than a batch: the exemplars take longer
    ],
)
def test_exemplars_keep_pace_with_the_new_rows(num_new, num_old, batch_size, size):
    batches = draw_teacher_batches(make_rows(num_new, num_old), batch_size, seed=0)
    passes = -(-num_old // size)
    seen = [int(np.argmax(row)) for one in islice(batches, passes) for row in rows_of(one)]
    assert len(seen) == passes * size
    assert set(seen) == set(range(num_old)), "each own item, so each exemplar"
    counts = np.bincount(seen)
    assert counts.max() - counts.min() <= 1


def test_one_seed_gives_one_order():
    rows = make_rows(40, 30)

    def drawn(seed):
        return np.concatenate(
            [rows_of(one) for one in islice(draw_teacher_batches(rows, 8, seed), 6)]
        )

    np.testing.assert_array_equal(drawn(3), drawn(3))
    assert not np.array_equal(drawn(3), drawn(4))


def test_the_teachers_answers_are_expected_of_as_many_items_as_the_row_has():
    rows = make_rows(100, 30)
    for taught_batch in islice(draw_teacher_batches(rows, 20, seed=0), 5):
        dense = rows_of(taught_batch)
        (answers,) = ORACLE.score_blocks(csr_array(dense[:, :KNOWN]), 100)
        likely = np.exp(answers.astype(np.float64))
        likely /= likely.sum(axis=1, keepdims=True)
        expected = np.asarray(taught_batch.expected)
        lengths = dense.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(expected[: len(dense), :KNOWN], lengths * likely, rtol=1e-5)
        assert not expected[:, KNOWN:].any(), "items the teacher does not know, and padding"
        assert not expected[len(dense) :].any()
        assert int(taught_batch.num_known) == KNOWN


def test_a_batch_weighs_what_the_exemplars_weigh_relative_to_the_new_rows():
    # 30 exemplars of 2 beside 100 rows of 1: the mean over the exemplars counts 0.6.
    taught_batch = next(draw_teacher_batches(make_rows(100, 30, weight=2.0), 20, seed=0))
    weights = np.asarray(taught_batch.batch.weights)
    np.testing.assert_allclose(weights[:6], 0.6, rtol=1e-6)
    assert not weights[6:].any()


def test_nothing_is_taught_without_a_teacher_or_exemplars_or_new_rows():
    rows = make_rows(10, 5)
    assert draw_teacher_batches(rows, 4, seed=0) is not None
    assert draw_teacher_batches(replace(rows, teacher=None), 4, seed=0) is None
    assert draw_teacher_batches(rows.take(np.flatnonzero(~rows.replayed)), 4, seed=0) is None
    assert draw_teacher_batches(rows.take(np.flatnonzero(rows.replayed)), 4, seed=0) is None


def quiet_weights(rows, hidden=8, latent=3):
    """Weights of a network whose latent vector is its mean."""
    parameters = fresh_weights(
        rows.interactions, rows.weights, hidden=hidden, latent=latent, seed=3
    )
    return parameters._replace(
        latent_weights=parameters.latent_weights.at[:, latent:].set(0.0),
        latent_bias=parameters.latent_bias.at[latent:].set(-80.0),
    )


def loss_by_hand(parameters, dense, expected, weights):
    """Cross-entropy to what is expected, the softmax over the known items only, in numpy."""
    (items, bias, to_latent, latent_bias, from_latent, decoder_bias, out, out_bias) = (
        np.asarray(values, np.float64) for values in parameters
    )
    dense = np.pad(dense, ((0, 0), (0, len(items) - dense.shape[1])))
    inputs = dense / np.linalg.norm(dense, axis=1, keepdims=True)
    latent = (np.tanh(inputs @ items + bias) @ to_latent + latent_bias)[:, : len(from_latent)]
    logits = (np.tanh(latent @ from_latent + decoder_bias) @ out.T + out_bias)[:, :KNOWN]
    log_p = np.log(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))
    return (weights * -(expected[:, :KNOWN] * log_p).sum(axis=1)).mean()


@pytest.mark.parametrize("gather", [False, True])
def test_the_loss_by_hand(gather):
    rows = make_rows(100, 30, weight=2.0)
    parameters, taught_batch = quiet_weights(rows), next(draw_teacher_batches(rows, 20, seed=0))
    found = jax.jit(distillation_loss, static_argnames="gather")(
        parameters, taught_batch, make_key(1), dropout=jnp.float32(0), gather=gather
    )
    dense, expected = rows_of(taught_batch), np.asarray(taught_batch.expected)[:6]
    assert float(found) == pytest.approx(
        loss_by_hand(parameters, dense, expected, np.full(6, 0.6)), rel=1e-5
    )


def test_an_item_the_teacher_does_not_know_gets_no_gradient_from_it():
    rows = make_rows(100, 30)
    taught_batch = next(draw_teacher_batches(rows, 20, seed=0))
    gradient = jax.jit(jax.grad(distillation_loss), static_argnames="gather")(
        quiet_weights(rows), taught_batch, make_key(1), dropout=jnp.float32(0), gather=False
    )
    for name in ("item_bias", "decoder_items"):
        values = np.asarray(getattr(gradient, name))
        assert values[:KNOWN].any()
        assert not values[KNOWN:].any()


QUIET = MVAE(learning_rate=0.01, dropout=0.0, averaging=0.9, beta=0.2, anneal_share=0.0)


def test_an_update_adds_the_two_losses():
    rows = make_rows(100, 30)
    parameters, taught_batch = quiet_weights(rows), next(draw_teacher_batches(rows, 20, seed=0))
    batch = assemble(rows.interactions, np.arange(8), 8)

    def updated(taught_batch):
        arguments = (batch, np.int32(NUM_ITEMS), make_key(1), np.int32(5), QUIET.rates(5))
        return update(start(parameters), *arguments, taught_batch, gather=False)

    alone, loss = updated(None)
    both_updated, both = updated(taught_batch)
    own = jax.jit(negative_bound, static_argnames="gather")(
        parameters,
        batch,
        jnp.int32(NUM_ITEMS),
        jnp.float32(0.2),
        make_key(2),
        dropout=jnp.float32(0),
        gather=False,
    )
    other = loss_by_hand(
        parameters, rows_of(taught_batch), np.asarray(taught_batch.expected)[:6], np.full(6, 0.3)
    )
    assert float(loss) == pytest.approx(float(own), rel=1e-5)
    assert float(both) == pytest.approx(float(own) + other, rel=1e-5)
    assert np.abs(both_updated.parameters.item_bias - alone.parameters.item_bias).max() > 1e-4
    nothing = TeacherBatch(
        taught_batch.batch._replace(weights=jnp.zeros_like(taught_batch.batch.weights)),
        taught_batch.expected,
        taught_batch.num_known,
    )
    same, _ = updated(nothing)
    for name, values in alone.parameters._asdict().items():
        np.testing.assert_allclose(getattr(same.parameters, name), values, atol=1e-5, err_msg=name)


def test_the_noise_of_a_teacher_batch_is_not_that_of_the_new_rows(monkeypatch):
    """JAX folds 0 and 1 into the very keys that it splits the same key into."""
    rows = make_rows(100, 30)
    taught_batch = next(draw_teacher_batches(rows, 20, seed=0))

    def note(position):
        def loss(parameters, *arguments, **settings):
            key = arguments[position]
            keys = jnp.stack([key, *jax.random.split(key)])
            jax.debug.callback(lambda found: used.extend(found), jax.random.key_data(keys))
            return parameters.item_bias.sum()

        return loss

    used = []
    monkeypatch.setattr(mvae_training, "negative_bound", note(3))
    monkeypatch.setattr(mvae_training, "distillation_loss", note(1))
    numbers = (np.int32(NUM_ITEMS), make_key(1), np.int32(5), QUIET.rates(5))
    # Compiled anew, with the losses above.
    compiled = jax.jit(partial(update.__wrapped__, gather=False))
    compiled(start(quiet_weights(rows)), taught_batch.batch, *numbers, taught_batch)
    jax.effects_barrier()
    assert len(np.unique(used, axis=0)) == len(used) == 6


def planted(blocks, num_rows, seed, num_items=NUM_ITEMS):
    generator = np.random.default_rng(seed)
    mine = generator.choice(blocks, size=num_rows)
    member = mine[:, None] == np.arange(num_items)[None, :] * 6 // NUM_ITEMS
    dense = (member & (generator.random(member.shape) < 0.5)).astype(np.float32)
    dense[np.arange(num_rows), mine * 10] = 1
    return dense


def rows_from(new, old, weight=1.0, teacher=None):
    num_new, num_old = len(new), len(old)
    replayed = np.arange(num_new + num_old) >= num_new
    return rows_of_dense(
        np.vstack([new, np.pad(old, ((0, 0), (0, NUM_ITEMS - KNOWN)))]),
        np.where(replayed, weight, 1.0),
        replayed=replayed,
        last_period=np.where(replayed, 1, 2).astype(np.int32),
        teacher=teacher,
    )


@pytest.fixture(scope="module")
def old():
    """Rows of the past, on blocks that the new rows have not."""
    return planted([2, 3, 4], 60, seed=1, num_items=KNOWN)


@pytest.fixture(scope="module")
def teacher(old):
    return SMALL.fit(rows_of_dense(old), FitOptions(seed=1))


@pytest.fixture(scope="module")
def rows(old, teacher):
    """A period that has nothing of the past but its exemplars and their teacher."""
    return rows_from(planted([0, 1, 5], 90, seed=2), old[:30], weight=3.0, teacher=teacher)


def distance(model, teacher, old):
    """Mean KL from the teacher's to the model's probabilities of the old items, on old rows."""
    (theirs,) = teacher.score_blocks(csr_array(old), 1000)
    (ours,) = model.score_blocks(csr_array(np.pad(old, ((0, 0), (0, NUM_ITEMS - KNOWN)))), 1000)
    theirs, ours = (scores[:, :KNOWN].astype(np.float64) for scores in (theirs, ours))
    ours -= np.log(np.exp(ours).sum(axis=1, keepdims=True))
    return float((np.exp(theirs) * (theirs - ours)).sum(axis=1).mean())


def test_a_taught_model_answers_like_its_teacher(rows, teacher, old):
    taught = SMALL.fit(rows, FitOptions(seed=3))
    alone = SMALL.fit(rows.take(np.flatnonzero(~rows.replayed)), FitOptions(seed=3))
    assert (taught.report["rows_taught"], taught.report["rows_used"]) == (30, 120)
    assert taught.report["epochs"] == pytest.approx(taught.report["updates"] * 32 / 90)
    assert alone.report["rows_taught"] == 0
    exemplars, others = old[:30], old[30:]
    assert distance(taught, teacher, exemplars) < 0.5 * distance(alone, teacher, exemplars)
    assert distance(taught, teacher, others) < 0.5 * distance(alone, teacher, others)
    again = SMALL.fit(rows, FitOptions(seed=3))
    assert again.report == taught.report
    np.testing.assert_array_equal(again.parameters.item_bias, taught.parameters.item_bias)


def test_rows_are_alike_as_their_latent_means_are(teacher, old):
    assert isinstance(teacher, Teacher)
    gram = teacher.similarity(csr_array(old))
    assert (gram.shape, gram.dtype) == ((60, 60), np.float64)
    np.testing.assert_allclose(gram, gram.T, atol=1e-12)
    np.testing.assert_allclose(np.diag(gram), 1.0)
    assert np.linalg.eigvalsh(gram)[0] > -1e-9
    weights = {name: values.astype(np.float64) for name, values in teacher.item_arrays().items()}
    inputs = old / np.linalg.norm(old, axis=1, keepdims=True)
    hidden = np.tanh(inputs @ weights["encoder_items"] + weights["encoder_bias"])
    means = (hidden @ weights["latent_weights"] + weights["latent_bias"])[:, :8]
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(gram, means @ means.T, atol=1e-5)
    # Whoever else is asked about changes nothing.
    np.testing.assert_allclose(teacher.similarity(csr_array(old[:7])), gram[:7, :7], atol=1e-5)
