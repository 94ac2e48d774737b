"""A micro-batch without samples goes through the layers of a full one: where these are sharded, all ranks gather each
at the same time, and one that left one out would be waited for, or answer with another layer's rows."""

from __future__ import annotations

import pytest

from tests.training.worlds import ALL, assembled, config_of, make_data
from textssl.batch import empty_like
from textssl.models.layers import transformer_layers
from textssl.objectives.base import Objective


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("empty")
    make_data(folder)
    return folder


def called(objective: Objective, batch) -> list[str]:
    """The transformer layers that a forward goes through, in order."""
    names = {module: name for name, module in objective.named_modules()}
    calls: list[str] = []
    hooks = [
        layer.register_forward_pre_hook(lambda module, _: calls.append(names[module]))
        for layer in transformer_layers(objective)
    ]
    objective(batch)
    for hook in hooks:
        hook.remove()
    return calls


@pytest.mark.slow_unless("tsdae")
@pytest.mark.parametrize("name", ALL)
def test_an_empty_micro_batch_goes_through_every_layer(folder, name):
    trainer = assembled(config_of(folder, name, 8))
    for batch in trainer.dataset[0]:
        expected = called(trainer.objective, batch)
        assert called(trainer.objective, empty_like(batch)) == expected
        assert expected or name in ("static", "skipgram")
