"""A run that is killed, stopped or cut in two ends with the bytes of an unbroken one."""

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest
import torch

from tests.tiny import JOINT, SENTENCE_MODELS, make_corpus, sentence_config, texts, tiny_config, write_corpus
from tests.training.kills import break_and_finish, checkpoints, digest, finish, losses, start
from textssl import tokenizer
from textssl.commands.pretrain import pretrain
from textssl.errors import UserError
from textssl.objectives import OBJECTIVES, MaskedLM
from textssl.training.checkpoint import newest_checkpoint

DROPOUT = "model.dropout=0.1"  # so that torch's generators matter too
SCHEDULE = "schedule={name: constant, warmup_steps: 3}"  # the same whatever the length of the run
CLUSTERED = "tests.objectives.clustered:Clustered"  # whose refresh makes what the next steps learn
CONSTANT = dict.fromkeys(("data2vec", "byol"), ("objective.momentum=0.9",))  # what else moves with the length of a run
WINDOWS = "data.window_tokens=4096"  # so that a run crosses many


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resume")
    make_corpus(folder)
    return folder


def config_of(folder, objective, *overrides, out):
    make = sentence_config if objective in SENTENCE_MODELS else tiny_config
    return make(folder, objective, *overrides, out=out)


OTHERS = (("clm", 2), ("moco", 0), ("deepcluster", 2), ("infilling", 2), ("data2vec", 0), ("byol", 0), ("swav", 0))
OTHERS += (("order", 2),)


@pytest.mark.slow
@pytest.mark.parametrize(
    "objective, workers",
    [
        *(("mlm", 0), ("sum", 2)),
        *(pytest.param(*case, marks=pytest.mark.campaign) for case in OTHERS),  # scripts/verify.sh campaign_tests
    ],
)
def test_killed_runs_end_with_the_same_bytes(folder, objective, workers):
    options = ("train.max_steps=48", "train.checkpoint_every=6", DROPOUT, f"train.workers={workers}", WINDOWS)
    whole = config_of(folder, objective, *options, out=f"whole-{objective[-6:]}")
    finish(start(whole))
    config = config_of(folder, objective, *options, out=f"killed-{objective[-6:]}")
    broken = break_and_finish(config, Path(whole.out), kills=2, seed=0, most_seconds=0.3)
    assert broken.kills >= 1
    assert broken.resumed_from and min(broken.resumed_from) > 0
    assert broken.same_bytes and broken.same_metrics


@pytest.mark.slow
@pytest.mark.parametrize("name, workers", [("SIGTERM", 0), ("SIGINT", 0), ("SIGTERM", 2), ("SIGHUP", 2)])
def test_a_signal_saves_and_exits_with_75(folder, name, workers):
    """Sent to the whole process group, as schedulers do, so that loader workers get it too."""
    options = ("train.max_steps=60", "train.checkpoint_every=null", DROPOUT)
    config = tiny_config(folder, "mlm", *options, "train.max_steps=100000", out=f"signal-{name}-{workers}")
    config.train.workers = workers
    process = start(config)
    while not Path(config.out, "metrics.jsonl").exists() or not losses(Path(config.out)):
        time.sleep(0.01)
        assert process.poll() is None
    os.killpg(process.pid, getattr(signal, name))
    assert finish(process) == 75
    summary = json.loads(Path(config.out, "summary.json").read_text())
    assert summary["stopped_by"] == name and summary["steps"] > 0
    assert checkpoints(config.out) == [f"step-{summary['steps']:08d}"]
    longer = summary["steps"] + 5
    again = pretrain(tiny_config(folder, "mlm", DROPOUT, f"train.max_steps={longer}", out=f"signal-{name}-{workers}"))
    assert again.resumed_from == [summary["steps"]] and again.stopped_by is None and again.steps == longer


@pytest.mark.slow
def test_workers_change_nothing(folder):
    for workers in (0, 2):
        pretrain(tiny_config(folder, "mlm", f"train.workers={workers}", DROPOUT, out=f"workers-{workers}"))
    assert digest(folder / "workers-0") == digest(folder / "workers-2")


ROWS = ("mlm", "clm", "hybrid", "diffusion", "replaced_token", "infilling", "data2vec")


