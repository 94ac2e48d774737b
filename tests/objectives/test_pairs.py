"""Pairs: contrast with hard negatives, classification and regression, each against its formula."""

import numpy as np
import pytest
import torch

from tests.formulas import cosine, info_nce_by_hand, negative_log_share
from tests.objectives.embedded import built, draw, loss_of, moved
from textssl.errors import UserError
from textssl.sample_types import Adjacent, Document, Pair, PairFacts, content_key

LEFT, RIGHT, FIRST, SECOND = range(4)  # views of a pair with two negatives


def pair_features(pairs=4, negatives=2, missing=()):
    """Gathered features; `missing` names (pair, view) that are not there."""
    views = 2 + negatives
    places = [(p, v) for p in range(pairs) for v in range(views) if (p, v) not in missing]
    content = torch.tensor([[100 * p + v, 7000 + p] for p, v in places])
    view = torch.tensor([v for _, v in places])
    target = torch.full((len(places),), float("nan"), dtype=torch.float64)
    return {"text": draw(len(places)), "content": content, "view": view, "target": target}


def by_hand(features, symmetric=False, width=8, excluded=(), temperature=0.05, hard_excluded=()):
    """excluded: (query pair, key pair) that do not repel; hard_excluded: (query pair, row among the negatives)."""
    vectors, view = features["text"].numpy()[:, :width], features["view"].numpy()
    left, right, hard = vectors[view == 0], vectors[view == 1], vectors[view > 1]
    same = np.zeros((len(left), len(left)), bool)
    for i, j in excluded:
        same[i, j] = True
    none = np.zeros((len(left), len(hard)), bool)
    for i, j in hard_excluded:
        none[i, j] = True
    loss = info_nce_by_hand(left, right, temperature, same, [(hard, none)] if len(hard) else [])
    if symmetric:
        loss = (loss + info_nce_by_hand(right, left, temperature, same.T)) / 2
    return loss


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("negatives, missing", [(0, ()), (1, ()), (2, ((0, 3), (2, 2), (2, 3)))])
def test_contrast_is_the_formula(symmetric, negatives, missing):
    objective = built("pairs", PairFacts(negatives), symmetric=symmetric, matryoshka=[3])
    features = pair_features(4, negatives, missing)
    expected = np.mean([by_hand(features, symmetric, width) for width in (8, 3)])
    assert loss_of(objective, features) == pytest.approx(expected, rel=1e-9)


CASES = {  # (pair, view) that has the content of another -> queries and keys, or hard negatives, that do not repel
    "two second texts are one": ((0, RIGHT), (2, RIGHT), 0, [(0, 2), (2, 0)], []),
    "two first texts are one": ((0, LEFT), (2, LEFT), None, [(0, 2), (2, 0)], []),
    "a first text is another's second": ((0, LEFT), (2, RIGHT), 0, [(0, 2)], []),
    "a negative is another's second text": ((1, RIGHT), (3, FIRST), 0, [], [(1, 6)]),
    "a negative is its own second text": ((1, RIGHT), (1, SECOND), 0, [], [(1, 3)]),
    "a negative is the first text": ((1, LEFT), (0, FIRST), 0, [], [(1, 0)]),
}


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_equal_texts_never_repel(case, symmetric):
    one, other, column, excluded, hard = CASES[case]
    objective, features = built("pairs", PairFacts(2), symmetric=symmetric, temperature=1.0), pair_features()
    row = {(p, v): 4 * p + v for p in range(4) for v in range(4)}
    content = features["content"].clone()
    if column is None:  # equal first texts: their pairs have one source
        content[row[other], 0] = content[row[one], 0]
        content[row[2, 0] : row[2, 3] + 1, 1] = content[row[one], 1]
    else:
        content[row[other], column] = content[row[one], column]
    alike = {**features, "content": content}
    expected = by_hand(features, symmetric, excluded=excluded, hard_excluded=hard, temperature=1.0)
    assert loss_of(objective, alike) == pytest.approx(expected, rel=1e-9)
    assert loss_of(objective, alike) != pytest.approx(loss_of(objective, features), rel=1e-9)


