"""Products by item block against products of whole rows."""

import numpy as np
import pytest
from scipy.sparse import csr_array, random_array

import perennial.memory.distill.blocked as item_blocks
from perennial.memory.distill.blocked import ItemBlocks


@pytest.mark.parametrize("num_items", [1, 63, 64, 200])
def test_combinations_are_those_of_whole_rows(num_items, monkeypatch):
    monkeypatch.setattr(item_blocks, "BLOCK", 64)
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
