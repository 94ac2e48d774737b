"""`textssl generate`: continue a text with a causal or a diffusion model, or fill its gaps with an encoder-decoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from rich.text import Text
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    GenerationConfig,
    LogitsProcessorList,
    PreTrainedTokenizerBase,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from textssl.config import check_seed
from textssl.errors import UserError, printable
from textssl.inference.language.diffusion import is_diffusion, unmask
from textssl.inference.language.gap_filling import GapFiller
from textssl.inference.loading import (
    context_limit,
    find_model,
    is_sentence_model,
    language_model_kind,
    load_config,
    load_tokenizer,
    load_weights,
)
from textssl.models.build import quiet
from textssl.models.configuration import DECODER, prediction_offset
from textssl.system.terminal import Terminal
from textssl.tokenizer.vocabulary import frame_of, padding_id

INSTEAD = {"masked": "it is a masked model, which fills gaps: use `textssl fill-mask`"}


def generate(
    model: str | Path,
    prompt: str,
    max_new_tokens: int = 100,
    temperature: float = 0.8,
    top_k: int = 50,
    top_p: float = 0.95,
    repetition_penalty: float = 1.1,
    num_return_sequences: int = 1,
    seed: int = 0,
    greedy: bool = False,
    steps: int = 32,
) -> list[str]:
    """Continue a text, print and return the results, each with the prompt in front.

    An encoder-decoder fills the gaps of the prompt instead, which are mask tokens ([MASK]) or sentinels
    (<extra_id_0>); where there is none, it goes on at the end.

    model: a model folder, a run folder or a hub name, of a causal model, one of masked diffusion, or an encoder-
    decoder; of a hybrid run the decoder is taken. max_new_tokens: at most (of each gap, where gaps are filled); fewer
    where the model ends the text or its context is full. temperature: 0 is the same as greedy. top_k: draw among this
    many of the likeliest (0: all). top_p: among the likeliest that hold this share of the probability (1: all).
    repetition_penalty: above 1, tokens that stand there already get less likely. seed: same seed, same text. steps: in
    how many passes a diffusion model, which writes all tokens together, unmasks them. Raises UserError.
    """
    check_options(max_new_tokens, temperature, top_k, top_p, repetition_penalty, num_return_sequences, steps)
    check_seed(seed)
    folder = writer_folder(find_model(model))
    kind = None if is_sentence_model(folder) else language_model_kind(load_config(folder))
    sampling = not (greedy or temperature == 0)
    options: dict[str, Any] = {
        "do_sample": sampling,
        "repetition_penalty": repetition_penalty,
        **({"temperature": temperature, "top_k": top_k, "top_p": top_p} if sampling else {}),
    }
    count = num_return_sequences if sampling else 1
    if kind == "seq2seq":
        filler = GapFiller(folder)
        with torch.random.fork_rng(), quiet():
            torch.manual_seed(seed)
            texts = [filler.fill(prompt, max_new_tokens, options) for _ in range(count)]
        show_texts(prompt, texts)
        return texts
    diffusion = kind == "masked" and is_diffusion(load_config(folder))
    if kind != "causal" and not diffusion:
        raise UserError(f"{folder} cannot generate: {INSTEAD.get(str(kind), 'it has no language model head')}")
    tokenizer = load_tokenizer(folder)
    ids = prompt_ids(tokenizer, prompt)
    weights: Any = load_weights(folder, AutoModelForMaskedLM if diffusion else AutoModelForCausalLM)
    limit = context_limit(weights.config, tokenizer)
    if diffusion and limit is not None:  # the special tokens after a text count too
        limit -= len(frame_of(tokenizer)[1])
    if limit is not None and len(ids) >= limit:
        raise UserError(f"the prompt has {len(ids)} tokens, but the model reads {limit}: leave room to go on")
    new_tokens = max_new_tokens if limit is None else min(max_new_tokens, limit - len(ids))
    if diffusion:
        warp = LogitsProcessorList([RepetitionPenaltyLogitsProcessor(repetition_penalty)])
        if sampling:
            warp.append(TemperatureLogitsWarper(float(temperature)))
            warp.extend([TopKLogitsWarper(top_k)] if top_k else [])
            warp.append(TopPLogitsWarper(float(top_p)))
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            outputs = [
                unmask(weights, tokenizer, ids, new_tokens, steps=steps, warp=warp, greedy=not sampling)
                for _ in range(count)
            ]
        texts = [continued(tokenizer, prompt, len(ids), output) for output in outputs]
        show_texts(prompt, texts)
        return texts
    settings = GenerationConfig(
        max_new_tokens=new_tokens,
        num_return_sequences=count,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=weights.generation_config.eos_token_id or tokenizer.eos_token_id,
        pad_token_id=padding_id(tokenizer),
        **options,
    )
    inputs = torch.tensor([ids], device=weights.device)
    with torch.random.fork_rng(), quiet():
        torch.manual_seed(seed)
        outputs = weights.generate(inputs, attention_mask=torch.ones_like(inputs), generation_config=settings)
    texts = [continued(tokenizer, prompt, len(ids), output.tolist()) for output in outputs]
    show_texts(prompt, texts)
    return texts


def writer_folder(folder: Path) -> Path:
    """The folder to generate with: for a masked model that predicts the next token, its twin as a decoder beside it."""
    beside = folder.parent / DECODER
    if is_sentence_model(folder) or not (beside / "config.json").is_file():
        return folder
    config = load_config(folder)
    return beside if language_model_kind(config) == "masked" and prediction_offset(config) else folder


def check_options(
    max_new_tokens: int,
    temperature: float,
    top_k: int,
    top_p: float,
    repetition_penalty: float,
    num_return_sequences: int,
    steps: int,
) -> None:
    """Raise UserError for a value out of its range."""
    wrong = [
        ("max_new_tokens", max_new_tokens, max_new_tokens >= 1, "at least 1"),
        ("temperature", temperature, temperature >= 0, "0 or more"),
        ("top_k", top_k, top_k >= 0, "0 (all) or more"),
        ("top_p", top_p, 0 < top_p <= 1, "above 0 and at most 1"),
        ("repetition_penalty", repetition_penalty, repetition_penalty > 0, "above 0 (1: none)"),
        ("num_return_sequences", num_return_sequences, num_return_sequences >= 1, "at least 1"),
        ("steps", steps, steps >= 1, "at least 1"),
    ]
    for name, value, sound, right in wrong:
        if not sound:
            raise UserError(f"{name} is {value}; it must be {right}")


def prompt_ids(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """The prompt as texts began in training: special tokens in front stay, those at the end (an end of text) go.

    Raises UserError for a prompt without tokens, where the tokenizer has no token to start a text with.
    """
    encoded = tokenizer(prompt, return_special_tokens_mask=True, verbose=False)
    ids: list[Any] = list(encoded["input_ids"])
    special = list(encoded["special_tokens_mask"])
    while special and special[-1] and len(ids) > 1:
        ids.pop()
        special.pop()
    if not ids and tokenizer.bos_token_id is not None:
        ids = [tokenizer.bos_token_id]
    if not ids or (len(ids) == 1 and ids[0] == tokenizer.eos_token_id != tokenizer.bos_token_id):
        raise UserError("the prompt has no token, and the tokenizer has none to start a text with: give a prompt")
    return ids


def continued(tokenizer: PreTrainedTokenizerBase, prompt: str, prompt_length: int, ids: list[int]) -> str:
    """The prompt as it was written, with what the model added.

    The new tokens are decoded with the prompt's before them: how a token is written depends on its neighbours.
    """
    before = str(tokenizer.decode(ids[:prompt_length], skip_special_tokens=True))
    whole = str(tokenizer.decode(ids, skip_special_tokens=True))
    return prompt + whole[len(before) :] if whole.startswith(before) else whole


def show_texts(prompt: str, texts: list[str]) -> None:
    """Print the prompt bold and each continuation."""
    console = Terminal()
    for number, text in enumerate(texts, start=1):
        if len(texts) > 1:
            console.rule(str(number), style="dim")
        start = len(prompt) if text.startswith(prompt) else 0
        console.print(Text.assemble((printable(text[:start]), "bold"), printable(text[start:])))
