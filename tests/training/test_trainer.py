import functools
import itertools
import json
import re
import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor

from tests.tiny import MODELS, SENTENCE_MODELS, make_corpus, sentence_config, tiny_config
from textssl.assembly.pretraining import assemble
from textssl.assembly.runs import start_accelerator
from textssl.commands.pretrain import pretrain
from textssl.config import Config
from textssl.errors import UserError
from textssl.objectives import OBJECTIVES, MaskedLM, resolve_objective
from textssl.objectives.base import Encoded, Term
from textssl.training.signals import StopSignals
from textssl.training.trainer import Trainer

CROPS = "tests.objectives.contrastive:TwoCrops"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trainer")
    make_corpus(folder)
    return folder


def metrics(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["mlm", "clm"])
def test_one_batch_is_learnt_by_heart(folder, objective, monkeypatch):
    options = ("train.max_steps=150", "schedule={name: constant, warmup_steps: 10}", "train.log_every=10")
    options += ("train.checkpoint_every=null",)
    wide = "model.config={model_type: %s, hidden_size: 64, intermediate_size: 128, num_hidden_layers: 2, %s}"
    heads = {"mlm": "num_attention_heads: 2", "clm": "num_attention_heads: 2, num_key_value_heads: 2"}
    model = wide % ({"mlm": "modernbert", "clm": "llama"}[objective], heads[objective])
    config = tiny_config(
        folder, objective, *options, model, "optimizer.lr=1e-2", "data.sequence_length=32", out=objective
    )
    from textssl.data.batches.loader import StepDataset

    monkeypatch.setattr(StepDataset, "sample_range", lambda self, step: range(4))
    assert (pretrain(config).train_loss or 9) < 0.1


def test_the_run_folder_holds_what_the_contract_names(folder):
    options = ("train.max_steps=12", "train.keep_checkpoints=1", "evaluation.every=5", "train.log_every=4")
    summary = pretrain(tiny_config(folder, "clm", *options, out="contract"))
    run = folder / "contract"
    assert sorted(p.name for p in run.iterdir()) == [
        "checkpoints",
        "config.yaml",
        "metrics.jsonl",
        "model",
        "summary.json",
    ]
    assert [p.name for p in (run / "checkpoints").iterdir()] == ["step-00000012"]
    written = json.loads((run / "summary.json").read_text())
    assert written["bits_per_byte"] == summary.bits_per_byte and 1 < written["bits_per_byte"] < 6
    lines = metrics(run)
    assert [line["step"] for line in lines if "train/loss" in line] == [4, 8, 12]
    assert [line["step"] for line in lines if "eval/loss" in line] == [5, 10, 12]
    assert all({"step", "tokens", "seconds"} <= line.keys() for line in lines)
    assert [line["tokens"] for line in lines] == sorted(line["tokens"] for line in lines)
    assert written["tokens"] == lines[-1]["tokens"]
    assert pretrain(run / "config.yaml").steps == 12  # repeats the run: here, finds it finished


@pytest.mark.slow
def test_micro_batches_and_caching_change_no_weight(folder):
    for objective in ("mlm", CROPS):
        for micro in (8, 2):
            name = f"micro-{objective[-3:]}-{micro}"
            exact = ("train.precision=float64", f"train.micro_batch_size={micro}")
            pretrain(tiny_config(folder, objective, *exact, out=name))
        first, second = (metrics(folder / f"micro-{objective[-3:]}-{micro}") for micro in (8, 2))
        for one, other in zip(first, second, strict=True):
            assert one.get("train/loss", 0) == pytest.approx(other.get("train/loss", 0), abs=1e-5)


def test_a_budget_of_tokens_reaches_the_end_of_its_schedule(folder):
    summary = pretrain(tiny_config(folder, "mlm", "train.max_tokens=3000", "train.max_steps=null", out="budget-tokens"))
    rates = [line["train/lr"] for line in metrics(folder / "budget-tokens") if "train/lr" in line]
    assert rates[-1] < 0.25 * max(rates)  # the middle of the last of six steps
    assert 3000 <= summary.tokens < 3000 + 8 * 64


@pytest.mark.slow
def test_a_budget_of_seconds_ends_on_time_with_its_schedule(folder):
    summary = pretrain(tiny_config(folder, "mlm", "train.max_seconds=3", "train.max_steps=null", out="budget-seconds"))
    lines = [line for line in metrics(folder / "budget-seconds") if "train/lr" in line]
    seconds = [line["seconds"] for line in lines]
    slowest = max(after - before for before, after in itertools.pairwise([0.0, *seconds]))  # busy machines stutter
    assert 3.0 <= summary.seconds < 3.0 + 2 * slowest
    decay = 0.4 * 3.0  # seconds, from the peak to zero in a straight line
    assert lines[-1]["train/lr"] <= max(line["train/lr"] for line in lines) * 2 * slowest / decay


def test_even_a_single_step_learns(folder):
    pretrain(tiny_config(folder, "mlm", "train.max_steps=1", out="single"))
    (line,) = [line for line in metrics(folder / "single") if "train/lr" in line]
    assert line["train/lr"] > 0


