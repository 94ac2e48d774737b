import numpy as np
import pytest
import torch

from tests.tiny import make_corpus, tiny_config, tiny_tokenizer
from textssl.data.corpus.corpus import Corpus
from textssl.data.plan.plan import Plan
from textssl.errors import UserError
from textssl.models.build import build_model
from textssl.models.heads import LanguageModel
from textssl.objectives import resolve_objective
from textssl.objectives.base import Facts
from textssl.sample_types import IGNORE
from textssl.tokenizer.vocabulary import Vocabulary


@pytest.fixture(scope="module", params=["mlm", "clm"])
def ready(request, tmp_path_factory):
    """(name, objective, rows of a plan)."""
    folder = tmp_path_factory.mktemp(request.param)
    make_corpus(folder)
    config = tiny_config(folder, request.param)
    objective, _ = resolve_objective(config.objective)
    words = tiny_tokenizer()
    model = build_model(config.model, words, causal=objective.backbone_kind == "causal", sequence_length=64, seed=0)
    objective.build(LanguageModel(model), Facts(Vocabulary.of(words), 32, 0))
    corpora = [(Corpus.open(folder / "corpus"), 1.0)]
    plan = Plan(corpora, kind="rows", length=64, form=objective.row_format(), seed=0)
    return request.param, objective, plan


def views(objective, plan, count=8):
    samples = [plan.sample(index) for index in range(count)]
    return samples, [objective.make_view(s, plan.rng(i), 0.0) for i, s in enumerate(samples)]


def test_the_total_is_the_written_out_cross_entropy(ready):
    name, objective, plan = ready
    _, shown = views(objective, plan)
    batch = objective.collate(shown, range(8))
    objective.eval()
    with torch.no_grad():
        total = float(objective.forward(batch).terms[name].total)
        logits = objective.backbone.logits(objective.backbone(batch).flatten(0, 1)).double().numpy()
    labels = batch.labels.flatten().numpy()
    shifted = logits - logits.max(1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    places = np.flatnonzero(labels != IGNORE)
    assert total == pytest.approx(-log_probabilities[places, labels[places]].sum(), rel=1e-5)
    assert objective.counts(batch) == {name: len(places)}


def test_what_is_predicted(ready):
    name, objective, plan = ready
    samples, shown = views(objective, plan)
    for sample, view in zip(samples, shown, strict=True):
        places = np.flatnonzero(view.labels != IGNORE)
        if name == "mlm":
            assert np.array_equal(view.labels[places], sample.ids[places])
            assert not sample.special[places].any()
            assert np.array_equal(np.delete(view.ids, places), np.delete(sample.ids, places))
        else:
            assert np.array_equal(view.ids, sample.ids)
            expected = [p for p in range(63) if 0 < sample.documents[p] == sample.documents[p + 1]]
            assert places.tolist() == expected
            assert np.array_equal(view.labels[places], sample.ids[places + 1])


def test_every_token_of_text_is_predicted_once_by_clm(ready):
    name, objective, plan = ready
    if name == "clm":
        total = sum(
            int((objective.make_view(plan.sample(i), plan.rng(i), 0.0).labels != IGNORE).sum())
            for i in range(len(plan))
        )
        corpus = plan.epochs[0].corpus
        assert total == corpus.tokens + corpus.documents  # each document's end too: bits per byte count all of it


def test_a_tokenizer_without_the_needed_token_is_refused():
    for name, missing in (("mlm", "mask"), ("clm", "end-of-sequence")):
        objective, _ = resolve_objective({"name": name})
        with pytest.raises(UserError, match=missing):
            objective.build(torch.nn.Identity(), Facts(Vocabulary(size=10, pad=0, special=(0,)), 32, 0))
