"""CPC: InfoNCE over sentences in loops, what is a distractor, and documents of few sentences."""

import numpy as np
import pytest
import torch

from tests.formulas import cosine, negative_log_share
from tests.objectives.embedded import built, draw, loss_of
from textssl.errors import UserError
from textssl.sample_types import SENTENCE_START, Document

SENTENCES = 4


def features_of(counts):
    """Documents of so many sentences, of which each has a text of its own."""
    rows = SENTENCES * len(counts)
    text, source = torch.arange(rows) + 1000, torch.arange(rows) // SENTENCES + 5000
    count = torch.tensor(counts).repeat_interleave(SENTENCES)
    return {"text": draw(rows), "content": torch.stack([text, source, count], dim=1)}


def states_by_hand(gru, rows):
    """The states of a gated recurrent unit, one sentence after another (arXiv:1406.1078, as torch has it)."""
    (wi, wh, bi, bh), state, found = [value.detach().numpy() for value in gru.parameters()], np.zeros(8), []
    for row in rows:
        of_row, of_state = np.split(wi @ row + bi, 3), np.split(wh @ state + bh, 3)
        reset, update = (1 / (1 + np.exp(-(of_row[at] + of_state[at]))) for at in (0, 1))
        new = np.tanh(of_row[2] + reset * of_state[2])
        state = (1 - update) * new + update * state
        found.append(state)
    return found


def by_hand(objective, features, counts, same_document=True, distractor=lambda positive, other: True):
    vectors = features["text"].numpy()
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    found = []
    for ahead, layer in enumerate(objective.predictors, start=1):
        weight, losses = layer.weight.detach().numpy(), []
        for document, count in enumerate(counts):
            first = document * SENTENCES
            states = states_by_hand(objective.context, vectors[first : first + SENTENCES])
            for number in range(count - ahead):
                query, positive = weight @ states[number], first + number + ahead
                scores = [cosine(query, vectors[positive]) / 0.1]
                for other, vector in enumerate(vectors):
                    there = other % SENTENCES < counts[other // SENTENCES] and other != positive
                    own = other // SENTENCES == document
                    if there and (same_document or not own) and distractor(positive, other):
                        scores.append(cosine(query, vector) / 0.1)
                losses.append(negative_log_share(scores, 0))
        found.append(np.mean(losses) if losses else 0.0)
    return np.mean(found)


@pytest.mark.parametrize("same_document", [True, False])
@pytest.mark.parametrize("counts", [[4, 4, 4], [4, 2, 1], [1, 3]])
def test_the_loss_is_the_formula(counts, same_document):
    objective = built("cpc", num_sentences=SENTENCES, same_document=same_document)
    features = features_of(counts)
    expected = by_hand(objective, features, counts, same_document)
    assert loss_of(objective, features) == pytest.approx(expected, rel=1e-9)


def test_what_stands_at_missing_places_changes_nothing():
    objective, features = built("cpc", num_sentences=SENTENCES), features_of([2, 4])
    loss = loss_of(objective, features)
    features["text"][2:4] = draw(2, seed=9)
    assert loss_of(objective, features) == loss


def test_equal_sentences_and_documents_never_repel():
    objective, features = built("cpc", num_sentences=SENTENCES), features_of([4, 4, 4])
    features["content"][5, 0] = features["content"][1, 0]  # a sentence that two documents share
    expected = by_hand(objective, features, [4, 4, 4], distractor=lambda one, other: {one, other} != {1, 5})
    assert loss_of(objective, features) == pytest.approx(expected, rel=1e-9)
    features = features_of([4, 4, 4])
    features["content"][4:8, 1] = features["content"][0, 1]  # a document twice
    twice = lambda one, other: {one // 4, other // 4} != {0, 1}  # noqa: E731
    assert loss_of(objective, features) == pytest.approx(by_hand(objective, features, [4, 4, 4], distractor=twice))


def test_a_prediction_sees_no_later_sentence():
    objective, features = built("cpc", num_sentences=SENTENCES, ahead=1), features_of([4, 4])
    states = objective.context(features["text"].unflatten(0, (2, 4)))[0]
    features["text"][3] = draw(1, seed=7)[0]
    assert torch.equal(objective.context(features["text"].unflatten(0, (2, 4)))[0][:, :3], states[:, :3])


def test_no_prediction_at_all_is_a_loss_of_0_with_a_gradient():
    objective, features = built("cpc", num_sentences=SENTENCES), features_of([1, 1])
    text = features["text"].requires_grad_()
    (loss,) = objective.batch_loss(features).values()
    loss.backward()
    assert float(loss.detach()) == 0 and text.grad is not None and float(text.grad.abs().sum()) == 0


def test_figures_are_shares_of_predictions_that_find_their_sentence():
    objective, features = built("cpc", num_sentences=SENTENCES, ahead=1), features_of([4, 2])
    figures = objective.figures(features)
    vectors = torch.nn.functional.normalize(features["text"], dim=1)
    states, _ = objective.context(vectors.unflatten(0, (2, 4)))
    scores = torch.nn.functional.normalize(objective.predictors[0](states.flatten(0, 1)), dim=1) @ vectors.T
    scores[:, 6:] = -1  # two sentences are missing
    right = [int(scores[place].argmax()) == place + 1 for place in (0, 1, 2, 4)]
    assert figures.keys() == {"cpc/accuracy_1"} and float(figures["cpc/accuracy_1"]) == sum(right) / 4


def test_a_view_has_the_sentences_and_how_many_they_are():
    marks = np.zeros(9, np.uint8)
    marks[[0, 3, 5]] = SENTENCE_START
    objective = built("cpc", num_sentences=SENTENCES, max_tokens=3)
    views = objective.make_view(Document(np.arange(9), marks), np.random.default_rng(0), 0.0)
    assert [text.tolist() for text in views.texts] == [[0, 1, 2], [3, 4], [5, 6, 7], [0]] and views.target == 3
    with pytest.raises(UserError, match=r"objective.max_tokens is 64, but texts are cut at 62"):
        built("cpc").check_length(62)
