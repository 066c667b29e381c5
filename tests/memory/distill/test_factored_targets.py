"""Targets as coefficients against the targets themselves."""

import numpy as np
import pytest
from distill_rows import tastes

import perennial.memory.distill.blocked as module
from perennial.memory.distill.blocked import FactoredTargets, ItemBlocks
from perennial.memory.distill.targets import Guide

USERS = np.array([2, 3, 11, 30])


def factored(share, replayed=0):
    rows = tastes(40, 50)
    rows.replayed[:replayed] = True
    rows.weights[:replayed] = 4.0
    guide = Guide(rows, 5.0, share, 50, seed=0)
    blocks = ItemBlocks(rows.interactions)
    return FactoredTargets(guide, blocks), guide.targets(np.arange(40)), blocks


@pytest.mark.parametrize(("share", "replayed"), [(0.0, 0), (0.9, 0), (1.0, 3)])
def test_they_are_the_targets(share, replayed, monkeypatch):
    monkeypatch.setattr(module, "_LANDMARKS", 16)
    monkeypatch.setattr(module, "_USERS", 9)
    targets, dense, blocks = factored(share, replayed)
    np.testing.assert_allclose(targets.squares(), (dense**2).sum(axis=1), rtol=2e-5)

    others = np.random.default_rng(0).random((6, 50)).astype(np.float32)
    similar = blocks.rows @ np.ascontiguousarray(others.T)
    np.testing.assert_allclose(
        targets.inner(USERS, similar), dense[USERS] @ others.T, rtol=1e-4, atol=1e-4
    )

    slopes = np.random.default_rng(1).normal(size=(4, 6)).astype(np.float32)
    coefficients = targets.coefficients(USERS, slopes)
    (block,) = blocks
    np.testing.assert_allclose(
        blocks.combine(coefficients, block)[:50], dense[USERS].T @ slopes, atol=1e-4
    )
