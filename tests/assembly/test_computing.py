"""`auto` of precision and attention: from the flags of the hardware, said, written, and kept on another machine."""

import shutil
from pathlib import Path

import pytest
import torch
import yaml
from rich.console import Console

from tests.tiny import make_corpus, tiny_config
from textssl import distributed
from textssl.assembly import computing
from textssl.assembly.computing import hardware_values, take_threads
from textssl.commands.pretrain import pretrain
from textssl.config import Config, load_config
from textssl.errors import UserError
from textssl.system import threads
from textssl.training.checkpoint import newest_checkpoint, read_state

MATRICES, PLAIN = {"avx2": True, "avx512_bf16": True}, {"avx2": True, "bf16": True}
CHOICES = {"matrices": (MATRICES, ("bfloat16", "dense")), "plain": (PLAIN, ("float32", "sdpa"))}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    make_corpus(folder)
    return folder


def processor(monkeypatch, flags: dict[str, bool]) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags)


def config(corpus: Path, run: Path, *overrides: str, objective: str = "mlm", steps: int = 2) -> Config:
    length = (f"train.max_steps={steps}", "train.checkpoint_every=2", "train.batch_size=2")
    fixed = (f"out={run}", "train.precision=auto", *length)
    return tiny_config(corpus, objective, *fixed, *overrides)


def written(run: Path) -> list[tuple[str, str]]:
    """Precision and attention in RUN/config.yaml and in the newest checkpoint."""
    newest = newest_checkpoint(run / "checkpoints", lambda text: None)
    assert newest is not None
    state = read_state(newest)
    sources = yaml.safe_load((run / "config.yaml").read_text()), state["identity"]["config"]
    return [(source["train"]["precision"], source["model"]["attention"]) for source in sources]


def test_the_number_of_threads_is_written(corpus, tmp_path, monkeypatch, capsys):
    """An equal run on another machine needs it; resuming by either name takes it."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "threads_of_cores", lambda: threads.Threads(cores, "of 64 cores"))
    monkeypatch.setattr(computing, "usable_cores", lambda: 2)
    run, before, cores = tmp_path / "run", torch.get_num_threads(), 3
    try:
        pretrain(config(corpus, run))
        assert "3 compute threads wait for each other on 2 cores" in " ".join(capsys.readouterr().err.split())
        newest = newest_checkpoint(run / "checkpoints", lambda text: None)
        assert newest is not None
        written = yaml.safe_load((run / "config.yaml").read_text())
        for source in (written, read_state(newest)["identity"]["config"]):
            assert source["train"]["threads"] == 3
        cores = 1
        for again in (config(corpus, run, steps=3), load_config(run / "config.yaml", ["train.max_steps=4"])):
            pretrain(again)
            said = capsys.readouterr().err
            assert torch.get_num_threads() == 3 and "so far" not in said
        pretrain(load_config(run / "config.yaml", ["train.max_steps=5", "train.threads=null", f"out={tmp_path / 'b'}"]))
        assert torch.get_num_threads() == 1
    finally:
        threads.use(threads.Threads(before, "as before"))


@pytest.mark.parametrize(("cores", "processes", "fits"), [(2, 1, None), (2, 2, 1), (1, 1, 1), (16, 8, None), (3, 2, 1)])
def test_more_threads_than_cores_are_warned_of(cores, processes, fits, monkeypatch):
    monkeypatch.setattr(computing, "usable_cores", lambda: cores)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    asked, before = Config(), torch.get_num_threads()
    asked.train.threads = 2
    try:
        said = take_threads(asked, None, Console(quiet=True))
        assert [f"train.threads={fits} fits" in warning for warning in said] == ([] if fits is None else [True])
    finally:
        threads.use(threads.Threads(before, "as before"))


def test_flags_decide(monkeypatch):
    precision, attention = "train.precision", "model.attention"
    own, asked, static, long = Config(), Config(), Config(), Config()
    asked.train.precision, static.model.preset = "float32", "static-nano"
    processor(monkeypatch, PLAIN)
    assert hardware_values(own, cuda=False) == ({precision: "float32"}, "no amx_bf16 or avx512_bf16 on this processor")
    both = {precision: "bfloat16", attention: "dense"}
    for flags, named in ((MATRICES, "avx512_bf16"), ({**MATRICES, "amx_bf16": True}, "amx_bf16")):
        processor(monkeypatch, flags)
        assert hardware_values(own, cuda=False) == (both, f"{named} on this processor")
    long.data.sequence_length = 1024
    assert hardware_values(long, cuda=False)[0] == {precision: "bfloat16"}  # sdpa is faster there
    assert attention not in hardware_values(asked, cuda=False)[0]
    assert hardware_values(static, cuda=False)[0] == {precision: "float32"}
    for native, name in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, native=native: native)
        assert hardware_values(own, cuda=True)[0] == {precision: name}


@pytest.mark.slow
@pytest.mark.parametrize("machine", CHOICES)
def test_a_run_keeps_what_it_began_with(machine, corpus, tmp_path, monkeypatch, capsys):
    flags, chosen = CHOICES[machine]
    run = tmp_path / "run"
    processor(monkeypatch, flags)
    pretrain(config(corpus, run, steps=4))
    said = capsys.readouterr().err
    assert f"auto is train.precision={chosen[0]}" in said and f"in {chosen[0]}" in said
    assert written(run) == [chosen, chosen]
    unbroken = (run / "model" / "model.safetensors").read_bytes()
    shutil.rmtree(max((run / "checkpoints").glob("step-*")))  # as if the run had ended after two steps
    shutil.rmtree(run / "model")
    processor(monkeypatch, next(other for other, _ in CHOICES.values() if other is not flags))
    assert pretrain(config(corpus, run, steps=4)).steps == 4
    kept = f"auto is train.precision={chosen[0]}, model.attention={chosen[1]} (as this run began)"
    assert kept in capsys.readouterr().err
    assert written(run) == [chosen, chosen]
    assert (run / "model" / "model.safetensors").read_bytes() == unbroken
    other = {"bfloat16": "float32", "float32": "bfloat16"}[chosen[0]]
    with pytest.raises(UserError, match=r"these keys differ: train.precision\."):
        pretrain(config(corpus, run, f"train.precision={other}", steps=6))


def test_the_first_rank_decides(corpus, tmp_path, monkeypatch):
    processor(monkeypatch, PLAIN)
    real = distributed.from_first_rank

    def other_rank(ask):
        """What the first rank sent, whose processor has bfloat16, where it was asked about hardware."""
        answer = real(ask)
        wanted = isinstance(answer, tuple) and isinstance(answer[0], dict)
        return ({"train.precision": "bfloat16", "model.attention": "eager"}, "there") if wanted else answer

    monkeypatch.setattr(computing.distributed, "from_first_rank", other_rank)
    pretrain(config(corpus, tmp_path / "run"))
    assert written(tmp_path / "run") == [("bfloat16", "eager")] * 2


def test_what_is_asked_for_stays_and_a_static_encoder_has_no_attention(corpus, tmp_path, monkeypatch):
    processor(monkeypatch, MATRICES)
    pretrain(config(corpus, tmp_path / "asked", "train.precision=float32"))
    assert written(tmp_path / "asked") == [("float32", "sdpa")] * 2
    static = "model={config: {model_type: static, hidden_size: 32, init: random}}"
    pretrain(config(corpus, tmp_path / "static", static, objective="skipgram"))
    assert written(tmp_path / "static") == [("float32", "auto")] * 2
