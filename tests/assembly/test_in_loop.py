"""Tasks of a suite during a run: the figures that `evaluate` gives, the best checkpoint kept, the clock stopped."""

from __future__ import annotations

import json
from pathlib import Path
from unittest.mock import Mock

import pytest
import yaml

from tests.forked import Ranks
from tests.labelled import write_topics
from tests.tiny import make_corpus, sentence_config, tiny_config
from textssl.assembly.in_loop import suite_evaluation
from textssl.commands.evaluate import evaluate
from textssl.commands.pretrain import pretrain
from textssl.errors import UserError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path):
    make_corpus(tmp_path)
    write_topics(tmp_path / "topics.jsonl")
    tasks = [
        {"name": "topics", "path": "topics.jsonl", "kind": "classification"},
        {"name": "groups", "path": "topics.jsonl", "kind": "clustering"},
    ]
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump({"tasks": tasks, "draws": 2, "shots": [4], "max_tokens": 32}))
    return tmp_path


def metrics(run: str) -> list[dict]:
    return [json.loads(line) for line in (Path(run) / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_figures_are_those_of_evaluate_and_their_cost_is_apart(folder):
    given = (f"evaluation.suite={folder}/suite.yaml", "evaluation.suite_every=10", "evaluation.every=5")
    summary = pretrain(tiny_config(folder, "mlm", *given))
    lines = [line for line in metrics(summary.run) if "eval/topics/probe_4" in line]
    assert [line["step"] for line in lines] == [10, 20]
    found = evaluate(f"{summary.run}/model", folder / "suite.yaml")["tasks"]
    for task, figure in (("topics", "probe_4"), ("topics", "knn"), ("groups", "v_measure")):
        assert lines[-1][f"eval/{task}/{figure}"] == pytest.approx(found[task][figure]["mean"], abs=1e-6)
    spent = sum(line["eval/suite_seconds"] for line in lines)
    assert spent > 0 and lines[-1]["eval/seconds"] >= lines[-1]["eval/suite_seconds"]
    trained = [line for line in metrics(summary.run) if "train/tokens_per_second" in line]
    speeds = [line["train/tokens_per_second"] for line in trained]
    assert sum(256 / speed for speed in speeds) < summary.seconds + 1, "the clock of training stands still meanwhile"


def test_figures_of_fine_tuning_are_left_out_and_said_to_be(folder, caplog):
    (folder / "tuned.yaml").write_text("tasks: [{name: topics, path: topics.jsonl, tuned: [finetune_4]}]\nshots: [4]\n")
    suite_evaluation(tiny_config(folder, "mlm", f"evaluation.suite={folder}/suite.yaml"), Mock(), None)
    assert not caplog.records
    suite_evaluation(tiny_config(folder, "mlm", f"evaluation.suite={folder}/tuned.yaml"), Mock(), None)
    assert [record.message.split(";")[0] for record in caplog.records] == [
        "evaluation.suite: figures of fine-tuning are left out during a run"
    ]


@pytest.mark.slow
def test_the_best_checkpoint_by_a_figure_of_the_suite_is_exported(folder):
    given = (f"evaluation.suite={folder}/suite.yaml", "evaluation.suite_every=5", "evaluation.tasks=[topics]")
    config = sentence_config(folder, "crops", *given, "evaluation.best=eval/topics/probe_all")
    summary = pretrain(config)
    lines = [line for line in metrics(summary.run) if "eval/topics/probe_all" in line]
    assert not any(name.startswith("eval/groups") for name in lines[0])
    values = [line["eval/topics/probe_all"] for line in lines]
    assert summary.best is not None and summary.best["value"] == max(values)
    found = evaluate(f"{summary.run}/model", folder / "suite.yaml")["tasks"]["topics"]["probe_all"]["mean"]
    assert found == pytest.approx(max(values), abs=1e-6)


@pytest.mark.slow
def test_summary_and_card_have_the_figures_of_the_exported_weights(folder):
    """Whether the loss was measured at that step or not."""
    given = (f"evaluation.suite={folder}/suite.yaml", "evaluation.tasks=[topics]", "evaluation.suite_every=4")
    best = "eval/topics/knn"
    summary = pretrain(tiny_config(folder, "mlm", *given, f"evaluation.best={best}", "evaluation.every=20"))
    lines = {line["step"]: line for line in metrics(summary.run) if best in line}
    assert summary.best is not None and summary.best["value"] == lines[summary.best["step"]][best]
    assert summary.loss == lines[summary.best["step"]].get("eval/loss")
    card = (Path(summary.run) / "model" / "README.md").read_text()
    assert f"## Figures of step {summary.best['step']}, the best by {best}" in card
    assert f"| topics/knn | {summary.best['value']:.4g} |" in card
    losses = [line for line in metrics(summary.run) if "eval/loss" in line]
    assert ("held-out loss" in card) == (losses[0]["step"] == summary.best["step"])


@pytest.mark.slow
def test_times_of_all_lines_go_on(folder):
    given = (f"evaluation.suite={folder}/suite.yaml", "evaluation.suite_every=3", "evaluation.every=2")
    summary = pretrain(tiny_config(folder, "mlm", *given, "train.log_every=1"))
    seconds = [line["seconds"] for line in metrics(summary.run)]
    assert seconds == sorted(seconds) and len(seconds) > 25


def test_a_figure_that_never_comes_ends_the_run_with_its_last_step_saved(folder):
    given = ("evaluation.best=eval/los", "evaluation.every=null", "train.checkpoint_every=15")
    with pytest.raises(UserError, match=r"evaluation\.best is eval/los, but the figures of this run are"):
        pretrain(tiny_config(folder, "mlm", *given))
    assert (folder / "run" / "checkpoints" / "step-00000020").is_dir()


def test_mistakes_are_said_before_the_first_step(folder):
    suite = f"evaluation.suite={folder}/suite.yaml"
    for given, message in (
        ((suite, "evaluation.tasks=[topic]"), "no topic in the suite suite; it has topics, groups"),
        (("evaluation.tasks=[topics]",), "chooses among the tasks of evaluation.suite"),
        (("evaluation.suite=quik",), "quick, full, tuned or a YAML file"),
        ((suite, "evaluation.best=eval/topics/prob_4"), "figures of topics are probe_4, probe_all, knn"),
        ((suite, "evaluation.best=eval/topic/knn"), r"no task topic in evaluation\.suite; topics, groups are"),
        ((suite, "evaluation.best=eval/topics/knn"), r"at the end alone: say evaluation\.suite_every"),
    ):
        with pytest.raises(UserError, match=message):
            pretrain(tiny_config(folder, "mlm", *given))
    assert not (folder / "run").exists()


@pytest.mark.slow
def test_of_two_processes_one_does_the_tasks(folder):
    given = (f"evaluation.suite={folder}/suite.yaml", "train.precision=float64", "model.dropout=0")
    alone = pretrain(tiny_config(folder, "mlm", *given, out="alone"))
    config = tiny_config(folder, "mlm", *given, "train.shard=all", out="shared")
    (folder / "shared.yaml").write_text(config.to_yaml())
    shared = Ranks(["pretrain", str(folder / "shared.yaml")], 2)
    _, errors = shared.communicate()
    assert shared.returncode == 0, errors[-3000:]
    one, two = (metrics(run)[-1] for run in (alone.run, str(folder / "shared")))
    tasks = [name for name in one if name.startswith(("eval/topics", "eval/groups"))]
    assert tasks and all(one[name] == pytest.approx(two[name], abs=0.05) for name in tasks)
    assert sum("eval/suite_seconds" in line for line in metrics(str(folder / "shared"))) == 1
