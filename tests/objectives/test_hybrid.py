"""GPT-BERT: which place predicts which token, both directions in one step, and the two stock models that come out."""

import json
import re
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

from tests.objectives.embedded import packed_rows, row_objective, rows_of
from tests.tiny import make_corpus, tiny_config, tiny_tokenizer
from textssl.assembly.fitting import fit_attention
from textssl.batch import empty_like
from textssl.commands.fill_mask import fill_mask
from textssl.commands.generate import generate
from textssl.commands.pretrain import pretrain
from textssl.errors import UserError
from textssl.inference.language.likelihood import causal_likelihood, pseudo_likelihood
from textssl.inference.loading import load_tokenizer, load_weights
from textssl.objectives import resolve_objective
from textssl.sample_types import IGNORE

BERT = {"model_type": "bert", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}


@pytest.fixture(scope="module")
def ready():
    """The objective, random enough to tell places apart, and a batch of four packed rows."""
    objective = row_objective("hybrid", mask_rate=0.3).eval()
    with torch.no_grad():
        for parameter in objective.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return objective, rows_of(objective, 4)


def test_half_of_the_rows_of_a_step_are_of_either_kind_wherever_they_are_dealt(ready):
    objective, batch = ready
    assert len(batch.masked) == len(batch.causal) == 2 and len(batch) == 4
    assert sorted([*batch.masked.samples.tolist(), *batch.causal.samples.tolist()]) == [0, 1, 2, 3]
    alone = rows_of(objective, 4, [int(batch.masked.samples[1])])
    assert len(alone.causal) == 0 and torch.equal(alone.masked.ids[0], batch.masked.ids[1])
    many = row_objective("hybrid", batch_size=16, causal_rate=0.25)
    assert many.is_causal.sum() == 4 and many.is_causal[:8].sum() == 2
    assert len(empty_like(batch)) == len(empty_like(batch).masked) == empty_like(batch).tokens == 0
    assert batch.tokens == sum(int((row.documents > 0).sum()) for row in packed_rows(objective, 4))


def test_the_state_before_a_hidden_token_predicts_it(ready):
    objective, batch = ready
    originals = {number: row.ids for number, row in enumerate(packed_rows(objective, 4))}
    for row, sample in enumerate(batch.masked.samples.tolist()):
        ids, labels = originals[sample], batch.masked.labels[row].numpy()
        places = np.flatnonzero(labels != IGNORE)
        assert len(places) and (labels[places] == ids[places + 1]).all()
        documents = batch.masked.documents[row].numpy()
        assert (documents[places] == documents[places + 1]).all() and (documents[places] > 0).all()
        changed = np.flatnonzero(batch.masked.ids[row].numpy() != ids)
        assert len(changed) and set(changed - 1) <= set(places)
    for row, sample in enumerate(batch.causal.samples.tolist()):
        ids, documents = originals[sample], batch.causal.documents[row].numpy()
        inside = (documents[:-1] == documents[1:]) & (documents[1:] > 0)
        assert np.array_equal(batch.causal.ids[row].numpy(), ids)
        assert np.array_equal(batch.causal.labels[row].numpy()[:-1], np.where(inside, ids[1:], IGNORE))


def cross_entropies(logits, labels):
    """The sum over labels, one by one."""
    total = 0.0
    for place in np.flatnonzero(labels != IGNORE):
        scores = logits[place] - logits[place].max()
        total += np.log(np.exp(scores).sum()) - scores[labels[place]]
    return total


def by_document(rows):
    """(ids, labels) of every document of the rows."""
    for row in range(len(rows)):
        for number in (1, 2):
            inside = rows.documents[row] == number
            yield rows.ids[row, inside], rows.labels[row, inside].numpy()


def test_both_losses_are_those_of_the_stock_models_on_each_document_alone(ready, tmp_path):
    """So documents are isolated in both directions, and windows are those of the stock classes (8 of 30 tokens)."""
    objective, batch = ready
    words = tiny_tokenizer()
    with torch.no_grad():
        terms = objective(batch).terms
        objective.export(tmp_path / "model", words)
        assert objective.export_others(tmp_path, words) == [tmp_path / "decoder"]
    assert terms["masked"].weight == terms["causal"].weight == 0.5
    assert objective.counts(batch) == {
        kind: int((rows.labels != IGNORE).sum()) for kind, rows in (("masked", batch.masked), ("causal", batch.causal))
    }
    stock = {}
    for kind, folder, auto in (("masked", "model", AutoModelForMaskedLM), ("causal", "decoder", AutoModelForCausalLM)):
        loaded: Any = auto.from_pretrained(tmp_path / folder, output_loading_info=True, dtype=torch.float64)
        stock[kind], report = loaded
        assert not report["missing_keys"] and not report["unexpected_keys"]
        total = 0.0
        for ids, labels in by_document(getattr(batch, kind)):
            with torch.no_grad():
                logits = stock[kind].eval()(input_ids=ids[None]).logits[0].numpy()
            total += cross_entropies(logits, labels)
        assert float(terms[kind].total) == pytest.approx(total, rel=1e-9)
    assert type(stock["masked"]).__name__ == "ModernBertForMaskedLM"
    assert type(stock["causal"]).__name__ == "ModernBertDecoderForCausalLM"
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["textssl"] == {"objective": "hybrid", "prediction_offset": 1}
    assert json.loads((tmp_path / "decoder" / "config.json").read_text())["textssl"] == config["textssl"]
    assert stock["causal"].get_output_embeddings().weight is stock["causal"].get_input_embeddings().weight
    assert load_tokenizer(tmp_path / "decoder")("a b")["input_ids"][-1] != words.eos_token_id  # to be continued
    assert load_tokenizer(tmp_path / "model")("a b")["input_ids"][-1] == words.sep_token_id


