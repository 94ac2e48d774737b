"""The held-out loss: sums over all steps, divided by the count of their term."""

import pytest
import torch
from torch import nn

from tests.tiny import make_corpus, sentence_config
from textssl.batch import Batch, Part
from textssl.commands.pretrain import pretrain
from textssl.objectives import resolve_objective
from textssl.objectives.base import Encoded, Objective, Term
from textssl.training.held_out import held_out_loss


class Weighted(Batch):
    """Two items that weigh 0.1 together."""

    samples = torch.arange(2)

    def to(self, device):
        return self


class LightItems(Objective):
    """A term whose count is the sum of small weights. seen: whether dropout was on in each forward."""

    def __init__(self, dropout=False):
        super().__init__()
        self.scale, self.dropout, self.seen = nn.Parameter(torch.ones(())), dropout, []

    def keeps_dropout(self, batch):
        return self.dropout

    def counts(self, batch):
        return {"light": 0.1}

    def forward(self, batch):
        self.seen.append(self.training)
        return Encoded({"light": Term(self.scale * 0.1 * 3.0)}, {})


def test_a_sum_of_weights_below_one_divides_too():
    objective, steps = LightItems(), [[Weighted()], [Weighted()]]
    figures = held_out_loss(objective, objective, steps, torch.device("cpu"), None)  # type: ignore[arg-type]
    assert figures == {"eval/loss": pytest.approx(3.0)}


@pytest.mark.parametrize("dropout", [False, True])
def test_dropout_is_on_where_it_makes_the_views_alone(dropout):
    objective, steps = LightItems(dropout), [[Weighted()], [Weighted(), Weighted()]]
    held_out_loss(objective, objective, steps, torch.device("cpu"), None)  # type: ignore[arg-type]
    assert objective.seen == [dropout] * 3 and objective.training


def test_two_dropout_views_of_held_out_text_differ_as_in_training(tmp_path):
    make_corpus(tmp_path)
    parts = {
        "name": "sum",
        "parts": [{"name": "simcse"}, {"name": "mlm"}, {"name": "crops", "view": {"max_tokens": 9}}],
    }
    mixture, _ = resolve_objective(parts)
    assert [mixture.keeps_dropout(Part(name, None)) for name in mixture.parts] == [True, False, False]  # type: ignore[arg-type]
    options = ("model.dropout=0.5", "optimizer.lr=1e-6", "train.max_steps=4", "train.log_every=4")
    config = sentence_config(tmp_path, "simcse", *options, "train.batch_size=16", "evaluation.every=null")
    summary = pretrain(config)
    assert summary.loss is not None and summary.train_loss is not None
    assert 0.4 < summary.loss / summary.train_loss < 2.5  # without dropout a hundredth
