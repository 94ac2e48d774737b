from __future__ import annotations

import pytest
import torch

from tests.evaluation.folders import model, save_model
from tests.tiny import tiny_tokenizer
from textssl.commands.fill_mask import fill_mask, replace_nth
from textssl.errors import UserError


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("bert"), "bert")


def test_each_gap_has_its_likeliest_tokens(bert, capfd):
    text = "The [MASK] is a [MASK]."
    filled = fill_mask(bert, text, top_k=3)
    assert capfd.readouterr().err == ""
    ids = tiny_tokenizer()(text, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        probabilities = model("bert")(input_ids=ids).logits[0].softmax(-1)
    gaps = (ids[0] == tiny_tokenizer().mask_token_id).nonzero().flatten().tolist()
    assert len(filled) == len(gaps) == 2
    for place, candidates in zip(gaps, filled, strict=True):
        best = probabilities[place].topk(3)
        assert [c.probability for c in candidates] == pytest.approx(best.values.tolist(), rel=1e-4)
        assert [c.token for c in candidates] == [
            str(tiny_tokenizer().decode([i])).strip() for i in best.indices.tolist()
        ]
    assert filled[1][0].text == f"The [MASK] is a {filled[1][0].token}."


def test_replacing_one_of_several_masks():
    assert replace_nth("a [M] b [M]", "[M]", "x", 0) == "a x b [M]"
    assert replace_nth("a [M] b [M]", "[M]", "x", 1) == "a [M] b x"


def test_mistakes(bert, tmp_path):
    with pytest.raises(UserError, match=r"the text has no \[MASK\]: write \[MASK\] where the word is missing"):
        fill_mask(bert, "The <mask> is here.")
    with pytest.raises(UserError, match="causal model, which continues texts: use `textssl generate`"):
        fill_mask(save_model(tmp_path / "llama", "llama"), "The [MASK]")
    with pytest.raises(UserError, match="but the model reads 64"):
        fill_mask(bert, "[MASK] " * 100)
    with pytest.raises(UserError, match="top_k is 0"):
        fill_mask(bert, "[MASK]", top_k=0)
