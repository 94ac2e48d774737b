"""What suits a device: attention and its errors, and kernels whose result is the same each time; one run a folder."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from tests.labelled import finetune_config
from tests.models.small import small_model
from tests.tiny import make_corpus, tiny_config
from tests.training.kills import checkpoints, finish, start
from textssl import threads
from textssl.config import parse_config
from textssl.errors import UserError
from textssl.lock import NAME, hold
from textssl.models import varlen
from textssl.models.heads import LanguageModel
from textssl.models.sentence import SentenceModel
from textssl.workflows.computing import deterministic
from textssl.workflows.finetune import finetune
from textssl.workflows.fitting import check_masks, fit_attention
from textssl.workflows.pretrain import pretrain
from textssl.workflows.runs import held_run

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


def test_deterministic_kernels_are_asked_for_and_given_back():
    assert not torch.are_deterministic_algorithms_enabled()
    with deterministic(False):
        assert not torch.are_deterministic_algorithms_enabled()
    with pytest.raises(KeyError), deterministic(True):
        assert torch.are_deterministic_algorithms_enabled()
        raise KeyError
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_second_run_in_a_folder_is_refused_untouched(tmp_path):
    make_corpus(tmp_path)
    config = tiny_config(tmp_path, "mlm", "train.max_steps=1")
    with held_run(config):
        before = os.listdir(config.out)
        with pytest.raises(UserError, match=rf"out=.*run is in use by process {os.getpid()} on .*another out"):
            pretrain(config)
        assert os.listdir(config.out) == before == [NAME]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / NAME).touch()  # a killed run left it before it had a configuration
    assert pretrain(config).steps == 1
    assert not (tmp_path / "run" / NAME).exists()


def test_runs_of_labels_restarts_and_seeds_share_the_lock(tmp_path):
    config = finetune_config(tmp_path)
    run = Path(config.out)
    with hold(run / NAME, "run", "out"):
        for place in (run, run / "restart-1", run / "seed-0"):
            config.out = str(place)
            with pytest.raises(UserError, match="is in use by process"):
                finetune(config)
    (run / "seed-0").mkdir(parents=True)
    (run / "seed-0" / "config.yaml").touch()
    config.out = str(run)
    with hold(run / "seed-0" / NAME, "seed", "out"), pytest.raises(UserError, match="seed-0 is in use by"):
        finetune(config)


def test_after_a_kill_the_next_run_starts_at_once_though_loader_workers_are_still_there(tmp_path):
    make_corpus(tmp_path)
    config = tiny_config(tmp_path, "mlm", "train.max_steps=100000", "train.checkpoint_every=2", "train.workers=2")
    process = start(config)
    while not checkpoints(config.out):
        assert process.poll() is None
        time.sleep(0.01)
    try:
        with pytest.raises(UserError, match=f"in use by process {process.pid} on .*textssl pretrain"):
            pretrain(config)
        process.kill()  # the process alone; its workers look for it every few seconds
        process.wait()
        with held_run(config):
            assert (tmp_path / "run" / NAME).is_file()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.slow
def test_every_rank_is_told_of_a_refusal(tmp_path):
    make_corpus(tmp_path)
    config = tiny_config(tmp_path, "mlm", "train.max_steps=1")
    with held_run(config):
        process = start(config, processes=2)
        _, errors = process.communicate(timeout=120)
        assert process.returncode != 0
        assert errors.count("is in use by process") == 2
    assert finish(start(config, processes=2)) == 0


def test_a_resumed_run_keeps_its_number_of_threads(tmp_path, monkeypatch, capsys):
    """Whatever is free now; who asks for another number is told what that changes."""
    make_corpus(tmp_path)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    free, before = [threads.Threads(2, "of 2 cores")], torch.get_num_threads()
    monkeypatch.setattr(threads, "free_threads", lambda: free[0])
    schedule = "schedule={name: constant, warmup_steps: 1}"

    def run(steps: int, *given: str) -> tuple[int, str]:
        pretrain(tiny_config(tmp_path, "mlm", schedule, f"train.max_steps={steps}", *given))
        return torch.get_num_threads(), capsys.readouterr().err

    try:
        count, said = run(2)
        assert count == 2 and "training with 2 compute threads (of 2 cores)" in said
        free[0] = threads.Threads(1, "of 2 cores, others use 1.0")
        count, said = run(3)
        assert count == 2 and "training with 2 compute threads (as in the start before)" in said
        count, said = run(4, "train.threads=1")
        assert count == 1 and "had 2 compute threads so far" in " ".join(said.split())
        assert run(5)[0] == 1, "as in the last start"
    finally:
        threads.use(threads.Threads(before, "as before"))
