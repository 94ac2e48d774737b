"""Infilling: the total against a cross entropy written out over documents by themselves, counts, noises, the folder."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSeq2SeqLM

from tests.tiny import MODELS, make_corpus, texts, tiny_config, tiny_tokenizer, write_corpus
from textssl.commands.generate import generate
from textssl.commands.pretrain import pretrain
from textssl.data.corpus.corpus import Corpus
from textssl.data.plan.plan import Plan
from textssl.errors import UserError
from textssl.inference.encoders import load_encoder, random_encoder
from textssl.models.build import quiet
from textssl.models.seq2seq.model import build_seq2seq
from textssl.objectives import resolve_objective
from textssl.objectives.base import Facts
from textssl.sample_types import IGNORE, Denoised
from textssl.sections import ModelConfig
from textssl.tokenizer.vocabulary import Vocabulary

ALL = {"spans": 1, "infilling": 1, "deletion": 1, "permutation": 1, "rotation": 1}
SIZE = len(tiny_tokenizer())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("infilling")
    make_corpus(folder)
    write_corpus(folder / "short", [text[start : start + 40] for text in texts()[:60] for start in (0, 60)], "train")
    return folder


def built(family="t5", **options):
    objective, _ = resolve_objective({"name": "infilling", **options})
    spec = ModelConfig(config=MODELS[family])
    objective.build(
        build_seq2seq(spec, tiny_tokenizer(), sequence_length=64, seed=0), Facts(Vocabulary.of(tiny_tokenizer()), 64, 0)
    )
    return objective.eval()


def plan_of(folder, objective, corpus="short"):
    corpora = [(Corpus.open(folder / corpus), 1.0)]
    return Plan(corpora, kind="rows", length=64, form=objective.row_format(), seed=0)


def views(folder, objective, count=8) -> tuple[list[Any], list[Denoised]]:
    plan = plan_of(folder, objective)
    samples = [plan.sample(index) for index in range(count)]
    return samples, [objective.make_view(s, plan.rng(i), 0.0) for i, s in enumerate(samples)]


def by_document(row, values):
    return [values[row.documents == number] for number in range(1, int(row.documents.max(initial=0)) + 1)]


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_the_total_is_the_cross_entropy_of_documents_by_themselves(folder, family):
    objective = built(family, noises=ALL)
    _, shown = views(folder, objective)
    with torch.no_grad():
        total = float(objective(objective.collate(shown, range(8))).terms["infilling"].total)
    expected, documents = 0.0, 0
    for view in shown:
        sources = by_document(view.source, view.source.ids)
        targets = by_document(view.target, view.target.ids)
        labels = by_document(view.target, view.target.labels)
        for source, target, label in zip(sources, targets, labels, strict=True):
            with torch.no_grad():
                given, before = torch.from_numpy(source)[None], torch.from_numpy(target)[None]
                logits = objective.backbone.model(input_ids=given, decoder_input_ids=before).logits[0].double().numpy()
            top = logits.max(1)
            log_total = np.log(np.exp(logits - top[:, None]).sum(1)) + top
            expected += float((log_total - logits[np.arange(len(label)), label]).sum())
            documents += 1
    assert documents > 16, "several in a row"
    assert total == pytest.approx(expected, rel=1e-5)


def test_every_label_follows_the_token_before_it_and_ends_the_text(folder):
    objective = built(noises=ALL)
    samples, shown = views(folder, objective)
    end, text = tiny_tokenizer().eos_token_id, 0
    for sample, view in zip(samples, shown, strict=True):
        whole = by_document(sample, np.where(sample.special, -1, sample.ids))
        sources = by_document(view.source, view.source.ids)
        parts = (by_document(view.target, values) for values in (view.target.ids, view.target.labels))
        for ids, source, before, label in zip(whole, sources, *parts, strict=True):
            assert np.array_equal(before[1:], label[:-1]) and before[0] == objective.backbone.begin
            assert label[-1] == end
            assert (source[0], source[-1]) == (tiny_tokenizer().cls_token_id, tiny_tokenizer().sep_token_id)
            ids, written = ids[ids >= 0], label[:-1]
            if not (written >= SIZE).any():
                assert np.array_equal(written, ids), "all noises but spans write the whole document"
            text += int((written < SIZE).sum())
    batch: Any = objective.collate(shown, range(8))
    assert objective.counts(batch) == {"infilling": text, "target_overflow": 0}
    assert (batch.source.labels == IGNORE).all() and (batch.target.labels != IGNORE).sum() > text


def test_noises_are_drawn_by_their_weights(folder):
    objective = built(noises={"spans": 3, "rotation": 1})
    _, shown = views(folder, objective, 40)
    labels = [label for view in shown for label in by_document(view.target, view.target.labels)]
    share = np.mean([(label >= SIZE).any() for label in labels])
    assert len(labels) > 100 and share == pytest.approx(0.75, abs=0.1)


def test_a_padded_batch_has_the_same_total_as_its_rows(folder):
    objective = built("bart", noises=ALL)
    _, shown = views(folder, objective)
    with torch.no_grad():
        whole = objective(objective.collate(shown, range(8))).terms["infilling"].total
        rows = [objective(objective.collate([view], [0])).terms["infilling"].total for view in shown]
    assert float(whole) == pytest.approx(float(sum(rows)), rel=1e-5)


def test_what_does_not_fit_is_cut_counted_and_shown(folder):
    noises = "objective.noises={permutation: 1}"
    options = (noises, "objective.target_length=40", "train.max_steps=2", "evaluation.every=1")
    pretrain(tiny_config(folder, "infilling", *options, "train.micro_batch_size=3", out="cut"))
    lines = [json.loads(line) for line in (folder / "cut" / "metrics.jsonl").read_text().splitlines()]
    objective = built(noises={"permutation": 1}, target_length=40)
    plan = plan_of(folder, objective, "corpus")
    first = [objective.make_view(plan.sample(i), plan.rng(i), 0.0) for i in range(8)]
    assert all(len(view.target.ids) <= 40 for view in first)
    cut = sum(view.cut_tokens for view in first)
    assert cut > 50 and lines[0]["train/target_overflow"] == cut
    assert any(line.get("eval/target_overflow", 0) > 50 for line in lines)


def test_bits_per_byte_are_nats_for_each_token_of_text_times_tokens_a_byte(folder):
    pretrain(tiny_config(folder, "infilling", "train.max_steps=2", out="bits"))
    summary = json.loads((folder / "bits" / "summary.json").read_text())
    held_out = Corpus.open(folder / "corpus" / "held-out")
    expected = summary["loss"] * held_out.tokens / held_out.bytes / math.log(2)
    assert summary["bits_per_byte"] == pytest.approx(expected, rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["t5", "bart"])
def test_a_run_leaves_a_stock_folder_that_learns_embeds_and_fills(folder, family, capsys):
    noises = ALL if family == "bart" else {"spans": 1}
    model = f"model={json.dumps({'config': MODELS[family]})}"
    options = (model, f"objective.noises={json.dumps(noises)}", "train.max_steps=60", "optimizer.lr=1e-2")
    pretrain(tiny_config(folder, "infilling", *options, out=family))
    lines = [json.loads(line) for line in (folder / family / "metrics.jsonl").read_text().splitlines()]
    losses = [line["train/loss"] for line in lines if "train/loss" in line]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    path = folder / family / "model"
    with quiet():
        stock, report = AutoModelForSeq2SeqLM.from_pretrained(path, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert stock.config.textssl == {"objective": "infilling", "noises": sorted(noises)}
    assert stock.config.vocab_size == SIZE + 100
    read = ["The statement is used", "Another one"]
    vectors, fresh = (make(path).embed(read) for make in (load_encoder, lambda path: random_encoder(path, seed=1)))
    assert vectors.shape == (2, 32) and np.abs(vectors - fresh).max() > 0.01
    (filled,) = generate(path, "The [MASK] is <extra_id_7> here", max_new_tokens=3, greedy=True)
    assert filled in capsys.readouterr().out
    assert filled.startswith("The") and filled.endswith(" here") and " is" in filled and "<" not in filled
    assert generate(path, "The [MASK] is <extra_id_7> here", max_new_tokens=3, greedy=True) == [filled]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"noises": {}}, "noises"),
        ({"noises": {"swaps": 1}}, "swaps"),
        ({"noises": {"spans": 0}}, "spans"),
        ({"mask_rate": 1.0}, "mask_rate"),
        ({"target_length": 4}, "target_length"),
    ],
)
def test_options_that_mean_nothing(options, message):
    with pytest.raises(UserError, match=message):
        resolve_objective({"name": "infilling", **options})


def test_a_tokenizer_or_a_model_that_does_not_suit():
    objective, _ = resolve_objective({"name": "infilling", "noises": {"infilling": 1}})
    backbone = build_seq2seq(ModelConfig(config=MODELS["t5"]), tiny_tokenizer(), sequence_length=64, seed=0)
    bare = Vocabulary(size=10, pad=0, special=(0,))
    with pytest.raises(UserError, match="end-of-sequence"):
        objective.build(backbone, Facts(bare, 32, 0))
    with pytest.raises(UserError, match="mask token"):
        objective.build(backbone, Facts(Vocabulary(size=10, pad=0, special=(0,), eos=1), 32, 0))
    with pytest.raises(UserError, match=r"target_length is 100, but the model has 64 positions"):
        built("bart", target_length=100)
