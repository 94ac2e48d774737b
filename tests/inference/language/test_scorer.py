from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.evaluation import folders
from tests.evaluation.folders import save_model
from tests.tiny import tiny_tokenizer
from textssl.inference.language.scorer import folder_scorer, live_scorer, random_scorer

TEXTS = ["A harbour.", "A man was here."]


@pytest.mark.parametrize(("family", "kind"), [("llama", "causal"), ("modernbert", "masked")])
def test_a_folder_scores_as_its_live_model_and_an_untrained_one_otherwise(family: str, kind: str, tmp_path):
    folder = save_model(tmp_path / "m", family)
    stored = folder_scorer(folder)
    live = live_scorer(kind, folders.model(family), tiny_tokenizer())
    assert stored is not None and stored.kind == kind
    np.testing.assert_allclose(stored.likelihood(TEXTS).nats, live.likelihood(TEXTS).nats, rtol=1e-5)
    first, again, other = (random_scorer(folder, seed=seed) for seed in (0, 0, 1))
    assert first and again and other
    with torch.random.fork_rng():
        torch.manual_seed(5)
        state = torch.get_rng_state()
        nats = first.likelihood(TEXTS).nats
        assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(nats, again.likelihood(TEXTS).nats)
    assert abs(nats - other.likelihood(TEXTS).nats).min() > 0 and abs(nats - live.likelihood(TEXTS).nats).min() > 0


def test_weights_are_read_once_and_not_before_they_are_needed(tmp_path, monkeypatch):
    read = []
    load = "textssl.inference.language.scorer.load_weights"
    monkeypatch.setattr(load, lambda *_: read.append(1) or folders.model("bert"))
    scorer = folder_scorer(save_model(tmp_path / "m", "bert"))
    assert scorer is not None and not read
    scorer.likelihood(TEXTS)
    scorer.likelihood(TEXTS)
    assert read == [1]


def test_a_live_model_is_asked_as_it_is_now_and_stays_in_training(tmp_path):
    model = folders.model("llama").__class__(folders.model("llama").config)
    scorer = live_scorer("causal", model.train(), tiny_tokenizer())
    before = scorer.likelihood(TEXTS).nats
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(20)
    assert abs(scorer.likelihood(TEXTS).nats - before).min() > 1e-3
    assert model.training


def test_models_without_a_language_model_head_have_none(tmp_path):
    folder = save_model(tmp_path / "t5", "t5")
    assert folder_scorer(folder) is None and random_scorer(folder, seed=0) is None
    encoder = save_model(tmp_path / "bert", "bert")
    (encoder / "modules.json").write_text("[]")  # sentence-transformers keeps no head
    assert folder_scorer(encoder) is None
