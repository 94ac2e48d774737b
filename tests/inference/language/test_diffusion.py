"""Models of masked diffusion: the bound against the sum over all hidden sets, and the passes of unmasking."""

from __future__ import annotations

import copy
import itertools
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import AutoConfig, LogitsProcessorList

from tests.evaluation.folders import save_model
from tests.evaluation.scoring import model
from tests.tiny import texts, tiny_tokenizer
from textssl.commands.evaluate import describe_language
from textssl.commands.generate import generate
from textssl.errors import UserError
from textssl.evaluation.tasks.bits_per_byte import language_figure
from textssl.evaluation.tasks.language_modelling import Language
from textssl.inference.language.diffusion import diffusion_bound, is_diffusion, unmask
from textssl.inference.language.scorer import folder_scorer, live_scorer
from textssl.models.configuration import Pretext, read_pretext, write_pretext

TEXTS = ["A man.", "The harbourmasters near the boats were old.", "The unbelievable naïveté, 1999!"]
NOTHING = LogitsProcessorList()


def exact_bound(text):
    """Minus the log-probability in the mean over all orders: every hidden set of every size."""
    tokenizer = tiny_tokenizer()
    ids = tokenizer(text)["input_ids"]
    places, total = range(1, len(ids) - 1), 0.0
    for count in range(1, len(places) + 1):
        sets = list(itertools.combinations(places, count))
        for hidden in sets:
            shown = [tokenizer.mask_token_id if place in hidden else token for place, token in enumerate(ids)]
            with torch.no_grad():
                shares = model("bert")(input_ids=torch.tensor([shown])).logits[0].log_softmax(-1)
            total -= sum(float(shares[place, ids[place]]) for place in hidden) / count / len(sets)
    return total


def test_the_bound_is_the_mean_over_all_hidden_sets():
    found = diffusion_bound(model("bert"), tiny_tokenizer(), TEXTS[:1], draws=1_500)
    assert found.kind == "bound" and 3 <= found.tokens[0] <= 6
    assert found.nats[0] == pytest.approx(exact_bound(TEXTS[0]), rel=0.03)


def test_a_model_that_knows_nothing_needs_the_logarithm_of_the_vocabulary_for_each_token():
    blank = copy.deepcopy(model("bert"))
    for parameter in blank.cls.parameters():
        parameter.data.zero_()
    blank.get_input_embeddings().weight.data.zero_()
    found = diffusion_bound(blank, tiny_tokenizer(), TEXTS)
    np.testing.assert_allclose(found.nats, found.tokens * math.log(len(tiny_tokenizer())), rtol=1e-5)


def test_company_changes_nothing_and_long_texts_are_read_in_parts():
    together = diffusion_bound(model("bert"), tiny_tokenizer(), TEXTS)
    alone = [diffusion_bound(model("bert"), tiny_tokenizer(), [text]).nats[0] for text in TEXTS]
    np.testing.assert_allclose(together.nats, alone, rtol=1e-5)
    other = diffusion_bound(model("bert"), tiny_tokenizer(), TEXTS, seed=1)
    assert not np.allclose(other.nats, together.nats)
    parts = diffusion_bound(model("bert"), tiny_tokenizer(), [" ".join(TEXTS), ""], context=16)
    assert parts.context == 16 and parts.tokens[0] > 16 and np.isfinite(parts.nats).all() and parts.nats[1] == 0
    bare = copy.deepcopy(tiny_tokenizer())
    bare.mask_token = None
    with pytest.raises(UserError, match="mask token"):
        diffusion_bound(model("bert"), bare, TEXTS)


@pytest.fixture
def folder(tmp_path):
    """A stock folder whose configuration says that diffusion trained it."""
    save_model(tmp_path / "model", "bert")
    config = AutoConfig.from_pretrained(tmp_path / "model")
    write_pretext(config, Pretext("diffusion"))
    config.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_the_configuration_says_what_stock_classes_cannot_know(folder):
    assert json.loads((folder / "config.json").read_text())["textssl"] == {
        "objective": "diffusion",
        "prediction_offset": 0,
    }
    config = AutoConfig.from_pretrained(folder)
    assert read_pretext(config) == Pretext("diffusion", 0) and is_diffusion(config)
    write_pretext(config, None)  # another objective goes on from there
    assert read_pretext(config) is None and not is_diffusion(config) and "textssl" not in config.to_dict()
    assert read_pretext(SimpleNamespace(textssl=["damaged"])) is None


