"""ELECTRA: what is drawn, what is detected, and both losses against the formula."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModel, AutoModelForPreTraining, AutoModelForTokenClassification, MambaConfig

from tests.objectives.embedded import easy_batch, row_objective, rows_of, train_easily
from textssl.errors import UserError
from textssl.losses.cross_entropy import draw_tokens
from textssl.models.denoising.detector import Detector
from textssl.sample_types import IGNORE

ELECTRA = {
    "model_type": "electra",
    "embedding_size": 12,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}


@pytest.fixture(scope="module", params=["modernbert", "electra"])
def ready(request):
    """The objective and a batch of four packed rows."""
    objective = row_objective("replaced_token", ELECTRA if request.param == "electra" else None, mask_rate=0.3).eval()
    return objective, rows_of(objective, 4)


def softmax(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def written_out(objective, batch):
    """(nats of the generator, nats of the detector, drawn tokens), token by token in numpy."""
    labels, numbers = batch.labels.flatten().numpy(), batch.numbers.flatten().numpy()
    with torch.no_grad():
        hidden = objective.generator.up(objective.generator(batch)).flatten(0, 1).numpy()
        table = objective.backbone.model.get_input_embeddings().weight.numpy()
    ids, replaced, nats = batch.ids.flatten().numpy().copy(), np.zeros(len(labels), bool), 0.0
    for place in np.flatnonzero(labels != IGNORE):
        shares = softmax(table @ hidden[place] + objective.generator.bias.detach().numpy())
        nats -= np.log(shares[labels[place]])
        ids[place] = np.searchsorted(np.cumsum(shares), numbers[place])
        replaced[place] = ids[place] != labels[place]
    shown = replace(batch, ids=torch.from_numpy(ids).view_as(batch.ids))
    with torch.no_grad():
        odds = objective.detector(objective.backbone, shown)[0].flatten().numpy()
    chance = 1 / (1 + np.exp(-odds))
    text = batch.documents.flatten().numpy() > 0
    detection = -np.log(np.where(replaced, chance, 1 - chance))[text].sum()
    return nats, detection, ids


def test_both_losses_are_the_written_out_ones(ready):
    objective, batch = ready
    terms = objective(batch).terms
    nats, detection, _ = written_out(objective, batch)
    assert float(terms["generator"].total.detach()) == pytest.approx(nats, rel=1e-9)
    assert float(terms["detector"].total.detach()) == pytest.approx(detection, rel=1e-9)
    assert terms["generator"].weight == 1 and terms["detector"].weight == 50
    hidden = int((batch.labels != IGNORE).sum())
    assert objective.counts(batch) == {"generator": hidden, "detector": int((batch.documents > 0).sum())}


def test_drawn_tokens_stand_in_the_hidden_places_alone_and_equal_ones_count_as_originals(ready):
    objective, batch = ready
    hidden = batch.labels != IGNORE
    states, originals = objective.generator(batch)[hidden], batch.labels[hidden]
    shown, different = objective.replaced(batch, states, originals)
    assert torch.equal(shown.ids[~hidden], batch.ids[~hidden]) and not different[~hidden].any()
    assert np.array_equal(shown.ids.flatten().numpy(), written_out(objective, batch)[2])
    assert torch.equal(different[hidden], shown.ids[hidden] != originals) and different.any()
    objective.generator.bias.data[originals[0]] = 50.0  # now nearly all draws are this token
    shown, different = objective.replaced(batch, objective.generator(batch)[hidden], originals)
    objective.generator.bias.data.zero_()
    assert (shown.ids[hidden] == originals[0]).all()
    assert not different[hidden][0] and different[hidden].sum() < hidden.sum()


def test_what_is_drawn_does_not_depend_on_the_other_rows(ready):
    objective, batch = ready
    whole = written_out(objective, batch)[2].reshape(batch.ids.shape)
    for row in range(4):
        part = rows_of(objective, 4, [row])
        hidden = part.labels != IGNORE
        shown, _ = objective.replaced(part, objective.generator(part)[hidden], part.labels[hidden])
        assert np.array_equal(shown.ids[0].numpy(), whole[row])


def test_drawn_tokens_have_the_frequencies_of_the_softmax():
    logits = torch.tensor([[0.0, 2.0, -1.0, 1.0]], dtype=torch.float64)
    uniform = torch.arange(1, 1001, dtype=torch.float32) / 1000
    drawn = draw_tokens(logits.expand(1000, -1), uniform)
    expected = softmax(logits.numpy())[0]
    assert np.abs(np.bincount(drawn, minlength=4) / 1000 - expected).max() < 1e-3
    assert (drawn.diff() >= 0).all()  # the cumulative distribution, inverted
    assert draw_tokens(torch.tensor([[-np.inf, 0.0, -np.inf]]), torch.tensor([1.0])).item() == 1


def test_the_generator_is_narrow_and_learns_on_the_detectors_embeddings(ready):
    objective, batch = ready
    objective.zero_grad()
    objective(batch).terms["generator"].total.backward()
    table = objective.backbone.model.get_input_embeddings().weight
    assert table.grad is not None and table.grad.abs().sum() > 0
    body = [p for name, p in objective.backbone.named_parameters() if p is not table]
    assert all(p.grad is None for p in body)  # the generator's loss reaches nothing else of the detector
    config = objective.generator.language_model.model.config
    assert config.hidden_size < objective.backbone.model.config.hidden_size / 1.5
    tables = [name for name, p in objective.named_parameters() if p.ndim == 2 and len(p) == len(table)]
    assert len([name for name in tables if "position" not in name]) == 1
    objective.zero_grad()
    objective(batch).terms["detector"].total.backward()
    assert all(p.grad is None for name, p in objective.generator.named_parameters())  # draws have no gradient


def test_the_result_is_a_stock_detector_and_a_backbone(ready, tmp_path):
    objective, batch = ready
    from tests.tiny import tiny_tokenizer

    objective.float()
    with torch.no_grad():
        expected, _ = objective.detector(objective.backbone, batch)
        objective.export(tmp_path / "model", tiny_tokenizer())
    objective.double()
    electra = objective.backbone.model.config.model_type == "electra"
    stock = AutoModelForPreTraining if electra else AutoModelForTokenClassification
    model, report = stock.from_pretrained(tmp_path / "model", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert electra or model.config.id2label == {0: "original", 1: "replaced"}
    first = int((batch.documents[0] == 1).sum())
    with torch.no_grad():
        logits = model(input_ids=batch.ids[:1, :first]).logits[0]
    found = logits if electra else logits[:, 1] - logits[:, 0]
    assert torch.allclose(found, expected[0, :first], atol=1e-5)
    _, report = AutoModel.from_pretrained(tmp_path / "model", output_loading_info=True)
    assert not report["missing_keys"]


@pytest.mark.slow
def test_a_family_that_classifies_no_tokens_is_named():
    with pytest.raises(UserError, match="no head that classifies tokens"):
        Detector.token_classifier(MambaConfig())


@pytest.mark.slow
def test_the_detector_learns_to_find_what_does_not_fit():
    """In documents of one word, over and over, a token that was drawn shows."""
    objective = row_objective("replaced_token", {**ELECTRA, "hidden_size": 32, "embedding_size": 32}, mask_rate=0.15)
    train_easily(objective.float(), 100)
    shown = easy_batch(objective, 1_000)
    hidden = shown.labels != IGNORE
    with torch.no_grad():
        rows, replaced = objective.replaced(shown, objective.generator(shown)[hidden], shown.labels[hidden])
        odds, _ = objective.detector(objective.backbone, rows)
        text = shown.documents > 0
        share = float(replaced[text].float().mean())
        nats = float(F.binary_cross_entropy_with_logits(odds[text], replaced[text].float()))
    prior = -(share * np.log(share) + (1 - share) * np.log(1 - share))
    assert share > 0.05 and nats < 0.8 * prior, (nats, prior)
