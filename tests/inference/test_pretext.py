"""What config.json says of a language model that stock classes cannot know, and who reads it."""

from __future__ import annotations

import copy
import json
import re

import numpy as np
import pytest
import torch
from transformers import AutoConfig

from tests.evaluation import folders
from tests.evaluation.scoring import model, pseudo_log_probability
from tests.forked import run
from tests.tiny import MODELS, tiny_tokenizer
from textssl import tokenizer
from textssl.commands.fill_mask import fill_mask
from textssl.commands.generate import generate
from textssl.config import parse_config
from textssl.errors import UserError
from textssl.inference.language.likelihood import pseudo_likelihood
from textssl.models.build import build_model, quiet
from textssl.models.configuration import Pretext, prediction_offset, read_pretext, write_pretext
from textssl.models.heads import LanguageModel
from textssl.models.sentence import build_sentence_model
from textssl.objectives import resolve_objective
from textssl.objectives.base import Facts
from textssl.report.folder import ModelFolder
from textssl.tokenizer.vocabulary import Vocabulary

TEXT = "The [MASK] is a [MASK]."


def ahead(family: str = "bert"):
    """A masked model that is said to predict the next place."""
    made = copy.deepcopy(model(family))
    write_pretext(made.config, Pretext("hybrid", 1))
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("run") / "model"
    with quiet():
        ahead().save_pretrained(made)
    tokenizer.save(tiny_tokenizer(), made)
    return made


@pytest.mark.parametrize(("name", "offset", "family"), [("mlm", 0, "modernbert"), ("clm", 1, "llama")])
def test_every_language_model_says_what_trained_it(name: str, offset: int, family: str, tmp_path):
    words, spec = tiny_tokenizer(), parse_config({"out": "x", "model": {"config": MODELS[family]}}).model
    objective, _ = resolve_objective({"name": name})
    backbone = LanguageModel(build_model(spec, words, causal=name == "clm", sequence_length=32, seed=0))
    objective.build(backbone, Facts(Vocabulary.of(words), 32, 0))
    objective.export(tmp_path / "model", words)
    stored = json.loads((tmp_path / "model" / "config.json").read_text())
    assert stored["textssl"] == {"objective": name, "prediction_offset": offset}
    with quiet():
        assert read_pretext(AutoConfig.from_pretrained(tmp_path / "model")) == Pretext(name, offset)
    went_on = parse_config({"out": "x", "model": {"pretrained": str(tmp_path / "model")}}).model
    again = build_model(went_on, words, causal=name == "clm", sequence_length=32, seed=0)
    assert read_pretext(again.config) is None  # until an objective says what it is from now on


def test_masks_are_read_one_place_before_and_by_default_where_they_stand(folder):
    ids = tiny_tokenizer()(TEXT, return_tensors="pt")["input_ids"]
    gaps = (ids[0] == tiny_tokenizer().mask_token_id).nonzero().flatten()
    with torch.no_grad():
        shares = model("bert")(input_ids=ids).logits[0].softmax(-1)
    for gap, candidates in zip(gaps.tolist(), fill_mask(folder, TEXT, top_k=3), strict=True):
        best = shares[gap - 1].topk(3).values.tolist()
        assert [one.probability for one in candidates] == pytest.approx(best, rel=1e-4)
        assert best != pytest.approx(shares[gap].topk(3).values.tolist(), rel=1e-2)
    assert prediction_offset(model("bert").config) == 0


def test_pseudo_likelihood_reads_the_logits_before_the_hidden_token():
    words, text = tiny_tokenizer(), "The unbelievable boats."
    ids = words(text)["input_ids"]
    expected = 0.0
    for place in range(1, len(ids) - 1):
        hidden = [*ids[:place], words.mask_token_id, *ids[place + 1 :]]
        with torch.no_grad():
            logits = model("bert")(input_ids=torch.tensor([hidden])).logits[0, place - 1]
        expected += float(logits.log_softmax(-1)[ids[place]])
    found = pseudo_likelihood(ahead(), words, [text]).nats[0]
    np.testing.assert_allclose(-found, expected, rtol=1e-5)
    assert abs(-found - pseudo_log_probability("bert", text, False)) > 0.1


def test_nothing_before_the_first_token_can_predict_it():
    bare = copy.deepcopy(tiny_tokenizer())
    bare.backend_tokenizer.post_processor = None
    with pytest.raises(UserError, match="the tokenizer puts none before a text"):
        pseudo_likelihood(ahead(), bare, ["A man."])


def test_the_card_reads_such_a_model_with_stock_classes_and_no_pipeline_is_named(folder):
    found = ModelFolder.read(folder)
    assert found.kind == "shifted" and found.pipeline is None
    code = found.code()
    assert code is not None and "import pipeline" not in code and "textssl import" not in code
    ran = run(["-c", code], cwd=folder, libraries_only=True)
    assert ran.returncode == 0, ran.stderr
    gap = re.search(r"tokenizer\((\".*?\"), return", code)
    assert gap is not None
    expected = fill_mask(folder, json.loads(gap[1]), top_k=5)[0]
    printed = [float(line.split()[-1]) for line in ran.stdout.splitlines()[:5]]
    assert printed == pytest.approx([one.probability for one in expected], abs=1e-3)


def test_generate_takes_the_decoder_that_lies_beside(folder):
    with pytest.raises(UserError, match="masked model, which fills gaps"):
        generate(folder.parent, "The", max_new_tokens=2)
    folders.save_model(folder.parent / "decoder", "llama")
    written = generate(folder.parent, "The", max_new_tokens=2, seed=1)
    assert written == generate(folder.parent / "decoder", "The", max_new_tokens=2, seed=1)


def test_a_sentence_folder_says_nothing(tmp_path):
    spec = parse_config({"out": "x", "model": {"config": MODELS["modernbert"]}}).model
    sentences = build_sentence_model(spec, tiny_tokenizer(), head=False, sequence_length=32, seed=0)
    assert isinstance(sentences.backbone, LanguageModel)
    write_pretext(sentences.backbone.model.config, Pretext("mlm"))
    sentences.export(tmp_path / "model", tiny_tokenizer())
    assert "textssl" not in json.loads((tmp_path / "model" / "config.json").read_text())
