"""What the monitor sees of rows that are modelled token by token."""

from __future__ import annotations

import torch

from tests.models.small import make_rows
from textssl.objectives.mlm import MaskedLM
from textssl.objectives.row_states import row_states
from textssl.training.monitor import PATIENCE, Monitor


def test_the_state_of_a_row_is_the_mean_of_its_tokens():
    batch = make_rows([[3, 2], [6], []], 6)
    states = torch.randn(3, 6, 4, dtype=torch.float64, requires_grad=True)
    expected = [states[0, :5].mean(0), states[1].mean(0), torch.zeros(4, dtype=torch.float64)]
    found = row_states(states, batch)
    assert torch.allclose(found, torch.stack(expected)) and not found.requires_grad
    assert row_states(states[:0], make_rows([], 6)).shape == (0, 4)


def test_a_method_of_ones_own_may_have_other_features():
    rows = torch.randn(3, 4)
    assert MaskedLM().watched({"mine": rows}) is None
    watched = MaskedLM().watched({"row": rows})
    assert watched is not None and torch.equal(watched.encoder, rows) and not watched.ranked


def test_rows_of_padding_hide_no_collapse():
    rows = torch.ones(32, 8)
    rows[::8] = 0
    monitor = Monitor()
    for _ in range(PATIENCE):
        watched = MaskedLM().watched({"row": rows})
        assert watched is not None and monitor.look(watched)["features/normalised_std"] < 1e-6
    assert monitor.alarm("mlm", "") is not None
    dead = MaskedLM().watched({"row": rows * 0})
    assert dead is not None and len(dead.encoder) == 32, "a model that gives zeros alone has collapsed"
