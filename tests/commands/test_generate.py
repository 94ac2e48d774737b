from __future__ import annotations

import functools
from typing import Any

import pytest

from tests.evaluation.folders import model, save_model
from tests.tiny import tiny_tokenizer
from textssl.commands.generate import continued, generate, prompt_ids
from textssl.errors import UserError
from textssl.tokenizer import for_causal

PROMPT = "The statement is"


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("llama"), "llama")


def test_same_seed_same_text_and_nothing_else_on_the_terminal(llama, capfd):
    first = generate(llama, PROMPT, max_new_tokens=12, num_return_sequences=2)
    shown, errors = capfd.readouterr()
    assert errors == "" and "Loading" not in shown and PROMPT in shown
    assert len(first) == 2 and first[0] != first[1] and all(text.startswith(PROMPT) for text in first)
    assert generate(llama, PROMPT, max_new_tokens=12, num_return_sequences=2) == first
    assert generate(llama, PROMPT, max_new_tokens=12, seed=1)[0] not in first


def test_greedy_takes_the_likeliest_token_each_time(llama):
    import torch

    ids = for_causal(tiny_tokenizer())(PROMPT)["input_ids"]
    start = len(ids)
    for _ in range(6):
        with torch.no_grad():
            ids.append(int(model("llama")(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
    expected = continued(tiny_tokenizer(), PROMPT, start, ids)
    likeliest = functools.partial(generate, llama, PROMPT, max_new_tokens=6, repetition_penalty=1.0)
    assert likeliest(greedy=True) == likeliest(temperature=0) == [expected]


def test_prompt_ends_without_an_end_token():
    for tokenizer in (tiny_tokenizer(), for_causal(tiny_tokenizer())):
        ids = prompt_ids(tokenizer, PROMPT)
        assert ids[0] == tokenizer.bos_token_id and tokenizer.eos_token_id not in ids
        assert ids[1:] == tokenizer(PROMPT, add_special_tokens=False)["input_ids"]
        assert prompt_ids(tokenizer, "") == [tokenizer.bos_token_id]
    bare = tiny_tokenizer().__class__(
        tokenizer_object=for_causal(tiny_tokenizer()).backend_tokenizer.__class__.from_str(
            tiny_tokenizer().backend_tokenizer.to_str()
        )
    )
    bare.backend_tokenizer.post_processor = None
    with pytest.raises(UserError, match="give a prompt"):
        prompt_ids(bare, "")


def test_length_stays_within_the_context(tmp_path):
    folder = save_model(tmp_path, "gpt2")  # 64 positions
    assert generate(folder, PROMPT, max_new_tokens=500)[0].startswith(PROMPT)
    with pytest.raises(UserError, match="but the model reads 64"):
        generate(folder, PROMPT * 50)


def test_mistakes(llama, tmp_path):
    encoder = save_model(tmp_path / "bert", "bert")
    with pytest.raises(UserError, match="masked model, which fills gaps: use `textssl fill-mask`"):
        generate(encoder, PROMPT)
    with pytest.raises(UserError, match="no language model head"):
        generate(save_model(tmp_path / "t5", "t5"), PROMPT)
    with pytest.raises(UserError, match="no model folder"):
        generate(tmp_path / "nowhere", PROMPT)
    wrong: list[dict[str, Any]] = [
        {"top_p": 0.0},
        {"temperature": -1.0},
        {"max_new_tokens": 0},
        {"repetition_penalty": 0.0},
    ]
    for options in wrong:
        with pytest.raises(UserError, match=f"{next(iter(options))} is "):
            generate(llama, PROMPT, **options)
