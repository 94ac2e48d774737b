"""A sum is the weighted sum of what its parts give alone, and refuses parts that do not go together."""

import numpy as np
import pytest
import torch

from tests.objectives.embedded import built, two_view_features
from textssl.batch import Part
from textssl.data.batches.batching import Limits, TextDealing
from textssl.errors import UserError
from textssl.objectives import resolve_objective
from textssl.objectives.base import Rows, stack_rows
from textssl.objectives.crops import Crops
from textssl.objectives.mlm import MaskedLM
from textssl.sample_types import Document, PairFacts, Row

PARTS = [
    {"name": "crops", "view": {"min_tokens": 2, "max_tokens": 6}, "weight": 0.5},
    {"name": "mlm", "weight": 0.2, "batch_size": 3},
    {"name": "moco", "queue_size": 6, "weight": 2.0},
]


def texts(objective, part, documents=3):
    rng = np.random.default_rng(0)
    one = objective.parts[part].objective
    samples = [Document(rng.integers(5, 99, 30), np.ones(30, np.uint8)) for _ in range(documents)]
    views = [one.make_view(sample, rng, 0.0) for sample in samples]
    (batch,) = TextDealing(one.row_format(), 32, Limits()).deal(views)
    return Part(part, batch)


def rows(count=2) -> Rows:
    rng = np.random.default_rng(1)
    made = []
    for _ in range(count):
        ids, positions = rng.integers(5, 99, 16), np.arange(16)
        row = Row(ids, np.ones(16, np.int32), positions, np.ones(16, np.uint8), np.zeros(16, bool))
        row.labels = np.where(positions % 3 == 0, ids, -100)
        made.append(row)
    return stack_rows(made, range(count))  # type: ignore[return-value]


@torch.no_grad()
def test_features_are_weighed_by_part_and_terms_too():
    objective = built("sum", parts=PARTS).eval()
    features, alone = {}, {}
    for name in ("crops", "moco"):
        encoded = objective.forward(texts(objective, name))
        assert not encoded.terms and all(key.startswith(f"{name}/") for key in encoded.features)
        features |= encoded.features
        own = {key.removeprefix(f"{name}/"): value for key, value in encoded.features.items()}
        alone |= objective.parts[name].objective.batch_loss(own)
    losses = objective.batch_loss(features)
    assert losses.keys() == {"crops", "moco"}
    assert float(losses["crops"]) == pytest.approx(0.5 * float(alone["crops"]), rel=1e-12)
    assert float(losses["moco"]) == pytest.approx(2.0 * float(alone["moco"]), rel=1e-12)
    part = Part("mlm", rows())
    found, expected = objective.forward(part), objective.parts["mlm"].objective.forward(part.batch)
    assert found.features.keys() == {"mlm/row"} and found.terms["mlm"].weight == 0.2
    assert torch.equal(found.terms["mlm"].total, expected.terms["mlm"].total)
    assert objective.counts(part) == {"mlm": 12} and objective.counts(texts(objective, "crops")) == {}


def test_parts_share_one_backbone_that_is_trained_once():
    objective = built("sum", parts=PARTS)
    parts = [part.objective for part in objective.parts.values()]
    assert parts[0].backbone is objective.backbone and parts[1].backbone is objective.backbone.backbone
    numbers = [id(parameter) for parameter in objective.parameters()]
    assert len(numbers) == len(set(numbers))
    assert {id(p) for p in objective.backbone.parameters()} <= set(numbers)


def test_parts_that_are_not_in_a_step_are_left_out():
    objective = built("sum", parts=PARTS)
    crops = {f"crops/{key}": value for key, value in two_view_features(3).items()}
    assert objective.batch_loss(crops).keys() == {"crops"}
    assert objective.watched(crops).encoder.shape == (3, 8)
    assert objective.watched({}) is None


