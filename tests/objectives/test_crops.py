"""Crops: the loss against the formula, documents of equal text, and spans as views."""

import numpy as np
import pytest
import torch

from tests.formulas import info_nce_by_hand, nt_xent_by_hand
from tests.objectives.embedded import built, loss_of, two_view_features
from textssl.errors import UserError
from textssl.sample_types import Document, content_key


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("matryoshka", [[], [3]])
def test_the_loss_is_the_formula(symmetric, matryoshka):
    objective, features = built("crops", symmetric=symmetric, matryoshka=matryoshka), two_view_features(5)
    by_hand = nt_xent_by_hand if symmetric else info_nce_by_hand
    vectors = features["text"].numpy()
    expected = np.mean([by_hand(vectors[0::2, :width], vectors[1::2, :width], 0.05) for width in [8, *matryoshka]])
    assert loss_of(objective, features) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("column", [0, 1], ids=["text", "source"])
def test_equal_contents_do_not_push_each_other(symmetric, column):
    """The gradient of what is alike comes from its partner and from the others alone."""
    objective, features = built("crops", symmetric=symmetric, temperature=1.0), two_view_features(3)
    content = features["content"].clone()
    content[[0, 1, 2, 3], column] = 7  # documents 0 and 1 are alike
    vectors = features["text"].clone()
    vectors[[4, 5]] = 0  # and the third, which is far from nothing, gives them only constants
    text = vectors.requires_grad_()
    (loss,) = objective.batch_loss({"text": text, "content": content}).values()
    (gradient,) = torch.autograd.grad(loss, text)
    pairs = []
    for sample in (0, 1):
        alone = features["text"][[2 * sample, 2 * sample + 1, 4, 5]].clone()
        alone[2:] = 0
        alone.requires_grad_()
        (one,) = objective.batch_loss({"text": alone, "content": features["content"][[0, 1, 4, 5]]}).values()
        pairs.append(torch.autograd.grad(one, alone)[0][:2] * 2 / 3)
    assert torch.allclose(gradient[:4], torch.cat(pairs), atol=1e-12) and gradient[:4].abs().max() > 1e-3


def document(count, seed=0):
    rng = np.random.default_rng(seed)
    return Document(rng.integers(5, 99, count), np.ones(count, np.uint8))


@pytest.mark.parametrize("overlap", ["disjoint", "any"])
def test_views_are_two_spans_of_the_document(overlap):
    objective = built("crops", view={"min_tokens": 4, "max_tokens": 10, "overlap": overlap})
    sample = document(60)
    ids = sample.ids.tolist()
    for seed in range(30):
        views = objective.make_view(sample, np.random.default_rng(seed), 0.0)
        assert views.source == content_key(sample.ids)
        for text in views.texts:
            assert 4 <= len(text) <= 10
            assert any(ids[at : at + len(text)] == text.tolist() for at in range(60))
    assert objective.make_view(document(60), np.random.default_rng(1), 0.0).source == content_key(sample.ids)
    assert objective.make_view(document(60, 1), np.random.default_rng(1), 0.0).source != content_key(sample.ids)


def test_a_document_of_one_token_has_two_equal_views():
    views = built("crops").make_view(document(1), np.random.default_rng(0), 0.0)
    assert [text.tolist() for text in views.texts] == [document(1).ids.tolist()] * 2


@pytest.mark.parametrize("name", ["crops", "moco"])
def test_the_shortest_span_is_no_longer_than_the_longest(name):
    with pytest.raises(UserError, match=r"objective.view: min_tokens is 9 and max_tokens 8"):
        built(name, view={"min_tokens": 9, "max_tokens": 8})
