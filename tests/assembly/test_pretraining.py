"""What a configuration becomes: kinds of backbones, held-out batches, the documents that a refresh embeds."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import torch
from rich.console import Console
from torch.nn.functional import normalize

from tests.tiny import make_corpus, sentence_config, tiny_config
from textssl.assembly import pretraining
from textssl.assembly.pretraining import assemble, token_head
from textssl.assembly.resolution import located, resolve
from textssl.assembly.runs import start_accelerator
from textssl.commands.pretrain import pretrain
from textssl.errors import UserError
from textssl.models.lsa import lsa_table
from textssl.objectives import resolve_objective

CLUSTERED = "tests.objectives.clustered:Clustered"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pretraining")
    make_corpus(folder)
    return folder


@pytest.mark.parametrize(
    "section, expected",
    [
        ({"name": "mlm"}, False),
        ({"name": "clm"}, True),
        ({"name": "infilling"}, "seq2seq"),
        ({"name": "crops"}, None),
        ({"name": "sum", "parts": [{"name": "crops"}, {"name": "mlm"}]}, False),
    ],
)
def test_the_output_layer_follows_the_kinds_of_the_parts(section, expected):
    assert token_head(resolve_objective(section)[0]) is expected


def test_an_encoder_decoder_shares_its_backbone_with_no_other_kind():
    section = {"name": "sum", "parts": [{"name": "mlm"}, {"name": "infilling"}]}
    with pytest.raises(UserError, match="mixes an encoder-decoder"):
        token_head(resolve_objective(section)[0])


@pytest.mark.parametrize("objective", ["mlm", "clm", "crops", "infilling"])
def test_token_vectors_begin_with_the_corpus(objective, folder, monkeypatch):
    """Those of tokens that occur, and no other weight; a run that goes on has no use for it."""
    begun = {}
    for embeddings in ("lsa", "random"):
        make = sentence_config if objective == "crops" else tiny_config
        options = f"model.embeddings={embeddings}", "train.max_steps=2", "train.checkpoint_every=2"
        config = make(folder, objective, *options, out=f"{objective}-{embeddings}")
        config, task = resolve(config)
        trainer, data, words = assemble(config, task, start_accelerator(config), Console(file=io.StringIO()))
        begun[embeddings] = {name: weight.clone() for name, weight in trainer.objective.state_dict().items()}
    changed = {name for name, weight in begun["lsa"].items() if not torch.equal(weight, begun["random"][name])}
    tables = [begun["lsa"][name] for name in changed]
    assert tables and all(table.shape[0] >= len(words) and torch.equal(table, tables[0]) for table in tables)
    counts = data.counts(len(words))
    occurs = np.flatnonzero(counts.getnnz(axis=1))
    wanted = torch.from_numpy(lsa_table(counts, tables[0].shape[1], config.seed)[occurs])
    torch.testing.assert_close(normalize(tables[0][occurs], dim=1), normalize(wanted, dim=1))
    pretrain(config)
    monkeypatch.setattr(pretraining, "start_with_lsa", None)
    assert pretrain(config).steps == 2


def test_only_a_new_transformer_has_token_vectors_to_begin(folder):
    with pytest.raises(UserError, match=r"model\.embeddings is for transformers: .* model\.config\.init=random"):
        pretrain(sentence_config(folder, "crops", "model={preset: static-nano, embeddings: random}", out="table"))
    with pytest.raises(UserError, match="embeddings=random is for a preset or config"):
        pretrain(tiny_config(folder, "mlm", "model={pretrained: somewhere, embeddings: random}", out="own"))


def test_a_smaller_held_out_batch_is_said_and_chooses_no_checkpoint(folder, capsys):
    options = ("train.batch_size=32", "train.max_steps=2", "evaluation.every=2")
    pretrain(sentence_config(folder, "crops", *options, out="smaller"))
    assert "does not compare with train/loss" in capsys.readouterr().err
    last = json.loads((folder / "smaller" / "metrics.jsonl").read_text().splitlines()[-1])
    assert 1 < last["eval/batch_size"] < 32
    with pytest.raises(UserError, match=r"evaluation\.best is eval/loss, but a loss over the whole batch"):
        pretrain(sentence_config(folder, "crops", *options, "evaluation.best=eval/loss", out="chosen"))


def test_an_equal_held_out_batch_may_choose(folder, capsys):
    options = ("train.batch_size=4", "train.max_steps=4", "evaluation.every=2", "evaluation.best=eval/loss")
    assert pretrain(sentence_config(folder, "crops", *options, out="equal")).best is not None
    assert "does not compare" not in capsys.readouterr().err


@pytest.mark.parametrize("micro", ["null", "2"])
def test_a_refresh_sees_every_document_once_under_the_key_of_its_views(folder, micro):
    config, objective = resolve(tiny_config(folder, CLUSTERED, f"train.micro_batch_size={micro}", out="embedded"))
    trainer, data, _ = assemble(config, objective, start_accelerator(config), Console())
    assert trainer.embed_corpus is not None
    keys, vectors = trainer.embed_corpus()
    assert len(keys) == len(vectors) == data.num_documents
    assert len(set(keys.tolist())) > data.num_documents - 3, "all but those of equal tokens"
    sources = {int(source) for batch in trainer.dataset[0] for source in batch.source}  # type: ignore[attr-defined]
    assert sources <= set(keys.tolist())
    assert torch.isfinite(vectors).all() and vectors.std() > 0
    assert objective.training


def test_a_resolved_configuration_cannot_change(folder):
    config, _ = resolve(tiny_config(folder, "mlm"))
    assert config.objective["mask_rate"] == 0.3
    for section, key in ((config, "out"), (config.train, "max_steps"), (config.model, "pretrained")):
        with pytest.raises(AssertionError, match="the configuration is resolved"):
            setattr(section, key, None)
    again = located(config, folder / "elsewhere")
    assert again.out == str(folder / "elsewhere") and config.out != again.out
    changed = again.unfrozen()
    changed.train.max_steps = 7
    assert again.train.max_steps == 20


def test_an_epoch_of_a_mixture_is_one_of_its_first_part_in_that_parts_own_batches(folder):
    parts = [{"name": "mlm", "batch_size": 4}, {"name": "crops", "view": {"max_tokens": 16}}]
    objective = f"objective={json.dumps({'name': 'sum', 'parts': parts})}"
    config = tiny_config(folder, "sum", objective, "train.max_steps=null", "train.max_epochs=1", out="epoch")
    trainer, _, _ = assemble(config, resolve(config)[1], start_accelerator(config), Console(quiet=True))
    rows = len(trainer.dataset.parts["mlm"].plan)  # type: ignore[union-attr]
    assert config.train.batch_size != 4 and trainer.config.train.max_steps == -(-rows // 4)
