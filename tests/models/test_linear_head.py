from __future__ import annotations

import numpy as np
import pytest

from textssl.errors import UserError
from textssl.models.linear_head import LABELS, WEIGHTS, LinearHead


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_head_comes_back_as_it_was_whatever_its_layout_in_memory(tmp_path, order):
    weight = np.array(np.random.default_rng(0).normal(size=(3, 5)), order=order)
    head = LinearHead(["a", "b", "c"], weight, np.arange(6.0)[::2])
    head.save(tmp_path)
    again = LinearHead.load(tmp_path)
    assert again.labels == head.labels
    np.testing.assert_array_equal(again.weight, weight)
    np.testing.assert_array_equal(again.bias, [0.0, 2.0, 4.0])
    vectors = np.random.default_rng(1).normal(size=(4, 5))
    np.testing.assert_allclose(again.logits(vectors), vectors @ weight.T + [0.0, 2.0, 4.0])


def test_files_that_are_missing_or_do_not_fit_are_named(tmp_path):
    with pytest.raises(UserError, match=LABELS):
        LinearHead.load(tmp_path)
    LinearHead(["a", "b"], np.zeros((2, 3)), np.zeros(2)).save(tmp_path)
    (tmp_path / LABELS).write_text('{"labels": ["a"]}')
    with pytest.raises(UserError, match=WEIGHTS):
        LinearHead.load(tmp_path)