@pytest.mark.slow_unless("mlm")
@pytest.mark.parametrize("objective", [*ROWS, "tests.objectives.contrastive:TwoCrops", CLUSTERED])
def test_a_run_in_two_halves_equals_a_whole_one(folder, objective):
    name, options = objective[-4:], (DROPOUT, SCHEDULE, *CONSTANT.get(objective, ()))
    ten = (*options, "train.max_steps=10")
    pretrain(tiny_config(folder, objective, *ten, out=f"one-{name}"))
    pretrain(tiny_config(folder, objective, *options, "train.max_steps=6", out=f"two-{name}"))
    summary = pretrain(tiny_config(folder, objective, *ten, out=f"two-{name}"))
    assert summary.resumed_from == [6]
    assert digest(folder / f"one-{name}") == digest(folder / f"two-{name}")
    assert losses(folder / f"one-{name}") == losses(folder / f"two-{name}")


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["mlm", "sum"])
def test_a_line_of_the_log_is_of_all_its_steps_wherever_the_run_was_cut(folder, objective):
    """Checkpoints of the best figure, or after a signal, lie between two lines."""
    options = (DROPOUT, SCHEDULE, "train.log_every=4")
    runs = {name: folder / f"{name}-log-{objective}" for name in ("one", "two")}
    pretrain(config_of(folder, objective, *options, out=runs["one"].name))
    pretrain(config_of(folder, objective, *options, "train.max_steps=11", out=runs["two"].name))
    pretrain(config_of(folder, objective, *options, out=runs["two"].name))

    def lines(run: Path) -> list[dict]:
        logged = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        clock = ("seconds", "train/tokens_per_second")
        return [
            {key: value for key, value in line.items() if key not in clock} for line in logged if "train/lr" in line
        ]

    assert [line["step"] for line in lines(runs["two"])] == [4, 8, 12, 16, 20]
    assert lines(runs["one"]) == lines(runs["two"])


STATIC = "model={config: {model_type: static, hidden_size: 32, identity_size: 8}}"
HALVES = {
    **{"simcse": (DROPOUT,), "crops": (STATIC,), "moco": (DROPOUT,), "pairs": (DROPOUT,), "sum": (DROPOUT,)},
    **dict.fromkeys((*JOINT, "swav", "deepcluster", "cpc", "order", "tsdae"), (DROPOUT,)),
    "skipgram": (),
}
FAST = ("moco", "deepcluster", "skipgram", "sum")  # of them, those with most that has to come back


@pytest.mark.slow_unless("crops")
@pytest.mark.parametrize(
    "objective", [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in HALVES]
)
def test_sentence_runs_in_two_halves_equal_whole_ones(folder, objective):
    """Queue, teacher, projector and the places in the corpus come back, as do micro-batches with their dropout."""
    options = (*HALVES[objective], SCHEDULE, "train.micro_batch_size=3", "data.window_tokens=1024")
    eight = (*options, "train.max_steps=8")
    runs = {name: folder / f"{name}-{objective}" for name in ("one", "two")}
    whole = pretrain(sentence_config(folder, objective, *eight, out=runs["one"].name))
    pretrain(sentence_config(folder, objective, *options, "train.max_steps=5", out=runs["two"].name))
    summary = pretrain(sentence_config(folder, objective, *eight, out=runs["two"].name))
    assert summary.resumed_from == [5] and summary.loss == whole.loss
    for file in ("model/model.safetensors", "checkpoints/step-00000008/objective.safetensors"):
        assert (runs["one"] / file).read_bytes() == (runs["two"] / file).read_bytes()
    assert losses(runs["one"]) == losses(runs["two"])


def test_every_objective_is_cut_in_two():
    assert {*ROWS, *HALVES} == set(OBJECTIVES)


@pytest.mark.slow_unless("crops")
@pytest.mark.parametrize("objective", ["crops", "moco", "pairs", "sum"])
def test_a_run_goes_on_with_other_micro_batches(folder, objective):
    """Without dropout the dealing changes nothing but the last digits."""
    options = ("model.dropout=0", SCHEDULE)
    pretrain(sentence_config(folder, objective, *options, "train.max_steps=9", out=f"straight-{objective}"))
    for steps, micro in (
        (3, "train.micro_batch_size=3"),
        (6, "train.micro_batch_tokens=100"),
        (9, "train.workers=1"),
    ):
        changed = (micro, f"train.max_steps={steps}")
        summary = pretrain(sentence_config(folder, objective, *options, *changed, out=f"bent-{objective}"))
    assert summary.resumed_from == [3, 6]
    straight, bent = (losses(folder / f"{name}-{objective}") for name in ("straight", "bent"))
    assert [step for step, _ in bent] == list(range(1, 10))
    assert max(abs(a - b) for (_, a), (_, b) in zip(straight, bent, strict=True)) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(
    "objective",
    [
        "sum",  # of rows and of features
        *(pytest.param(name, marks=pytest.mark.campaign) for name in ("moco", "byol", "swav", "deepcluster")),
        pytest.param("data2vec", marks=pytest.mark.campaign),
    ],
)
def test_a_run_goes_on_with_another_number_of_processes_and_shards(folder, objective):
    options = ("model.dropout=0", SCHEDULE, *CONSTANT.get(objective, ()))
    pretrain(config_of(folder, objective, *options, "train.max_steps=12", out=f"single-{objective}"))
    for steps, processes, shards in ((3, 4, 2), (6, 2, "all"), (9, 1, 1), (12, 3, 3)):
        changed = (f"train.max_steps={steps}", f"train.shard={shards}")
        config = config_of(folder, objective, *options, *changed, out=f"elastic-{objective}")
        finish(start(config, processes=processes))
        parts = json.loads((Path(config.out) / "checkpoints" / f"step-{steps:08}" / "manifest.json").read_text())[
            "parts"
        ]
        assert parts == (processes if shards == "all" else shards)
    single, elastic = (losses(folder / f"{name}-{objective}") for name in ("single", "elastic"))
    assert max(abs(a - b) for (_, a), (_, b) in zip(single, elastic, strict=True)) < 1e-5
    summary = json.loads((folder / f"elastic-{objective}" / "summary.json").read_text())
    assert summary["resumed_from"] == [3, 6, 9] and summary["num_processes"] == 3


