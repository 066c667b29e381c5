"""Where a training starts: fresh weights, or the period before's."""

import numpy as np
from scipy.sparse import csr_array

from perennial.models.mvae.initial_weights import fresh_weights, log_popularity, warm_weights
from perennial.models.mvae.model import FittedMVAE, pad_parameters


def _fresh(num_items: int, seed: int):
    matrix = csr_array(np.ones((3, num_items), dtype=np.float32))
    return fresh_weights(matrix, np.ones(3), hidden=6, latent=2, seed=seed)


def test_the_bias_is_the_centred_log_popularity():
    matrix = csr_array(np.array([[1, 1, 0], [1, 0, 0]], dtype=np.float32))
    bias = log_popularity(matrix, np.array([1.0, 3.0]))
    expected = np.log([5.0, 2.0, 1.0])
    np.testing.assert_allclose(bias, expected - expected.mean(), rtol=1e-6)
    assert not np.asarray(_fresh(5, 1).item_bias).any()


def test_fresh_weights_have_the_scale_of_their_layer():
    matrix = csr_array((1, 2000), dtype=np.float32)
    weights = fresh_weights(matrix, np.ones(1), hidden=100, latent=50, seed=1)
    for name, fan in (("encoder_items", 2100), ("decoder_items", 2100), ("latent_weights", 150)):
        deviation = np.asarray(getattr(weights, name))[:2000].std()
        assert np.isclose(deviation, np.sqrt(2 / fan), rtol=0.03), name


def test_a_seed_gives_the_same_weights_and_another_gives_others():
    first, again, other = _fresh(9, 1), _fresh(9, 1), _fresh(9, 2)
    assert np.array_equal(first.encoder_items, again.encoder_items)
    assert not np.array_equal(first.encoder_items, other.encoder_items)
    assert not np.array_equal(first.encoder_items, first.decoder_items)


def test_warm_weights_keep_what_was_known_and_are_fresh_for_what_is_new():
    known = _fresh(9, 1)
    known = known._replace(item_bias=known.item_bias + 2.5, latent_bias=known.latent_bias + 1.0)
    fresh = _fresh(13, 2)
    warm = warm_weights(FittedMVAE(known, 9, gather=False, report={}), fresh, 13)
    for name in ("encoder_items", "decoder_items", "item_bias"):
        values = np.asarray(getattr(warm, name))
        assert np.array_equal(values[:9], np.asarray(getattr(known, name))[:9]), name
    for name in ("encoder_items", "decoder_items"):
        values = np.asarray(getattr(warm, name))
        assert np.array_equal(values[9:13], np.asarray(getattr(fresh, name))[9:13]), name
    np.testing.assert_allclose(np.asarray(warm.item_bias)[9:13], 2.5, rtol=1e-5)
    for name in ("encoder_bias", "latent_weights", "latent_bias", "decoder_weights"):
        assert np.array_equal(getattr(warm, name), getattr(known, name)), name


def test_padding_comes_and_goes():
    weights = _fresh(17, 1)
    model = FittedMVAE(weights, 17, gather=False, report={})
    again = pad_parameters(model.item_arrays(), 17)
    for name, values in weights._asdict().items():
        assert np.array_equal(getattr(again, name), values), name
