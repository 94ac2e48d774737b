from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import torch

from tests.evaluation.folders import model, save_model, topics
from tests.evaluation.tasks.test_classification import write_labelled
from tests.evaluation.tasks.test_similarity import write_pairs
from textssl.evaluation.tasks.similarity import Similarity
from textssl.inference.encoders import load_encoder


@pytest.fixture
def adapter() -> ModuleType:
    """Imported here, since mteb takes seconds that only the process that runs these tests needs to spend."""
    from textssl.evaluation.tasks import mteb_adapter

    return mteb_adapter


def other_weights(folder):
    """The same folder with other weights, as the next run of the same configuration leaves it."""
    save_model(folder, "bert")
    changed = type(model("bert"))(model("bert").config)
    with torch.no_grad():
        for parameter in changed.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(parameter.numel()))
    changed.save_pretrained(folder)
    return folder


def test_spearman_is_ours_and_no_model_gets_the_scores_of_another(tmp_path, adapter):
    path, cache = write_pairs(tmp_path / "pairs.csv"), tmp_path / "cache"
    found = {}
    for folder in (save_model(tmp_path / "a", "bert"), other_weights(tmp_path / "b")):
        [scores] = adapter.evaluate_with_mteb(
            adapter.MtebEncoder(folder), [adapter.LocalSTS("pairs", path)], cache=cache
        ).values()
        ours = dict(Similarity("pairs", path).run(load_encoder(folder)))["spearman"].mean
        assert scores["cosine_spearman"] == pytest.approx(ours, abs=1e-3)
        assert scores["main_score"] == scores["cosine_spearman"]
        found[folder.name] = ours
    assert abs(found["a"] - found["b"]) > 0.004  # well beyond the tolerance above


def test_scores_are_found_again_for_the_same_model_and_content_only(tmp_path, monkeypatch, adapter):
    path, cache = write_pairs(tmp_path / "pairs.csv"), tmp_path / "cache"
    folder = save_model(tmp_path / "a", "bert")
    passes = []
    embed = type(load_encoder(folder)).embed
    monkeypatch.setattr(
        "textssl.inference.features.Encoder.embed",
        lambda *given, **options: passes.append(1) or embed(*given, **options),
    )

    def run(max_tokens: int = 64) -> float:
        encoder = adapter.MtebEncoder(folder, max_tokens=max_tokens)
        [scores] = adapter.evaluate_with_mteb(encoder, [adapter.LocalSTS("pairs", path)], cache=cache).values()
        return round(scores["cosine_spearman"], 6)  # as mteb keeps it

    first = run()
    assert len(passes) == 2 and run() == first and len(passes) == 2
    shorter = run(max_tokens=6)
    assert len(passes) == 4 and shorter != first
    write_pairs(tmp_path / "pairs.csv", count=50)
    assert run() != first and len(passes) == 6


def test_classification_of_a_local_file(tmp_path, adapter):
    path = write_labelled(tmp_path / "topics.csv", *topics(120, noise=0.2))
    encoder = adapter.MtebEncoder(save_model(tmp_path / "a", "modernbert"))
    [scores] = adapter.evaluate_with_mteb(encoder, [adapter.LocalClassification("topics", path)]).values()
    assert len(scores["scores_per_experiment"]) == 10
    assert scores["accuracy"] == pytest.approx(
        np.mean([experiment["accuracy"] for experiment in scores["scores_per_experiment"]])
    )
    assert scores["accuracy"] > 0.35  # above the third that chance has
