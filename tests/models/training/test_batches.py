"""Padded batches hold what the matrix holds, in few shapes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array, random_array

from perennial.models.training.batches import (
    assemble,
    draw_row_numbers,
    pad_entries,
    pad_items,
    pad_rows,
    usual_entries,
)


@given(st.integers(0, 10**7))
def test_padding_fits_is_bounded_and_monotone(size: int):
    for pad, smallest, share in (
        (pad_items, 256, 0.125),
        (pad_rows, 8, 0.5),
        (pad_entries, 512, 0.5),
    ):
        padded = pad(size)
        assert padded >= max(size, smallest)
        assert padded == smallest or padded - size <= max(255, share * padded)
        assert pad(padded) == padded
        assert pad(size + 1) >= padded


def test_a_growing_catalogue_meets_few_buckets():
    assert len({pad_items(num_items) for num_items in range(2000, 4001)}) <= 9
    assert len({pad_items(num_items) for num_items in range(1, 2049)}) == 8


@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_a_batch_is_the_chosen_rows(seed: int, num_chosen: int):
    generator = np.random.default_rng(seed)
    matrix = csr_array(random_array((9, 7), density=0.3, rng=generator, dtype=np.float32))
    chosen = generator.integers(0, 9, num_chosen)
    weights = generator.random(9).astype(np.float32)
    batch = assemble(matrix, chosen, 12, weights)
    assert len(batch.weights) == 12
    dense = np.zeros((12, 7), dtype=np.float32)
    np.add.at(dense, (np.asarray(batch.rows), np.asarray(batch.items)), np.asarray(batch.values))
    assert np.array_equal(dense[:num_chosen], matrix.toarray()[chosen])
    assert not dense[num_chosen:].any()
    assert np.array_equal(np.asarray(batch.weights)[:num_chosen], weights[chosen])
    assert not np.asarray(batch.weights)[num_chosen:].any()


def test_most_batches_have_the_usual_number_of_entries_at_most():
    generator = np.random.default_rng(5)
    matrix = csr_array(random_array((400, 200), density=0.2, rng=generator, dtype=np.float32))
    usual = usual_entries(matrix, 40)
    batches = draw_row_numbers(400, 40, generator)
    counts = [matrix[next(batches)].nnz for _ in range(100)]
    assert np.mean(np.array(counts) <= usual) > 0.97
    assert usual < 1.5 * np.mean(counts)
    padded = assemble(matrix, np.arange(3), 3, least_entries=usual)
    assert len(padded.values) == pad_entries(usual) > pad_entries(matrix[:3].nnz)


def test_batches_are_passes_over_the_rows():
    batches = draw_row_numbers(10, 4, np.random.default_rng(3))
    drawn = np.concatenate([next(batches) for _ in range(10)])
    for first in range(0, 40, 10):
        assert sorted(drawn[first : first + 10].tolist()) == list(range(10))
    assert drawn[:10].tolist() != drawn[10:20].tolist()