@pytest.fixture(scope="module")
def loss(folder):
    """The last loss of a run, once for all that are compared with it."""

    @functools.cache
    def run(make: Callable[..., Config], objective: str, *options: str) -> float | None:
        return pretrain(make(folder, objective, *options, out=f"loss-{run.cache_info().misses}")).train_loss

    return run


OPTIONS = ["precision=bfloat16", "gradient_checkpointing=true"]


@pytest.mark.slow
@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("objective", ["mlm", "clm", CROPS])
def test_precision_and_recomputation_change_little(loss, objective, option):
    """Both in one process, with gradient caching; features reach the loss over the batch in float32."""
    options = ("train.max_steps=5", "train.micro_batch_size=4")
    plain = loss(tiny_config, objective, *options)
    other = loss(tiny_config, objective, *options, f"train.{option}")
    assert other == pytest.approx(plain, rel=1e-5 if "grad" in option else 2e-2)


@pytest.mark.slow
@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize(
    "objective, family",
    [*((name, "modernbert") for name in SENTENCE_MODELS if name != "skipgram"), ("moco", "llama")],  # it takes a table
)
def test_precision_and_recomputation_change_little_for_sentences(loss, objective, family, option, recwarn):
    model = f"model.config={json.dumps({**MODELS[family], 'num_hidden_layers': 2})}"
    options = (model, "train.max_steps=3", "train.micro_batch_size=4", "train.batch_size=8", "optimizer.lr=1e-4")
    options += ("train.checkpoint_every=null",)
    plain = loss(sentence_config, objective, *options)
    other = loss(sentence_config, objective, *options, f"train.{option}")
    rel, least = (1e-5, 1e-6) if "grad" in option else (3e-2, 2e-3)
    assert other == pytest.approx(plain, rel=rel, abs=least)
    assert not recwarn.list


def test_heads_depend_on_the_seed_alone(folder):
    def head(seed):
        config = tiny_config(folder, CROPS, f"seed={seed}")
        objective, config.objective = resolve_objective(config.objective)
        torch.rand(3)  # somebody else draws
        assemble(config, objective, start_accelerator(config), Console())
        return objective.get_parameter("projector.weight").detach()

    assert torch.equal(head(1), head(1)) and not torch.equal(head(1), head(2))


class Poisoned(MaskedLM):
    """Not finite on the steps whose first sample is among `bad`."""

    bad: tuple[int, ...] = ()
    steps_seen = 0

    def forward(self, batch):
        encoded = super().forward(batch)
        if self.training:
            Poisoned.steps_seen += 1
            if Poisoned.steps_seen in self.bad:
                return Encoded({"mlm": Term(encoded.terms["mlm"].total * float("nan"))}, {})
        return encoded


def test_a_step_that_is_not_finite_is_skipped_and_counted(folder, monkeypatch, capsys):
    monkeypatch.setitem(OBJECTIVES, "poisoned", Poisoned)
    monkeypatch.setattr(Poisoned, "bad", (3, 7))
    monkeypatch.setattr(Poisoned, "steps_seen", 0)
    summary = pretrain(tiny_config(folder, "poisoned", out="skips"))
    assert summary.skipped_steps == 2 and summary.steps == 20
    assert torch.isfinite(torch.tensor(summary.loss))
    assert "step 2, samples 16 to 23" in " ".join(capsys.readouterr().err.split())


def test_a_run_whose_steps_were_mostly_skipped_exports_nothing(folder, monkeypatch):
    monkeypatch.setitem(OBJECTIVES, "poisoned", Poisoned)
    monkeypatch.setattr(Poisoned, "bad", tuple(step for step in range(1, 21) if step % 3))
    monkeypatch.setattr(Poisoned, "steps_seen", 0)
    with pytest.raises(UserError, match=r"1[34] of 20 steps were not finite .*, so nothing is exported"):
        pretrain(tiny_config(folder, "poisoned", out="hardly"))
    assert not (folder / "hardly" / "model").exists()


def test_several_in_a_row_stop_the_run_and_name_the_samples(folder, monkeypatch):
    monkeypatch.setitem(OBJECTIVES, "poisoned", Poisoned)
    monkeypatch.setattr(Poisoned, "bad", tuple(range(7, 30)))
    monkeypatch.setattr(Poisoned, "steps_seen", 0)
    with pytest.raises(
        UserError, match=re.escape("3 steps in a row were not finite, the last at step 8, samples 64 to 71")
    ):
        pretrain(tiny_config(folder, "poisoned", "train.max_skipped_steps=3", out="stops"))
    assert [p.name for p in (folder / "stops" / "checkpoints").iterdir()] == ["step-00000005"]


