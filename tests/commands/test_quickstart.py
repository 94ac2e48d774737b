from __future__ import annotations

import json
import types
from pathlib import Path

import pytest

from tests.evaluation.folders import topics
from tests.evaluation.tasks.test_classification import write_labelled
from tests.few_samples import few_samples
from tests.forked import run
from textssl.commands import quickstart as module
from textssl.errors import UserError


@pytest.fixture
def road(monkeypatch):
    """Stand-ins for the steps that leave what the real ones leave; returns the list of calls and a way to stop."""
    state = types.SimpleNamespace(calls=[], stopped_by=None)

    def train_tokenizer(input, out, **options):
        state.calls.append("tokenizer")
        Path(out).mkdir(parents=True)

    def prepare(input, tokenizer, out, **options):
        state.calls.append("corpus")
        Path(out).mkdir(parents=True)

    def pretrain(config):
        run = Path(config).parent / "encoder"
        state.calls.append("resume" if run.exists() else "encoder")
        (run / "model").mkdir(parents=True, exist_ok=True)
        summary = {"stopped_by": state.stopped_by, "loss": 5.5}
        (run / "summary.json").write_text(json.dumps(summary))
        return types.SimpleNamespace(**summary)

    def demonstrate(model, out):
        state.calls.append("neighbours")
        Path(out).write_text("[]")

    def evaluate(model, suite, baselines, out, card):
        state.calls.append("evaluation")
        Path(out).write_text("{}")

    for function in (train_tokenizer, prepare, pretrain, demonstrate, evaluate):
        monkeypatch.setattr(module, function.__name__, function)
    monkeypatch.setattr(module.samples, "get", lambda name: state.calls.append("sample"))
    monkeypatch.setattr(module, "show_results", lambda results, console: state.calls.append("shown"))
    return state


def test_second_time_reuses_every_step(road, tmp_path, capsys):
    first = module.quickstart(tmp_path / "q")
    assert road.calls == ["sample", "tokenizer", "corpus", "encoder", "evaluation", "neighbours"]
    road.calls.clear()
    assert module.quickstart(tmp_path / "q") == first
    assert road.calls == ["sample", "shown"]
    printed = capsys.readouterr().out
    assert all(f"{place}/6" in printed for place in range(1, 7))
    assert printed.count("reused: ") == 5
    assert len([line for line in printed.split("next:")[-1].splitlines() if "textssl" in line]) == 3


def test_stopped_training_is_continued(road, tmp_path):
    road.stopped_by = "SIGTERM"
    assert module.quickstart(tmp_path).stopped_by == "SIGTERM"
    assert road.calls == ["sample", "tokenizer", "corpus", "encoder"]
    road.stopped_by = None
    road.calls.clear()
    assert module.quickstart(tmp_path).stopped_by is None
    assert road.calls == ["sample", "resume", "evaluation", "neighbours"]


def test_other_settings_or_a_lost_result_renew_what_follows(road, tmp_path):
    module.quickstart(tmp_path)
    road.calls.clear()
    module.quickstart(tmp_path, train_steps=7)
    assert road.calls == ["sample", "encoder", "evaluation", "neighbours"]
    (tmp_path / "tokenizer").rmdir()
    road.calls.clear()
    module.quickstart(tmp_path, train_steps=7)
    assert road.calls == ["sample", "tokenizer", "corpus", "encoder", "evaluation", "neighbours"]


def test_a_folder_of_somebody_else_is_never_removed(road, tmp_path):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match=r"corpus exists and was not made by quickstart.*--out"):
        module.quickstart(tmp_path)
    assert (tmp_path / "corpus" / "thesis.txt").exists()
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "encoder.yaml").write_text("of the user")
    with pytest.raises(UserError, match=r"encoder.yaml exists and was not made by quickstart"):
        module.quickstart(tmp_path / "own")


SMALLER = """
import sys
from textssl.cli.app import main
from textssl.commands import quickstart as module
evaluate, config = module.evaluate, module.encoder_config
module.evaluate = lambda suite, **given: evaluate(suite=sys.argv[1], **given)
module.encoder_config = lambda *given: {**config(*given), "model": {"preset": "static-nano"}}
module.TOKENIZER["vocab_size"] = 1024
main(["quickstart", "--out", sys.argv[2], "--train-steps", "2"])
"""


@pytest.mark.slow
@pytest.mark.network
def test_quickstart_runs_and_the_second_time_needs_no_training(tmp_path, tmp_path_factory, monkeypatch):
    """With few articles, a small encoder, and a small suite for `quick`: the README's walk through runs baselines."""
    monkeypatch.setenv("TEXTSSL_CACHE", str(few_samples(tmp_path_factory)))
    write_labelled(tmp_path / "topics.csv", *topics(90))
    (tmp_path / "own.yaml").write_text("{tasks: [{name: mine, path: topics.csv}], draws: 2, shots: [8]}")
    words = ["-c", SMALLER, str(tmp_path / "own.yaml"), str(tmp_path / "q")]
    first = run(words, timeout=1200)
    assert first.returncode == 0, first.stderr[-3000:]
    model = tmp_path / "q" / "encoder" / "model" / "model.safetensors"
    made = model.stat().st_mtime_ns
    second = run(words, timeout=120)
    assert second.returncode == 0, second.stderr[-3000:]
    assert model.stat().st_mtime_ns == made
    assert second.stdout.count("reused: ") == 5
    assert all(sentence in first.stdout for sentence in module.SENTENCES)
    near = json.loads((tmp_path / "q" / "neighbours.json").read_text())
    assert all(1 >= one["nearest"][0]["cosine"] >= one["nearest"][1]["cosine"] > 0 for one in near)
    assert "TF-IDF" in first.stdout and "TF-IDF" in second.stdout