@pytest.mark.parametrize("matryoshka", [[], [3]])
def test_classification_is_a_softmax_over_both_and_their_difference(matryoshka):
    objective = built("pairs", PairFacts(0, ("no", "perhaps", "yes")), matryoshka=matryoshka)
    assert objective.chosen_loss == "classification"
    features = pair_features(4, 0)
    labels = [2, 0, 1, 1]
    features["target"] = torch.tensor(labels, dtype=torch.float64).repeat_interleave(2)
    weight, bias = (p.detach().numpy() for p in (objective.classifier.weight, objective.classifier.bias))
    found = []
    for width in [8, *matryoshka]:
        for pair, label in enumerate(labels):
            u, v = features["text"].numpy()[2 * pair : 2 * pair + 2, :width]
            logits = [
                w[:8][:width] @ u + w[8:16][:width] @ v + w[16:][:width] @ abs(u - v) + b
                for w, b in zip(weight, bias, strict=True)
            ]
            found.append(negative_log_share(logits, label))
    assert loss_of(objective, features) == pytest.approx(np.mean(found), rel=1e-9)


@pytest.mark.parametrize("matryoshka", [[], [3]])
def test_regression_is_the_squared_error_of_the_cosine(matryoshka):
    objective = built("pairs", PairFacts(scored=True), score_range=[1, 5], matryoshka=matryoshka)
    assert objective.chosen_loss == "regression"
    features, scores = pair_features(4, 0), [1.0, 5.0, 3.0, 2.5]
    features["target"] = torch.tensor(scores, dtype=torch.float64).repeat_interleave(2)
    vectors = features["text"].numpy()
    errors = [
        (cosine(vectors[2 * pair, :width], vectors[2 * pair + 1, :width]) - (score - 1) / 4) ** 2
        for width in [8, *matryoshka]
        for pair, score in enumerate(scores)
    ]
    assert loss_of(objective, features) == pytest.approx(np.mean(errors), rel=1e-9)


@pytest.mark.parametrize("facts", [PairFacts(2, ("a", "b")), PairFacts(2, (), True)])
def test_hard_negatives_move_neither_classes_nor_scores(facts):
    objective, features = built("pairs", facts), pair_features()
    features["target"] = torch.ones(16, dtype=torch.float64)
    hard = features["view"] > 1
    assert loss_of(objective, features) == loss_of(objective, moved(features, "text", hard))
    contrast = built("pairs", PairFacts(2))
    assert loss_of(contrast, features) != loss_of(contrast, moved(features, "text", hard))


@pytest.mark.parametrize(
    ("facts", "loss", "expected"),
    [
        (PairFacts(), "auto", "contrast"),
        (PairFacts(0, ("a", "b"), True), "auto", "classification"),
        (PairFacts(scored=True), "auto", "regression"),
        (PairFacts(0, ("a", "b")), "contrast", "contrast"),
    ],
)
def test_the_file_chooses_the_loss_unless_it_is_named(facts, loss, expected):
    objective = built("pairs", facts, loss=loss)
    assert objective.chosen_loss == expected and objective.draws == "pairs"
    assert hasattr(objective, "classifier") == (expected == "classification")


def test_views_keep_their_places_where_negatives_are_missing():
    objective = built("pairs", PairFacts(2))
    left, right, wrong = np.array([1, 2]), np.array([3]), np.array([4])
    views = objective.make_view(Pair(left, right, [wrong], 0.5), np.random.default_rng(0), 0.0)
    assert views.texts[3] is None and views.texts[2] is wrong and views.target == 0.5
    assert views.source == content_key(left)
    plain = objective.make_view(Pair(left, right, []), np.random.default_rng(0), 0.0)
    assert plain.texts[2:] == [None, None] and np.isnan(plain.target)


def test_without_a_file_neighbouring_sentences_are_pairs():
    objective = built("pairs")
    assert objective.draws == "adjacent"
    one, two = (Document(np.array(ids), np.ones(len(ids), np.uint8)) for ids in ([1, 2], [3]))
    views = objective.make_view(Adjacent(one, two), np.random.default_rng(0), 0.0)
    assert [text.tolist() for text in views.texts] == [[1, 2], [3]] and views.source == content_key(one.ids)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "classification"}, "loss is classification, which needs data.pairs with the column label"),
        ({"loss": "regression"}, "loss is regression, which needs data.pairs with the column score"),
        ({"score_range": [5, 1]}, r"score_range is \[5.0, 1.0\]: the lowest score comes first"),
        ({"score_range": [1, 1]}, "the lowest score comes first"),
    ],
)
def test_losses_that_the_pairs_do_not_allow(options, message):
    with pytest.raises(UserError, match=message):
        built("pairs", **options)
