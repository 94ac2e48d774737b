"""MoCo: both directions against the formula while the queue fills, and the queue and teacher themselves."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.formulas import info_nce_by_hand
from tests.objectives.embedded import built, draw, loss_of, two_view_features
from textssl.sample_types import Document


def features_of(samples, first=0):
    features = two_view_features(samples)
    features["content"] = features["content"] + first
    return {**features, "key": draw(2 * samples, seed=5 + first)}


def expected_loss(features, queue, same=None, known=(None, None), widths=(8,), temperature=0.05):
    found = []
    text, key = features["text"].numpy(), features["key"].numpy()
    for width in widths:
        for this, other in ((0, 1), (1, 0)):
            more = [(queue[:, :width], known[this])] if len(queue) else []
            query, keys = text[this::2, :width], key[other::2, :width]
            found.append(info_nce_by_hand(query, keys, temperature, same, more))
    return np.mean(found)


@pytest.mark.parametrize("matryoshka", [[], [3]])
def test_the_loss_is_the_formula_while_the_queue_fills(matryoshka):
    objective = built("moco", queue_size=14, matryoshka=matryoshka)
    widths = [8, *matryoshka]
    seen = np.zeros((0, 8))
    for step in range(5):  # 6 keys a step: empty, partly filled, full, and full
        features = features_of(3, first=100 * step)
        found = loss_of(objective, features)
        assert found == pytest.approx(expected_loss(features, seen, widths=widths), rel=1e-9)
        objective.commit(features, 0.5)
        seen = np.concatenate([F.normalize(features["key"], dim=1).numpy(), seen])[:14]
        assert int(objective.filled) == len(seen)
        assert np.allclose(objective.queue[: len(seen)], seen, atol=1e-12)
        assert torch.equal(objective.queue_content[:6], features["content"])


def test_a_step_larger_than_the_queue_leaves_only_its_own_keys():
    objective = built("moco", queue_size=4)
    objective.commit(features_of(3), 0.5)
    later = features_of(3, first=50)
    objective.commit(later, 0.5)
    assert torch.allclose(objective.queue, F.normalize(later["key"], dim=1)[:4])
    assert torch.equal(objective.queue_content, later["content"][:4]) and int(objective.filled) == 4


@pytest.mark.parametrize("column", [0, 1], ids=["text", "source"])
@pytest.mark.parametrize("where", ["batch", "queue"])
def test_equal_contents_never_repel(where, column):
    objective = built("moco", queue_size=6)
    before, features = features_of(3), features_of(3, first=100)
    if where == "queue":
        before["content"][4, column] = features["content"][0, column]
        before["content"][4, 1 - column] = -1
    else:
        features["content"][[0, 1, 4, 5], column] = 7
    objective.commit(before, 0.5)
    queue = objective.queue.numpy().copy()
    same = known = None
    if where == "batch":
        same = np.zeros((3, 3), bool)
        same[0, 2] = same[2, 0] = True
        masks = (None, None)
    else:
        known = np.zeros((3, 6), bool)
        known[0, 4] = True
        second = known if column == 1 else None  # a source belongs to both views, a text to the first alone
        masks = (known, second)
    assert loss_of(objective, features) == pytest.approx(expected_loss(features, queue, same, masks), rel=1e-9)
    assert loss_of(objective, features) != pytest.approx(expected_loss(features, queue), rel=1e-9)


def test_places_that_are_not_filled_do_not_count_whatever_they_hold():
    objective, features = built("moco", queue_size=9), features_of(3)
    expected = loss_of(objective, features)
    objective.queue.copy_(draw(9, seed=8))
    assert loss_of(objective, features) == expected
    objective.filled.fill_(2)
    assert loss_of(objective, features) > expected


def test_keys_come_from_the_teacher_and_get_no_gradient():
    objective = built("moco", queue_size=9, view={"min_tokens": 2, "max_tokens": 4})
    names = {name for name, p in objective.named_parameters() if p.requires_grad}
    assert names and not any(name.startswith("teacher") for name in names)
    features = features_of(3)
    features["key"].requires_grad_()
    text = features["text"].requires_grad_()
    (loss,) = objective.batch_loss(features).values()
    loss.backward()
    assert text.grad is not None and text.grad.abs().sum() > 0


def test_the_teacher_follows_after_each_step():
    objective = built("moco", momentum=0.75)
    with torch.no_grad():
        for parameter in objective.backbone.parameters():
            parameter.add_(1.0)
    old = {name: p.clone() for name, p in objective.teacher.named_parameters()}
    objective.commit(features_of(2), 0.5)
    for name, parameter in objective.teacher.named_parameters():
        student = objective.backbone.get_parameter(name)
        assert torch.allclose(parameter, 0.75 * old[name] + 0.25 * student, atol=1e-12), name


def test_a_sentence_may_be_both_views():
    objective = built("moco", view="dropout")
    assert objective.draws == "sentences" and built("moco").draws == "documents"
    views = objective.make_view(Document(np.array([7, 8]), np.ones(2, np.uint8)), np.random.default_rng(0), 0.0)
    assert [text.tolist() for text in views.texts] == [[7, 8], [7, 8]]
