"""SimCSE's loss against the formula, equal sentences, and dropout as the only difference of the views."""

import numpy as np
import pytest
import torch

from tests.formulas import info_nce_by_hand, nt_xent_by_hand
from tests.objectives.embedded import BERT, built, loss_of, moved, two_view_features
from tests.tiny import tiny_tokenizer
from textssl.data.batches.batching import Limits, TextDealing
from textssl.errors import UserError
from textssl.models.sentence import build_sentence_model
from textssl.objectives import resolve_objective
from textssl.objectives.base import Facts
from textssl.sample_types import Document, RowFormat
from textssl.sections import ModelConfig
from textssl.tokenizer.vocabulary import Vocabulary


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("matryoshka", [[], [2, 5]])
@pytest.mark.parametrize("temperature", [0.05, 2.0])
def test_the_loss_is_the_formula(symmetric, matryoshka, temperature):
    objective = built("simcse", symmetric=symmetric, matryoshka=matryoshka, temperature=temperature)
    features = two_view_features(6)
    by_hand = nt_xent_by_hand if symmetric else info_nce_by_hand
    vectors = features["text"].numpy()
    expected = np.mean(
        [by_hand(vectors[0::2, :width], vectors[1::2, :width], temperature) for width in [8, *matryoshka]]
    )
    assert loss_of(objective, features) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("column", [0, 1], ids=["text", "source"])
def test_equal_sentences_never_repel(symmetric, column):
    """Samples 0 and 2 are alike: each finds its partner, whatever the other's vectors are."""
    objective, features = built("simcse", symmetric=symmetric), two_view_features(3)
    alike = features["content"].clone()
    alike[[0, 1, 4, 5], column] = 7
    alone = {**features, "content": alike, "text": features["text"]}
    text = features["text"].clone().requires_grad_()
    vectors = text.detach().numpy()
    first, second = vectors[0::2], vectors[1::2]
    if symmetric:
        same = np.zeros((6, 6), bool)
        for i in (0, 2, 3, 5):
            same[i, [0, 2, 3, 5]] = True
        expected = nt_xent_by_hand(first, second, 0.05, same)
    else:
        same = np.zeros((3, 3), bool)
        same[0, 2] = same[2, 0] = True
        expected = info_nce_by_hand(first, second, 0.05, same)
    assert loss_of(objective, alone) == pytest.approx(expected, rel=1e-9)
    assert loss_of(objective, alone) != pytest.approx(loss_of(objective, features), rel=1e-6)


def test_two_samples_of_equal_content_have_nothing_to_learn():
    objective, features = built("simcse"), two_view_features(2)
    features["content"][:, 1] = 3
    assert loss_of(objective, features) == loss_of(objective, moved(features, "text", [0, 3])) == 0


def batch_of(objective, *documents):
    views = [objective.make_view(Document(np.array(ids), np.ones(len(ids), np.uint8)), None, 0.0) for ids in documents]
    (batch,) = TextDealing(RowFormat((1,), (2,)), 32, Limits()).deal(views)
    return batch


def test_views_are_the_sentence_twice_and_only_dropout_tells_them_apart():
    objective = built("simcse", projector_width=4)
    batch = batch_of(objective, [9, 8, 7], [9, 8, 7], [5, 6])
    features = objective.train().forward(batch).features
    order = torch.argsort(batch.samples)
    content, vectors, seen = (features[name][order] for name in ("content", "encoder", "text"))
    assert torch.equal(content[0], content[1]) and torch.equal(content[0], content[2])
    assert content[0, 0] != content[4, 0] and content[0, 1] != content[4, 1]
    assert vectors.shape == (6, 8) and seen.shape == (6, 4)
    assert (vectors[0] - vectors[1]).abs().max() > 1e-3
    quiet = objective.eval().forward(batch).features["encoder"][order]
    assert torch.allclose(quiet[0], quiet[1], atol=1e-12) and torch.allclose(quiet[0], quiet[2], atol=1e-12)


def test_the_monitor_sees_encoder_and_projector():
    objective = built("simcse", projector_width=4)
    features = objective.forward(batch_of(objective, [9, 8, 7], [5, 6])).features
    watched = objective.watched(features)
    assert watched.encoder.shape == (2, 8) and watched.projector.shape == (2, 4)
    plain = built("simcse").watched(two_view_features(3))
    assert plain.projector is None and plain.encoder.shape == (3, 8)


def test_without_dropout_there_are_no_two_views():
    words = tiny_tokenizer()
    for spec in (ModelConfig(config=BERT, dropout=0.0), ModelConfig(config={"model_type": "static"})):
        objective, _ = resolve_objective({"name": "simcse"})
        model = build_sentence_model(spec, words, head=None, sequence_length=32, seed=0)
        with pytest.raises(UserError, match="makes its views by dropout"):
            objective.build(model, Facts(Vocabulary.of(words), 32, 0))


@pytest.mark.parametrize("name", ["simcse", "crops", "moco", "pairs"])
@pytest.mark.parametrize("width", [8, 9])
def test_a_shorter_width_must_be_shorter(name, width):
    with pytest.raises(UserError, match=rf"objective.matryoshka names {width}, but the vectors are 8 wide"):
        built(name, matryoshka=[4, width])