@pytest.mark.slow
def test_a_broken_checkpoint_is_named_and_the_one_before_is_used(folder, capsys):
    options = ("train.keep_checkpoints=4", DROPOUT)
    pretrain(tiny_config(folder, "mlm", *options, out="damaged"))
    expected = digest(folder / "damaged")
    newest = newest_checkpoint(folder / "damaged" / "checkpoints")
    assert newest and newest.name == "step-00000020"
    weights = newest / "objective.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    summary = pretrain(tiny_config(folder, "mlm", *options, out="damaged"))
    assert "step-00000020 is broken" in " ".join(capsys.readouterr().err.split())
    assert summary.resumed_from == [15]
    assert digest(folder / "damaged") == expected


def test_later_broken_checkpoints_cost_no_good_one(folder):
    from textssl.training.checkpoint import save_checkpoint

    module = torch.nn.Linear(2, 2)

    def save(step, keep):
        save_checkpoint(folder / "kept" / "checkpoints", step, module, [], {"step": step}, keep)

    for step in (10, 15, 20):
        save(step, 3)
    (folder / "kept" / "checkpoints" / "step-00000020" / "state.json").write_text("broken")
    save(17, 2)
    assert checkpoints(str(folder / "kept")) == ["step-00000015", "step-00000017", "step-00000020"]
    save(18, 1)
    assert checkpoints(str(folder / "kept")) == ["step-00000018", "step-00000020"]
    found = newest_checkpoint(folder / "kept" / "checkpoints")
    assert found and found.name == "step-00000018"


def test_a_checkpoint_about_to_be_replaced_comes_back(folder):
    from textssl.training.checkpoint import remove_unfinished

    (folder / "replaced" / ".replaced-step-00000003").mkdir(parents=True)
    (folder / "replaced" / ".writing-step-00000003").mkdir()
    remove_unfinished(folder / "replaced")
    assert [path.name for path in (folder / "replaced").iterdir()] == ["step-00000003"]


def test_a_finished_budget_of_seconds_stays_finished(folder):
    options = ("train.max_steps=null", "train.max_seconds=1", "train.checkpoint_every=1")
    first = pretrain(tiny_config(folder, "mlm", *options, out="timed"))
    assert first.seconds >= 1.0
    assert pretrain(tiny_config(folder, "mlm", *options, out="timed")) == first


def test_a_run_whose_checkpoints_are_all_broken_does_not_begin_anew_by_itself(folder):
    pretrain(tiny_config(folder, "mlm", "train.max_steps=6", out="all-broken"))
    metrics = (folder / "all-broken" / "metrics.jsonl").read_text()
    for path in (folder / "all-broken" / "checkpoints").iterdir():
        (path / "manifest.json").unlink()
    with pytest.raises(UserError, match=r"every checkpoint .* is broken: start over with train\.resume=restart"):
        pretrain(tiny_config(folder, "mlm", "train.max_steps=6", out="all-broken"))
    assert (folder / "all-broken" / "metrics.jsonl").read_text() == metrics
    with pytest.raises(UserError, match="never"):
        pretrain(tiny_config(folder, "mlm", "train.resume=never", out="all-broken"))


def test_a_finished_run_is_left_as_it_is(folder):
    first = pretrain(tiny_config(folder, out="finished"))
    files = ("model/model.safetensors", "metrics.jsonl", "summary.json", "config.yaml")
    before = [(folder / "finished" / name).read_bytes() for name in files]
    second = pretrain(tiny_config(folder, out="finished"))
    assert [(folder / "finished" / name).read_bytes() for name in files] == before
    assert first == second and second.resumed_from == []