def test_commit_reaches_the_part_it_belongs_to():
    objective = built("sum", parts=PARTS)
    features = (
        objective.forward(texts(objective, "moco")).features | objective.forward(texts(objective, "crops")).features
    )
    moco = objective.parts["moco"].objective
    assert int(moco.filled) == 0
    objective.commit(features, 0.5)
    assert int(moco.filled) == 6 and moco.queue.abs().sum() > 0


def test_places_are_those_of_the_part():
    objective = built("sum", parts=PARTS)
    part = texts(objective, "crops")
    assert objective.padded_tokens(part) == part.batch.padded_tokens >= part.tokens == part.batch.tokens
    assert objective.padded_tokens(Part("mlm", rows())) == 32


def test_options_are_filled_in_and_checked():
    _, section = resolve_objective({"name": "sum", "parts": [{"name": "crops"}, {"name": "mlm", "weight": 0.2}]})
    crops, mlm = section["parts"]
    assert (crops["name"], crops["weight"], crops["batch_size"], crops["temperature"]) == ("crops", 1.0, None, 0.05)
    assert (mlm["weight"], mlm["mask_rate"]) == (0.2, 0.3)
    again, same = resolve_objective(section)
    assert same == section and list(again.parts) == ["crops", "mlm"]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([], "objective.parts"),
        ([{"name": "crops"}, {"name": "crops"}], "objective.parts names crops twice, or a sum in a sum"),
        ([{"name": "sum", "parts": [{"name": "mlm"}]}], "a sum in a sum"),
        ([{"name": "mlm"}, {"name": "clm"}], "mixes a causal and a masked language model"),
        ([{"name": "crops", "weight": 0}], "objective.parts.0.weight"),
        ([{"name": "crops", "tempertur": 1}], "did you mean .*temperature"),
        ([{"name": "crop"}], "did you mean crops"),
        ([{"weight": 1.0}], "objective.parts.0.name is missing"),
    ],
)
def test_parts_that_do_not_go_together(parts, message):
    with pytest.raises(UserError, match=message):
        resolve_objective({"name": "sum", "parts": parts})


def test_given_pairs_go_to_the_part_that_wants_them():
    objective, _ = resolve_objective({"name": "sum", "parts": [{"name": "pairs"}, {"name": "crops"}]})
    objective.take_pairs(PairFacts(1))
    assert objective.parts["pairs"].objective.draws == "pairs" and objective.parts["crops"].objective.draws != "pairs"
    without, _ = resolve_objective({"name": "sum", "parts": [{"name": "crops"}]})
    for other in (without, resolve_objective({"name": "crops"})[0], resolve_objective({"name": "mlm"})[0]):
        with pytest.raises(UserError, match=r"data.pairs is for (the )?objective"):
            other.take_pairs(PairFacts(1))


def test_the_figures_of_a_mixture_are_those_of_its_parts():
    parts = [{"name": "crops"}, {"name": "swav", "num_prototypes": 4}]
    objective = built("sum", parts=parts)
    own = two_view_features(5)
    features = {f"{part}/{name}": value for part in ("crops", "swav") for name, value in own.items()}
    expected = objective.parts["swav"].objective.figures(own)
    assert objective.figures(features) == expected and len(expected) == 2


class OtherCrops(Crops):
    """An objective of one's own, whose term has the name of another's."""


class OtherMaskedLM(MaskedLM):
    """The same, of a term that is summed in forward."""


@pytest.mark.parametrize("parts", [["crops", "OtherCrops"], ["mlm", "OtherMaskedLM"]])
def test_two_terms_of_one_name_are_refused(parts):
    known, own = parts
    named = f"tests.objectives.test_sum:{own}"
    objective = built("sum", parts=[{"name": "moco"}, {"name": known}, {"name": named}])
    with pytest.raises(UserError, match=rf"{known} and {named} both call a term of their loss {known}"):
        if known == "mlm":
            for name in (known, named):
                objective(Part(name, rows()))
        else:
            features = two_view_features(4)
            objective.batch_loss(
                {f"{part}/{name}": value for part in (known, named) for name, value in features.items()}
            )