def test_evaluation_gives_the_bound_of_such_a_model(folder, tmp_path):
    (tmp_path / "text.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts()[:20]))
    scorer, other = folder_scorer(folder), live_scorer("masked", model("bert"), tiny_tokenizer())
    assert scorer is not None and (scorer.kind, scorer.measure, other.measure) == ("masked", "bound", "masked")
    task = Language("mine", str(tmp_path / "text.jsonl"), max_bytes=8_000)
    ((name, figure),) = task.run(scorer)
    scored = task.texts(scorer)
    found = diffusion_bound(scorer.model, scorer.tokenizer, scored)
    expected = language_figure(found, scored, scorer.tokenizer)
    assert name == "bound_bits_per_byte" and figure.mean == pytest.approx(expected.bits_per_byte, rel=1e-6)
    assert "bits per byte at most (an upper bound)" in describe_language(expected.as_dict())
    ((name, _),) = Language("mine", str(tmp_path / "text.jsonl"), max_masked_bytes=500).run(other)
    assert name == "pseudo_bits_per_byte"


class Counting:
    """A model that remembers what it was shown."""

    def __init__(self):
        self.shown, self.device = [], torch.device("cpu")

    def __call__(self, input_ids, attention_mask):
        self.shown.append(input_ids[0].tolist())
        return model("bert")(input_ids=input_ids, attention_mask=attention_mask)


@pytest.mark.parametrize(
    ("steps", "left"), [(1, [7]), (3, [7, 4, 2]), (7, [7, 6, 5, 4, 3, 2, 1]), (50, [*range(7, 0, -1)])]
)
def test_masks_get_tokens_in_equal_shares_and_keep_them(steps, left):
    tokenizer, counting = tiny_tokenizer(), Counting()
    prompt = tokenizer("The man")["input_ids"][:-1]
    torch.manual_seed(0)
    found = unmask(counting, tokenizer, prompt, 7, steps=steps, warp=NOTHING)  # type: ignore[arg-type]
    assert found[: len(prompt)] == prompt and len(found) == len(prompt) + 7
    assert not set(found[len(prompt) :]) & set(tokenizer.all_special_ids)
    assert [ids.count(tokenizer.mask_token_id) for ids in counting.shown] == left
    assert all(ids[-1] == tokenizer.sep_token_id for ids in counting.shown)
    for ids in counting.shown:  # what once stands there stays
        assert all(token in (tokenizer.mask_token_id, last) for token, last in zip(ids, found, strict=False))


def test_greedy_begins_where_the_model_is_surest():
    tokenizer, counting = tiny_tokenizer(), Counting()
    prompt = tokenizer("The man")["input_ids"][:-1]
    found = unmask(counting, tokenizer, prompt, 6, steps=6, warp=NOTHING, greedy=True)  # type: ignore[arg-type]
    again = unmask(counting, tokenizer, prompt, 6, steps=6, warp=NOTHING, greedy=True)  # type: ignore[arg-type]
    assert found == again
    with torch.no_grad():
        logits = model("bert")(input_ids=torch.tensor([counting.shown[0]])).logits[0, len(prompt) : len(prompt) + 6]
    logits[:, tokenizer.all_special_ids] = -torch.inf
    sure = logits.softmax(-1).max(-1)
    first = int(sure.values.argmax())
    assert counting.shown[1][len(prompt) + first] == int(sure.indices[first])
    assert counting.shown[1].count(tokenizer.mask_token_id) == 5


def test_generate_writes_with_such_a_model(folder):
    first = generate(folder, "The man", max_new_tokens=6, steps=3, num_return_sequences=2)
    assert first == generate(folder, "The man", max_new_tokens=6, steps=3, num_return_sequences=2)
    assert len(set(first)) == 2 and all(text.startswith("The man") for text in first)
    assert len(generate(folder, "The man", max_new_tokens=500, greedy=True, steps=2)) == 1  # as the model has positions
    with pytest.raises(UserError, match="steps is 0"):
        generate(folder, "The man", steps=0)