def test_logits_of_both_folders_are_the_live_ones_to_the_reach_of_the_window(ready, tmp_path):
    objective, batch = ready
    objective.export(tmp_path / "model", tiny_tokenizer())
    objective.export_others(tmp_path, tiny_tokenizer())
    ids = batch.causal.ids[:1, :24]
    assert batch.causal.documents[0, 19] == 1
    ids, rows = ids[:, :20], batch.causal
    live = objective.backbone.logits(objective.backbone(rows, causal=True)[0, :20]).detach()
    decoder = AutoModelForCausalLM.from_pretrained(tmp_path / "decoder").eval()
    assert decoder.config.sliding_window == 8 < 20
    with torch.no_grad():
        assert torch.allclose(decoder(input_ids=ids).logits[0].double(), live, atol=1e-5)
    encoder = AutoModelForMaskedLM.from_pretrained(tmp_path / "model").eval()
    first = int((rows.documents[0] == 1).sum())
    live = objective.backbone.logits(objective.backbone(rows, causal=False)[0, :first]).detach()
    with torch.no_grad():
        assert torch.allclose(encoder(input_ids=rows.ids[:1, :first]).logits[0].double(), live, atol=1e-5)


def test_both_directions_give_every_weight_a_gradient(ready):
    objective, batch = ready
    for name in ("masked", "causal"):
        objective.zero_grad()
        objective(batch).terms[name].total.backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in objective.parameters()), name


def test_what_it_cannot_train_is_named():
    with pytest.raises(UserError, match=r"hybrid trains one model as encoder and decoder.*for modernbert alone"):
        row_objective("hybrid", BERT | {"num_attention_heads": 2})
    with pytest.raises(UserError, match="mixes hybrid, which predicts the next place, with another masked model"):
        resolve_objective({"name": "sum", "parts": [{"name": "hybrid"}, {"name": "mlm"}]})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hybrid")
    make_corpus(folder)
    config = tiny_config(folder, "hybrid", "train.max_steps=4", "evaluation.every=4")
    return folder / "run", pretrain(config), config


def test_bits_per_byte_are_of_the_causal_side_alone(run):
    path, summary, _ = run
    (line,) = [
        line for line in map(json.loads, (path / "metrics.jsonl").read_text().splitlines()) if "eval/loss" in line
    ]
    assert line["eval/loss"] == pytest.approx(line["eval/masked"] + line["eval/causal"])
    causal = line["eval/causal"] / 0.5  # nats a token, of about two bytes here
    assert summary.bits_per_byte == line["eval/bits_per_byte"] and 0.2 < summary.bits_per_byte / causal < 1.5


def test_the_decoder_reads_prompts_as_causal_rows_begin_and_generate_takes_it_for_the_run(run):
    path, _, _ = run
    model, words = load_weights(path / "decoder", AutoModelForCausalLM), load_tokenizer(path / "decoder")
    text = "The value of an object"
    encoded = words(text)["input_ids"]  # a start token in front, no end behind
    assert encoded[0] == row_objective("hybrid").row_format().prefix[0] and words.eos_token_id not in encoded[1:]
    written = generate(path, text, max_new_tokens=3, seed=2)
    assert written == generate(path / "decoder", text, max_new_tokens=3, seed=2)
    with torch.no_grad():
        shares = model(input_ids=torch.tensor([encoded])).logits[0].double().log_softmax(1)
    nats = -sum(float(shares[place, token]) for place, token in enumerate(encoded[1:]))
    assert causal_likelihood(model, words, [text]).nats[0] == pytest.approx(nats, rel=1e-5)


def test_a_pseudo_likelihood_reads_the_place_before_the_hidden_token(run):
    model, words = load_weights(run[0] / "model", AutoModelForMaskedLM), load_tokenizer(run[0] / "model")
    text = "The value of an object"
    ids = words(text)["input_ids"]
    nats = 0.0
    for place in range(1, len(ids) - 1):
        hidden = [*ids[:place], words.mask_token_id, *ids[place + 1 :]]
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([hidden])).logits[0, place - 1].double()
        nats -= float(logits.log_softmax(0)[ids[place]])
    assert pseudo_likelihood(model, words, [text]).nats[0] == pytest.approx(nats, rel=1e-5)


def test_fill_mask_and_the_code_of_the_card_read_it_too(run, monkeypatch, capsys):
    path, _, _ = run
    card = (path / "model" / "README.md").read_text()
    assert "pipeline_tag" not in card and "predicts the next place" in card
    assert "pipeline_tag: text-generation" in (path / "decoder" / "README.md").read_text()
    code = card.split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(path / "model")
    exec(code, {})
    printed = re.findall(r"(.*?) (\d\S*)\n", capsys.readouterr().out, re.DOTALL)  # a token may be a line break
    text = next(line for line in code.splitlines() if "tokenizer(" in line).split('"')[1]
    (gap,) = fill_mask(path / "model", text)
    assert [[one.token, f"{one.probability:.3f}"] for one in gap] == [
        [token.strip(), f"{float(score):.3f}"] for token, score in printed
    ]


def test_attention_without_masks_is_refused(run):
    config = run[2].unfrozen()
    config.model.attention = "varlen"
    backbone = row_objective("hybrid").backbone
    with pytest.raises(UserError, match=r"has no masks, and objective\.name=hybrid reads rows in two directions"):
        fit_attention(config, backbone, torch.device("cpu"), "float32", sets_direction=True)