def test_a_restarted_run_is_repeated_by_its_own_configuration(folder):
    pretrain(tiny_config(folder, "mlm", "train.max_steps=6", out="again"))
    anew = pretrain(tiny_config(folder, "mlm", "train.max_steps=6", "train.resume=restart", out="again"))
    assert pretrain(Path(anew.run) / "config.yaml").run == anew.run == str(folder / "again" / "restart-1")


@pytest.mark.slow
def test_windows_and_epochs_are_crossed_exactly(folder):
    options = (DROPOUT, f"data.corpus={folder}/corpus/held-out", "data.window_tokens=2048", "train.batch_size=24")
    for steps in (7, 13, 20):
        summary = pretrain(tiny_config(folder, "mlm", *options, f"train.max_steps={steps}", SCHEDULE, out="cut-epochs"))
    assert summary.resumed_from == [7, 13]
    pretrain(tiny_config(folder, "mlm", *options, SCHEDULE, out="whole-epochs"))
    assert digest(folder / "cut-epochs") == digest(folder / "whole-epochs")


@pytest.mark.slow
def test_a_budget_of_seconds_goes_on_where_it_was(folder):
    """The share of the run that is done reaches the loader's clock before the first sample after a resume."""
    seen = []

    class Watched(MaskedLM):
        def make_view(self, sample, rng, progress):
            seen.append(progress)
            return super().make_view(sample, rng, progress)

    OBJECTIVES["watched"] = Watched
    try:
        limit = "train.max_steps=null"
        pretrain(tiny_config(folder, "watched", limit, "train.max_seconds=1", out="clock"))
        seen.clear()
        pretrain(tiny_config(folder, "watched", limit, "train.max_seconds=2", out="clock"))
    finally:
        del OBJECTIVES["watched"]
    assert 0.4 < seen[0] <= 1.0


@pytest.mark.slow
def test_only_what_changes_no_step_may_differ(folder):
    pretrain(tiny_config(folder, "mlm", "train.max_steps=10", out="changed"))
    with pytest.raises(UserError, match=r"objective\.mask_rate, optimizer\.lr"):
        pretrain(tiny_config(folder, "mlm", "objective.mask_rate=0.2", "optimizer.lr=1e-3", out="changed"))
    with pytest.raises(UserError, match="never"):
        pretrain(tiny_config(folder, "mlm", "train.resume=never", out="changed"))
    free = ("train.log_every=2", "train.micro_batch_size=4", "train.workers=1", "evaluation.every=6")
    assert pretrain(tiny_config(folder, "mlm", *free, out="changed")).resumed_from == [10]
    anew = pretrain(tiny_config(folder, "mlm", "objective.mask_rate=0.2", "train.resume=restart", out="changed"))
    assert anew.resumed_from == [] and Path(anew.run) == folder / "changed" / "restart-1"


def test_a_run_goes_on_from_another_working_folder(folder, tmp_path, monkeypatch):
    make_corpus(tmp_path / "moved")
    short = tiny_config(folder, "mlm", SCHEDULE, "train.max_steps=2", out=str(tmp_path / "run"))
    pretrain(short)
    monkeypatch.chdir(tmp_path / "moved")
    longer = ("train.max_steps=4", "tokenizer=tokenizer", "data.corpus=../moved/corpus")
    again = tiny_config(folder, "mlm", SCHEDULE, *longer, out=str(tmp_path / "run"))
    assert pretrain(again).resumed_from == [2]


def test_another_tokenizer_corpus_or_weight_is_refused_by_name(folder, tmp_path):
    out = str(tmp_path / "run")
    pretrain(tiny_config(folder, "mlm", SCHEDULE, "train.max_steps=2", out=out))
    write_corpus(tmp_path / "other", texts()[3:30], "train")
    words = tokenizer.load(folder / "tokenizer")
    words.backend_tokenizer.post_processor = None
    words.save_pretrained(tmp_path / "unframed")
    for override, message in (
        (f"data.corpus={tmp_path / 'other'}", f"other text than {tmp_path / 'other'} holds now"),
        (f"data.corpus=[{{path: {folder / 'corpus'}, weight: 2}}]", "these keys differ: data.corpus. "),
        (f"tokenizer={tmp_path / 'unframed'}", "these keys differ: tokenizer. "),
    ):
        with pytest.raises(UserError, match=re.escape(message)):
            pretrain(tiny_config(folder, "mlm", SCHEDULE, "train.max_steps=4", override, out=out))
