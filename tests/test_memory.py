"""The table of memory: what is worked out from shapes is what a run of one process holds; parts add up to the whole."""

import pytest

from scripts.memory import MODELS, activation_bytes, build, held, hold
from tests.tiny import make_corpus


@pytest.mark.slow
@pytest.mark.parametrize("preset, optimizer", [("llama-nano", "muon"), ("modernbert-nano", "adamw")])
def test_a_run_holds_what_was_worked_out(tmp_path, preset, optimizer):
    make_corpus(tmp_path)
    measured, expected = hold(tmp_path, preset, optimizer, 1)
    assert measured == expected and measured.parameters == measured.gradients > 0


def test_parts_add_up_and_the_first_one_is_the_largest():
    module = build(MODELS["llama-base"])
    whole = held(module, "adamw", 1)
    parts = [held(module, "adamw", 64, part) for part in range(64)]
    assert sum(part.parameters for part in parts) == whole.parameters == 4 * sum(p.numel() for p in module.parameters())
    assert max(part.total for part in parts) == parts[0].total
    assert held(module, "muon", 1).optimizer < whole.optimizer


def test_the_public_shape_of_8b_has_its_parameters_and_checkpointing_saves_activations():
    module = build(MODELS["Llama 3 8B"])
    assert sum(one.numel() for one in module.parameters()) == 8_030_261_248
    kept, saved = (activation_bytes(module.config, 8_192, checkpointing=one) for one in (False, True))
    assert 8 * saved < kept