@pytest.mark.parametrize("period", ["train.checkpoint_every=3", "train.checkpoint_every=null"])
@pytest.mark.parametrize("instead", [False, True], ids=["removed", "replaced"])
def test_a_run_whose_folder_is_gone_says_so_and_writes_nothing(folder, monkeypatch, instead, period):
    out = folder / "gone"
    monkeypatch.setattr("textssl.training.tracking.LOOK_SECONDS", 0.0)
    step = Trainer.train_step

    def remove(trainer, *arguments):
        step(trainer, *arguments)
        if trainer.spent.steps == 3:
            shutil.rmtree(out)
            if instead:
                out.mkdir()

    monkeypatch.setattr(Trainer, "train_step", remove)
    with pytest.raises(UserError, match=r"the run folder .*gone was removed or replaced"):
        pretrain(tiny_config(folder, "mlm", "train.max_steps=8", period, out="gone"))
    assert not out.exists() or not any(out.iterdir())
    shutil.rmtree(out, ignore_errors=True)


def test_a_mixture_of_corpora_trains(folder):
    shares = f"data.corpus=[{{path: {folder}/corpus, weight: 3}}, {{path: {folder}/corpus/held-out}}]"
    assert pretrain(tiny_config(folder, "mlm", shares, out="mixture")).steps == 20


def test_a_scheduled_mask_rate_moves(folder):
    from tests.tiny import tiny_tokenizer

    config = tiny_config(folder, "mlm", "objective.mask_rate=0.4", "objective.mask_rate_end=0.1", out="rate")
    objective, config.objective = resolve_objective(config.objective)
    trainer, _, _ = assemble(config, objective, start_accelerator(config), Console())
    rates = [
        int(objective.counts(trainer.dataset[step][0])["mlm"]) / trainer.dataset[step][0].tokens for step in (0, 20)
    ]
    assert rates[0] == pytest.approx(0.4, abs=0.03) and rates[1] == pytest.approx(0.1, abs=0.03)
    assert len(tiny_tokenizer()) == 512


def test_an_out_that_is_no_run_folder_is_refused_untouched(folder):
    (folder / "file").write_text("text")
    (folder / "texts").mkdir()
    (folder / "texts" / "a.txt").write_text("text")
    (folder / "mine").mkdir()
    (folder / "mine" / "config.yaml").write_text("of the user")
    for out, message in (
        ("file", "is a file"),
        ("texts", "holds other files and no run"),
        ("mine", "holds other files and no run"),
        ("n" * 300, "File name too long"),
    ):
        with pytest.raises(UserError, match=message):
            pretrain(tiny_config(folder, "mlm", out=out))
    assert [path.name for path in (folder / "texts").iterdir()] == ["a.txt"]
    assert (folder / "mine" / "config.yaml").read_text() == "of the user"


@pytest.mark.parametrize(
    "override, message",
    [
        ("data.corpus=[]", "data.corpus is missing"),
        ("data.corpus=nowhere", "not a prepared corpus"),
        ("objective={name: mlmm}", "did you mean mlm"),
        ("objective={name: mlm, mask_rte: 0.1}", "did you mean objective.mask_rate"),
        ("objective={name: mlm, random_rate: 0.9, keep_rate: 0.9}", "at most 1"),
        ("data.sequence_length=8", None),
    ],
)
def test_wrong_configurations_are_answered(folder, override, message):
    config = tiny_config(folder, "mlm", override, "train.max_steps=1", out="wrong")
    if message is None:
        assert pretrain(config).steps == 1
    else:
        with pytest.raises(UserError, match=message):
            pretrain(config)
        assert not (folder / "wrong").exists()


@pytest.mark.slow
def test_figures_of_an_objectives_own_are_in_the_log(folder):
    pretrain(sentence_config(folder, "deepcluster", "train.log_every=3", "evaluation.every=null", out="figures"))
    lines = [json.loads(line) for line in (folder / "figures" / "metrics.jsonl").read_text().splitlines()]
    logged = [line for line in lines if "train/lr" in line]
    assert all(0 < line["train/clusters/entropy"] <= 1 for line in logged)
    assert [line["step"] for line in logged if "train/clusters/agreement" in line] == [6, 9, 12, 15, 18]


@pytest.mark.parametrize("head", ["matched", "anew"])
def test_a_head_that_a_refresh_draws_again_has_no_past(folder, head, monkeypatch):
    told: list[Tensor] = []  # of what the first rank found, which each found for itself with its own rounding
    monkeypatch.setattr("textssl.training.trainer.broadcast_tensors", lambda tensors, device: told.extend(tensors))
    config = sentence_config(folder, "deepcluster", f"objective.head={head}", out=f"head-{head}")
    objective, config.objective = resolve_objective(config.objective)
    trainer, _, _ = assemble(config, objective, start_accelerator(config), Console(stderr=True))
    trainer.signals, trainer.seconds_before, trainer.clock_started = StopSignals(), 0.0, 0.0
    trainer.refresh()
    assert all(any(buffer is one for one in told) for buffer in (objective.clusters, objective.centroids))
    for step in range(4):
        trainer.train_step(trainer.dataset[step], trainer.totals(trainer.dataset[step]))
    trainer.refresh()
    weight: Any = objective.get_parameter("classifier.weight")
    (state,) = (optimizer.state[weight] for optimizer in trainer.optimizers if weight in optimizer.state)
    assert (state["exp_avg"].abs().sum() > 0) == (head == "matched")
    assert float(state["step"]) == (4 if head == "matched" else 0)
