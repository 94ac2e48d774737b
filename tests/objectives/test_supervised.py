"""Classification and regression: torch's own losses over any micro-batches, and hidden tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.tiny import tiny_tokenizer
from textssl.batch import Examples, stack_examples
from textssl.errors import UserError
from textssl.objectives.base import Facts
from textssl.objectives.supervised import Classification, Regression, Supervised
from textssl.sample_types import Example, LabelFacts, ScoreUnit
from textssl.tokenizer.vocabulary import Vocabulary

CLASSES = LabelFacts(("a", "b", "c"), (6, 3, 1))
SCORES = LabelFacts(mean=2.0, deviation=1.5)


class Linear(nn.Module):
    """Logits from the first token and the length of a text."""

    def __init__(self, width: int):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(2, width, generator=generator, dtype=torch.float64))
        self.unit = ScoreUnit()

    def forward(self, batch: Examples) -> Tensor:
        starts = batch.lengths.cumsum(0) - batch.lengths
        return torch.stack([batch.ids[starts] / 50, batch.lengths / 5], 1).double().to(self.weight.dtype) @ self.weight


def examples(count: int = 10) -> list[Example]:
    rng = np.random.default_rng(0)
    ids = [rng.integers(6, 100, rng.integers(1, 12)) for _ in range(count)]
    return [Example(one, np.zeros_like(one), float(place % 3)) for place, one in enumerate(ids)]


def built(objective: Supervised, facts: LabelFacts) -> Supervised:
    objective.take_labels(facts)
    objective.build(Linear(max(len(facts.classes), 1)), Facts(Vocabulary.of(tiny_tokenizer()), 32, 0))
    objective.backbone.unit = ScoreUnit(facts.mean, facts.deviation)
    return objective.double()


def loss_in_parts(objective: Supervised, items: list[Example], cuts: list[int]) -> Tensor:
    """As the trainer does: totals over the sum of all counts."""
    edges = list(zip([0, *cuts], [*cuts, len(items)], strict=True))
    batches = [stack_examples(range(start, stop), items[start:stop]) for start, stop in edges]
    total, count = torch.zeros((), dtype=torch.float64), 0.0
    for batch in batches:
        encoded = objective.forward(batch)
        (name,) = encoded.terms
        total = total + encoded.terms[name].total
        count += objective.counts(batch)[name]
    return total / count


WEIGHTS = {
    "equal": (None, [1.0, 1.0, 1.0]),
    "balanced": ("balanced", [10 / (3 * 6), 10 / (3 * 3), 10 / (3 * 1)]),
    "named": ({"c": 0.5, "a": 2.0, "b": 1.0}, [2.0, 1.0, 0.5]),
}


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("cuts", [[], [5], [1, 1, 7]])
def test_the_loss_is_torchs_weighted_mean_whatever_the_micro_batches(weights, smoothing, cuts):
    given, expected_weights = WEIGHTS[weights]
    objective = built(Classification(class_weights=given, label_smoothing=smoothing), CLASSES)
    items = examples()
    found = loss_in_parts(objective, items, cuts)
    whole = stack_examples(range(len(items)), items)
    expected = F.cross_entropy(
        objective.backbone(whole),
        whole.targets.long(),
        weight=torch.tensor(expected_weights, dtype=torch.float64),
        label_smoothing=smoothing,
    )
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
    (gradient,) = torch.autograd.grad(found, objective.backbone.weight)
    (wanted,) = torch.autograd.grad(expected, objective.backbone.weight)
    torch.testing.assert_close(gradient, wanted, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("cuts", [[], [5], [1, 1, 7]])
def test_regression_is_the_mean_squared_error_over_the_variance(cuts):
    objective, items = built(Regression(), SCORES), examples()
    whole = stack_examples(range(len(items)), items)
    raw = torch.from_numpy(objective.predictions(objective.backbone(whole).detach().numpy()))
    expected = F.mse_loss(raw, whole.targets) / 1.5**2
    found = loss_in_parts(objective, items, cuts).detach()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)  # targets are rounded to 1e-6


@pytest.mark.parametrize("factor, offset", [(1e-3, 0.0), (1e4, 0.0), (1.0, 2000.0), (7.0, -1e3)])
def test_the_unit_of_the_scores_changes_no_bit_of_the_loss(factor, offset):
    """Nor of what is answered, but for the unit."""

    def learned(factor: float, offset: float) -> tuple[Tensor, np.ndarray]:
        items = [replace(one, target=factor * one.target + offset) for one in examples()]
        scores = np.array([one.target for one in items])
        objective = built(Regression(), LabelFacts(mean=float(scores.mean()), deviation=float(scores.std())))
        batch = stack_examples(range(len(items)), items)
        encoded = objective.forward(batch)
        return encoded.terms["regression"].total, objective.predictions(encoded.features["logits"].detach().numpy())

    one, two = learned(1.0, 0.0), learned(factor, offset)
    assert torch.equal(one[0], two[0])
    np.testing.assert_allclose(two[1], factor * one[1] + offset, rtol=1e-12)


def test_the_loss_of_scores_is_never_narrower_than_float32():
    objective = built(Regression(), SCORES).bfloat16()
    encoded = objective.forward(stack_examples(range(3), examples(3)))
    assert encoded.terms["regression"].total.dtype == encoded.features["logits"].dtype == torch.float32


def test_balanced_weights_are_scikit_learns():
    from sklearn.utils.class_weight import compute_class_weight

    labels = np.repeat(["a", "b", "c"], [6, 3, 1])
    expected = compute_class_weight("balanced", classes=np.array(["a", "b", "c"]), y=labels)
    objective: Any = built(Classification("balanced"), CLASSES)
    assert objective.weight_of_classes() == pytest.approx(expected.tolist())


@pytest.mark.parametrize(("objective", "facts"), [(Classification, CLASSES), (Regression, SCORES)])
def test_logits_come_with_the_loss_for_whoever_measures(objective, facts):
    one = built(objective(), facts)
    batch = stack_examples(range(3), examples(3))
    assert torch.equal(one.forward(batch).features["logits"], one.backbone(batch))


@pytest.mark.parametrize(("objective", "facts"), [(Classification, CLASSES), (Regression, SCORES)])
def test_hiding_spares_special_tokens_and_follows_the_samples_randomness(objective, facts):
    words = tiny_tokenizer()
    one = built(objective(mask_rate=0.3), facts)
    ids = np.array(words("the value of an expression is an object " * 60)["input_ids"])
    sample = Example(ids, np.zeros_like(ids), 1.0)

    def hidden(seed: int) -> np.ndarray:
        made = one.make_view(sample, np.random.default_rng(seed), 0.5)
        assert made.target == 1.0 and made.types is sample.types
        changed = made.ids != ids
        assert (made.ids[changed] == words.mask_token_id).all()
        return changed

    special = np.isin(ids, words.all_special_ids)
    draws = np.array([hidden(seed) for seed in range(40)])
    assert special.sum() == 2 and not draws[:, special].any()
    ordinary = draws[:, ~special]
    assert abs(ordinary.mean() - 0.3) < 5 * (0.21 / ordinary.size) ** 0.5
    assert (ordinary.any(0)).all() and (draws[0] == hidden(0)).all() and (draws[0] != draws[1]).any()
    assert ids[0] == words.cls_token_id, "the sample itself is left as it was"


def test_without_a_rate_the_sample_is_seen_as_it_is():
    sample = examples(1)[0]
    assert built(Classification(), CLASSES).make_view(sample, np.random.default_rng(0), 0.0) is sample


@pytest.mark.parametrize(
    ("objective", "facts", "message"),
    [
        (Classification(), SCORES, r"objective\.name is classification, but data\.train has scores: choose regression"),
        (Regression(), CLASSES, r"objective\.name is regression, which needs data\.train with a column score"),
        (
            Classification({"a": 1.0, "b": 1.0}),
            CLASSES,
            "must name every label once; the labels are a, b, c, and 'c' appears in only one of the two",
        ),
        (Classification({"a": 1.0, "b": 1.0, "c": 1.0, "d": 1.0}), CLASSES, "and 'd' appears in only one of the two"),
        (Classification({"a": 1.0, "b": 0.0, "c": 1.0}), CLASSES, r"objective\.class_weights must be above 0"),
        (Classification({"a": 1.0, "b": float("nan"), "c": 1.0}), CLASSES, "must be above 0"),
        (
            Regression(),
            LabelFacts(mean=1e9, deviation=1.0),
            r"too little .* subtract 1e\+09 from every score",
        ),
        (Regression(), LabelFacts(mean=0.0, deviation=1e-200), "which differ too little for float32 numbers"),
    ],
)
def test_labels_that_do_not_suit_stop(objective, facts, message):
    with pytest.raises(UserError, match=message):
        objective.take_labels(facts)


def test_hiding_needs_a_mask_token():
    vocabulary = Vocabulary(size=100, pad=0, special=(0,))
    objective = Classification(mask_rate=0.1)
    objective.take_labels(CLASSES)
    with pytest.raises(UserError, match=r"objective\.mask_rate hides tokens .* which this tokenizer lacks"):
        objective.build(Linear(3), Facts(vocabulary, 32, 0))
    plain = Classification()
    plain.take_labels(CLASSES)
    plain.build(Linear(3), Facts(vocabulary, 32, 0))
