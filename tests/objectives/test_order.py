"""Order: both cross entropies in loops, the code of a sample's classes, and the baseline of lengths."""

import itertools

import numpy as np
import pytest
import torch

from tests.objectives.embedded import built, draw
from textssl.errors import UserError
from textssl.objectives.order import FAR, GAPS
from textssl.sample_types import SENTENCE_START, WORD_START, Document


def features_of(targets, segments=3, lengths=None):
    rows = segments * len(targets)
    target, source = (torch.as_tensor(one).repeat_interleave(segments) for one in (targets, range(len(targets))))
    lengths = torch.arange(rows) % 5 + 3 if lengths is None else torch.as_tensor(lengths).flatten()
    return {"text": draw(rows), "content": torch.stack([target, source, lengths], dim=1)}


def layers_by_hand(layers, row):
    first, _, second = layers
    (w1, b1), (w2, b2) = ([value.detach().numpy() for value in layer.parameters()] for layer in (first, second))
    return w2 @ np.maximum(w1 @ row + b1, 0) + b2


def cross_entropy(logits, target):
    return np.log(np.exp(logits).sum()) - logits[target]


@pytest.mark.parametrize("segments", [2, 3, 4])
def test_the_losses_are_the_formulas(segments):
    objective = built("order", segments=segments, hidden_width=7, distance_weight=0.5)
    codes = [1 * FAR + 2, 0 * FAR + 3, -1, 1 * FAR + 0]
    features = features_of(codes, segments)
    vectors = features["text"].numpy()
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True) * np.sqrt(8)).reshape(4, segments, 8)
    orders, distances = [], []
    for sample, code in enumerate(codes):
        pairs = [vectors[sample, i] * vectors[sample, j] for i in range(segments) for j in range(i + 1, segments)]
        far = vectors[(sample + 1) % 4, 1]
        for other, wanted in ((vectors[sample, 1], code % FAR if code >= 0 else None), (far, FAR)):
            row = np.concatenate([np.abs(vectors[sample, 0] - other), vectors[sample, 0] * other])
            if wanted is not None:
                distances.append(cross_entropy(layers_by_hand(objective.distance.layers, row), wanted))
        if code >= 0:
            row = np.concatenate([*vectors[sample], *pairs])
            orders.append(cross_entropy(layers_by_hand(objective.order.layers, row), code // FAR))
    losses = {name: float(loss.detach()) for name, loss in objective.batch_loss(features).items()}
    assert losses == pytest.approx({"order": np.mean(orders), "distance": 0.5 * np.mean(distances)}, rel=1e-9)


def test_excerpts_of_one_document_are_not_far():
    objective, features = built("order"), features_of([1, 2, 3])
    features["content"][:, 1] = 7
    text = features["text"].requires_grad_()
    objective.batch_loss(features)["distance"].backward()
    assert torch.autograd.grad(objective.batch_loss(features)["distance"], text)[0].abs().sum() > 0
    only = features_of([-1, -1])
    only["content"][:, 1] = 7
    assert [float(loss.detach()) for loss in objective.batch_loss(only).values()] == [0, 0]


def test_a_view_is_coded_by_its_permutation_and_the_gap_of_the_first_two():
    marks = np.full(600, WORD_START, np.uint8)
    marks[::10] |= SENTENCE_START
    objective, rng = built("order", segments=3, min_tokens=4, max_tokens=9), np.random.default_rng(0)
    distances = set()
    for _ in range(100):
        views = objective.make_view(Document(np.arange(600), marks), rng, 0.0)
        order = list(itertools.permutations(range(3)))[int(views.target) // FAR]
        starts = [int(text[0]) for text in views.texts]
        assert [sorted(starts).index(start) for start in starts] == list(order)
        (first, second) = sorted(views.texts[:2], key=lambda text: text[0])
        gap = second[0] - first[-1] - 1
        assert int(views.target) % FAR == sum(gap >= bound for bound in GAPS)
        distances.add(int(views.target) % FAR)
    assert distances == set(range(FAR))
    short = objective.make_view(Document(np.arange(5), marks[:5]), rng, 0.0)
    assert short.target == -1 and [text.tolist() for text in short.texts] == [[0]] * 3


def test_the_baseline_finds_a_shortcut_and_none_where_none_is():
    objective, rng = built("order"), np.random.default_rng(0)
    for shortcut in (True, False):
        objective.by_lengths.gram.zero_()
        objective.by_lengths.cross.zero_()
        for _ in range(5):
            lengths = rng.permuted(np.tile([4, 9, 17], (200, 1)), axis=1)
            permutation = rng.integers(6, size=200)
            if shortcut:  # the last segment of a document is the shortest
                number = {(0, 2, 1): 0, (1, 2, 0): 1, (0, 1, 2): 2, (2, 1, 0): 3, (1, 0, 2): 4, (2, 0, 1): 5}
                permutation = np.array([number[tuple(row)] for row in np.argsort(np.argsort(lengths))])
            features = features_of(permutation * FAR, lengths=lengths)
            objective.commit(features, 0.5)
        figures = {name: float(value) for name, value in objective.figures(features).items()}
        assert figures["distance/by_lengths"] == 1, "it is always the same"
        if shortcut:
            assert figures["order/by_lengths"] > 0.9
        else:
            assert figures["order/by_lengths"] < 0.35


def test_the_baseline_is_least_squares_over_all_it_saw():
    objective, rng = built("order"), np.random.default_rng(1)
    seen, wanted = [], []
    for _ in range(3):
        lengths, codes = rng.integers(2, 30, size=(40, 3)), rng.integers(-1, 6 * FAR, size=40)
        objective.commit(features_of(codes, lengths=lengths), 0.5)
        for row, code in zip(lengths, codes, strict=True):
            if code >= 0:
                logs = np.log(row)
                longer = [np.sign(logs[i] - logs[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
                seen.append([1, *logs, *longer])
                wanted.append(np.eye(6)[code // FAR])
    inputs = np.array(seen)
    ridge = 1e-6 * (1 + (inputs**2).sum()) * np.eye(7)
    weights = np.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ np.array(wanted))
    lengths = torch.tensor([[3, 9, 5]])
    logs = np.log([3, 9, 5])
    expected = np.array([1, *logs, -1, -1, 1]) @ weights
    assert np.allclose(objective.by_lengths(lengths)[0][0], expected, atol=1e-9)


def test_nothing_of_the_baseline_learns_by_gradient():
    objective = built("order")
    assert not list(objective.by_lengths.parameters()) and len(list(objective.by_lengths.buffers())) == 2


def test_options_that_cannot_be():
    with pytest.raises(UserError, match=r"objective.min_tokens is 9 and max_tokens 8"):
        built("order", min_tokens=9, max_tokens=8)
    with pytest.raises(UserError, match=r"objective.max_tokens is 32, but texts are cut at 30"):
        built("order").check_length(30)
