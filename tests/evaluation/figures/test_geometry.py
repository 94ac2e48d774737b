from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist
from scipy.stats import entropy

from textssl.evaluation.figures import geometry
from textssl.evaluation.figures.geometry import alignment, mean_cosine, normalised_std, rankme, uniformity


def rows(count: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)


def unit(features: np.ndarray) -> np.ndarray:
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def test_every_figure_is_that_of_scipy():
    features = rows(50, 12) + 0.7
    values = np.linalg.svd(features, compute_uv=False)
    assert rankme(features) == pytest.approx(np.exp(entropy(values)), rel=1e-4)
    assert mean_cosine(features) == pytest.approx(1 - pdist(features, "cosine").mean(), abs=1e-6)
    squared = pdist(unit(features)) ** 2
    assert uniformity(features) == pytest.approx(np.log(np.exp(-2 * squared).mean()), abs=1e-6)
    assert normalised_std(features) == pytest.approx(unit(features).std(0).mean() * 12**0.5, abs=1e-6)
    other = rows(50, 12, seed=1)
    expected = np.mean([np.sum((a - b) ** 2) for a, b in zip(unit(features), unit(other), strict=True)])
    assert alignment(features, other) == pytest.approx(expected, abs=1e-6)
    assert alignment(features, other, power=1) == pytest.approx(
        np.linalg.norm(unit(features) - unit(other), axis=1).mean(), abs=1e-6
    )


def test_spread_and_collapsed_features():
    spread, collapsed = rows(4000, 64), np.ones((40, 64), dtype=np.float32)
    assert normalised_std(spread) == pytest.approx(1, abs=0.01)
    assert mean_cosine(spread) == pytest.approx(0, abs=0.002)
    assert uniformity(spread) == pytest.approx(-3.9, abs=0.1)
    assert rankme(spread) > 60
    assert normalised_std(collapsed) == pytest.approx(0, abs=1e-6)
    assert mean_cosine(collapsed) == pytest.approx(1)
    assert uniformity(collapsed) == pytest.approx(0, abs=1e-6)
    assert rankme(collapsed) == pytest.approx(1, abs=1e-3)
    assert alignment(collapsed, 3 * collapsed) == pytest.approx(0, abs=1e-9)
    assert alignment(spread, -spread) == pytest.approx(4)


@given(st.integers(2, 30), st.integers(1, 8), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_rotation_and_the_order_of_rows_change_nothing(count: int, width: int, seed: int):
    features = rows(count, width, seed).astype(np.float64) + 0.1
    rotation, _ = np.linalg.qr(np.random.default_rng(seed + 1).normal(size=(width, width)))
    turned = features[::-1] @ rotation
    for function in (rankme, mean_cosine, uniformity):
        assert function(turned) == pytest.approx(function(features), abs=1e-6)
    assert alignment(features @ rotation, features[::-1] @ rotation) == pytest.approx(
        alignment(features, features[::-1]), abs=1e-6
    )
    # all but RankMe see directions alone
    for function in (mean_cosine, uniformity, normalised_std):
        assert function(features * np.arange(1, count + 1)[:, None]) == pytest.approx(function(features), abs=1e-6)


def test_blocks_change_nothing(monkeypatch):
    features = rows(37, 5)
    whole = uniformity(features)
    monkeypatch.setattr(geometry, "BLOCK_ROWS", 8)
    assert uniformity(features) == pytest.approx(whole, abs=1e-12)


def test_rows_of_zeros_and_too_few_rows():
    features = rows(6, 4)
    features[2] = 0
    for function in (rankme, mean_cosine, uniformity, normalised_std):
        assert np.isfinite(function(features))
    assert rankme(np.zeros((3, 4))) == 0
    assert np.isnan(mean_cosine(features[:1])) and np.isnan(uniformity(features[:1]))
