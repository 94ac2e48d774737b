"""Whether a run fits its device: attention, masks and memory."""

from __future__ import annotations

from types import SimpleNamespace

import psutil
import pytest
import torch
from transformers import AutoTokenizer

from tests.models.small import small_model, word_tokenizer
from textssl import distributed
from textssl.assembly import fitting
from textssl.assembly.fitting import check_masks, check_tokenizer, fit_attention, spread, telling_of_memory
from textssl.config import parse_config
from textssl.distributed import Accelerator
from textssl.errors import UserError
from textssl.models.attention import varlen
from textssl.models.heads import LanguageModel
from textssl.models.sentence import SentenceModel

GPU = torch.device("cuda")  # as a name: nothing here touches one


@pytest.fixture(autouse=True)
def a_recent_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(varlen, "failed_trial", lambda device, width: None)


def fitted(model: LanguageModel, attention: str, device: torch.device, precision: str) -> str | None:
    """The attention of the model afterwards."""
    fit_attention(parse_config({"model": {"attention": attention}}), model, device, precision)
    return model.model.config._attn_implementation


@pytest.mark.parametrize("name", ["modernbert", "llama"])
def test_bfloat16_on_a_gpu_takes_varlen(name):
    assert fitted(LanguageModel(small_model(name)), "auto", GPU, "bfloat16") == "varlen"
    assert fitted(LanguageModel(small_model(name)), "sdpa", GPU, "bfloat16") == "sdpa"
    assert fitted(LanguageModel(small_model(name)), "auto", GPU, "float32") == "sdpa"
    assert fitted(LanguageModel(small_model(name)), "auto", torch.device("cpu"), "bfloat16") == "sdpa"


def test_sentence_encoders_take_it_too():
    inner = LanguageModel(small_model("bert"))
    fit_attention(parse_config({}), SentenceModel(inner, [], pad=0), GPU, "bfloat16")
    assert inner.model.config._attn_implementation == "varlen"


def test_what_varlen_cannot_do_is_said(monkeypatch, caplog):
    dropping = LanguageModel(small_model("bert"))
    dropping.model.config.attention_probs_dropout_prob = 0.1
    assert fitted(dropping, "auto", GPU, "bfloat16") == "sdpa"
    assert "drops attention weights out" in caplog.text
    for capability, trial, why in (((7, 5), None, "older than"), ((9, 0), "torch cannot run it", "cannot run it")):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, known=capability: known)
        monkeypatch.setattr(varlen, "failed_trial", lambda device, width, found=trial: found)
        assert fitted(LanguageModel(small_model("bert")), "auto", GPU, "bfloat16") == "sdpa"
        assert why in caplog.text
        with pytest.raises(UserError, match=why):
            fitted(LanguageModel(small_model("bert", "varlen")), "varlen", GPU, "bfloat16")


def test_a_dense_mask_is_said_in_float32_and_under_directions_too(monkeypatch, caplog):
    assert fitted(LanguageModel(small_model("modernbert")), "auto", GPU, "float32") == "sdpa"
    assert "by a dense mask" in caplog.text and "the run's precision is float32" in caplog.text
    caplog.clear()
    model = LanguageModel(small_model("modernbert"))
    fit_attention(parse_config({}), model, GPU, "bfloat16", sets_direction=True)
    assert "by a dense mask" in caplog.text and "in two directions" in caplog.text
    caplog.clear()
    assert fitted(LanguageModel(small_model("modernbert")), "sdpa", GPU, "float32") == "sdpa" and not caplog.text


def test_a_gpu_of_another_rank_that_cannot_do_varlen_decides_for_all(monkeypatch, caplog):
    monkeypatch.setattr(distributed, "from_every_rank", lambda find: [find(), "the GPU is older"])
    assert fitted(LanguageModel(small_model("bert")), "auto", GPU, "bfloat16") == "sdpa"
    assert "the GPU is older" in caplog.text


def test_flash_attention_in_float32_is_refused_in_words():
    with pytest.raises(UserError, match="works in bfloat16; the run's precision is float32"):
        fitted(LanguageModel(small_model("bert")), "flash_attention_2", GPU, "float32")
    with pytest.raises(UserError, match="is varlen, but its kernels are for bfloat16"):
        fitted(LanguageModel(small_model("bert", "varlen")), "varlen", GPU, "float32")


def test_flex_attention_is_refused_on_a_cpu():
    with pytest.raises(UserError, match="trains on GPUs alone"):
        fitted(LanguageModel(small_model("bert", "flex_attention")), "flex_attention", torch.device("cpu"), "float32")


def test_varlen_is_refused_where_texts_are_padded():
    with pytest.raises(UserError, match="a classifier reads padded texts"):
        fit_attention(parse_config({"model": {"attention": "varlen"}}), torch.nn.Linear(1, 1), GPU, "bfloat16")


@pytest.mark.parametrize(
    ("attention", "micro", "advice"),
    [("sdpa", None, "free: train.micro_batch_size=1, or rows of"), ("eager", 1, "free: rows of at most 23170 tokens")],
)
def test_masks_that_do_not_fit_are_refused_with_what_fits(attention, micro, advice, monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=2 * 2**30))
    train = {"batch_size": 4, "micro_batch_size": micro}
    long, short = (parse_config({"data": {"sequence_length": n}, "train": train}) for n in (40_000, 512))
    model = LanguageModel(small_model("bert", attention))
    with pytest.raises(UserError, match=f"data.sequence_length is 40000: .* and 2 GiB are {advice}"):
        check_masks(long, model, torch.device("cpu"))
    check_masks(short, model, torch.device("cpu"))
    check_masks(long, LanguageModel(small_model("bert", "varlen")), torch.device("cpu"))


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"
        ),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
        MemoryError(),
    ],
)
def test_what_memory_refuses_is_said_with_what_helps(error: Exception):
    with pytest.raises(UserError, match=r"not enough memory \(.+\): lower train.micro_batch_size"), telling_of_memory():
        raise error
    with pytest.raises(RuntimeError, match="a bug"), telling_of_memory():
        raise RuntimeError("a bug")


@pytest.mark.parametrize("name", ["modernbert", "qwen2", "qwen3"])
def test_a_folder_that_would_be_read_with_other_tokens_is_refused(name, tmp_path):
    model, words = LanguageModel(small_model(name)), word_tokenizer()
    texts = ["w5 w6", "w7"]
    back = AutoTokenizer.from_pretrained(model.export(tmp_path / "model", words), local_files_only=True)
    same = back(texts, add_special_tokens=False)["input_ids"] == words(texts, add_special_tokens=False)["input_ids"]
    if same:
        check_tokenizer(model, words)
    else:
        assert name == "qwen2"
        with pytest.raises(UserError, match="reads the tokenizer of every qwen2 as a Qwen2Tokenizer"):
            check_tokenizer(model, words)
        check_tokenizer(model, back)


def test_a_model_goes_to_several_devices_from_the_cpu_and_whole_to_one_alone(monkeypatch):
    module, places = torch.nn.Linear(2, 2), []

    def shard_module(module, *_, device, **__):
        places.append((module.weight.device, device))

    monkeypatch.setattr(fitting, "shard_module", shard_module)
    device = torch.device("meta")  # as any that is not the CPU
    spread(module, parse_config({}), Accelerator(device, 2))  # type: ignore[arg-type]
    assert places == [(torch.device("cpu"), device)]
    spread(module, parse_config({}), Accelerator(device))  # type: ignore[arg-type]
    assert module.weight.device == device
