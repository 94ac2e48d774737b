"""`textssl compare` on tiny models: a table of what ended and what failed, after kills too, shared by processes."""

from __future__ import annotations

import csv
import json
import signal
import time
from pathlib import Path

import pytest
import yaml

import textssl
from tests.evaluation.folders import topics
from tests.evaluation.tasks.test_classification import write_labelled
from tests.evaluation.tasks.test_similarity import write_pairs
from tests.forked import Forked, quick_interpreter
from tests.tiny import MODELS, make_corpus
from textssl.errors import UserError
from textssl.report.comparison.page import page_data

NAMES = ("mlm", "simcse", "broken")
UNTRAINED = ("random initialisation, modernbert", "as it starts, modernbert")
BESIDE = ["TF-IDF; clusters: LSA, k-means", "LSA, Gaussian mixture", "supervised from scratch, modernbert"]


def make_inputs(folder: Path) -> list[str]:
    """Three configurations, of which one cannot be trained, a corpus and a suite; the arguments of the command."""
    make_corpus(folder)
    for name in NAMES:
        values = {
            "tokenizer": str(folder / "tokenizer"),
            "data": {"corpus": str(folder / "corpus"), "sequence_length": 64},
            "model": {"config": MODELS["modernbert"], "dropout": 0.0 if name == "broken" else 0.1},
            "objective": {"name": "mlm" if name == "mlm" else "simcse"},  # whose views are made by dropout
            "train": {"max_steps": 40, "batch_size": 8, "checkpoint_every": 5},
            "evaluation": {"every": None},
        }
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(values))
    write_labelled(folder / "topics.csv", *topics(150))
    write_pairs(folder / "pairs.csv", 20)
    suite = [{"name": "topics", "path": "topics.csv"}, {"name": "pairs", "path": "pairs.csv", "kind": "similarity"}]
    suite += [{"name": "groups", "path": "topics.csv", "kind": "clustering", "starts": 2}]
    (folder / "own.yaml").write_text(yaml.safe_dump({"tasks": suite, "draws": 2, "shots": [8], "max_tokens": 12}))
    budget = ["--budget", "10000tokens", "--suite", str(folder / "own.yaml"), "--model", "config"]
    return [*(str(folder / f"{name}.yaml") for name in NAMES), "train.max_steps=40", *budget]


QUICKER = """
import json, sys
from textssl.assembly import tuner
from textssl.assembly.comparison import training
from textssl.system import subprocesses
tuner.LENGTHS["finetune"] = 1, 6  # epochs, and least steps
start = json.loads(sys.argv.pop(1))
if start:  # a run is not the child of the comparison then, and cannot look after it
    subprocesses.interpreter = lambda: start
    training.CHILD = "import sys; sys.argv[:2] = ['textssl']; from textssl.__main__ import main; main()"
from textssl.cli.app import main
main()
"""


def start(arguments: list[str], out: Path, *, loaded: bool = False) -> Forked:
    """The command, whose baseline trained from scratch takes few steps. loaded: its runs are spared their imports."""
    beginning = json.dumps(quick_interpreter() if loaded else [])
    return Forked(["-c", QUICKER, beginning, "compare", *arguments, "--out", str(out)])


def finish(process: Forked) -> str:
    shown, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors[-3000:]
    return shown + errors


def lasting(out: Path) -> tuple[list[list[str]], dict]:
    """The table and the page's data without what a machine decides, seconds and memory."""
    with (out / "table.csv").open() as file:
        table = [line[:-2] for line in csv.reader(file)]
    data = page_data(json.loads((out / "results.json").read_text()))
    for row in data["rows"]:
        row["cost"] = {key: value for key, value in row["cost"].items() if key in ("tokens", "parameters")}
    for curves in data["curves"].values():
        for points in curves.values():
            points[:] = [[tokens, value] for tokens, _, value in points]
    return table, data


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """(arguments, folder of an unbroken comparison, what it said)."""
    folder = tmp_path_factory.mktemp("compare")
    arguments = make_inputs(folder)
    return arguments, folder / "whole", finish(start(arguments, folder / "whole", loaded=True))


@pytest.mark.slow
def test_table_page_and_records(whole):
    _, out, said = whole
    with (out / "table.csv").open() as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert set(rows) == {*NAMES, *BESIDE, *UNTRAINED}
    assert list(rows)[:3][-1] == "broken" and "set model.dropout=0.1" in rows["broken"]["state"]
    for name in ("mlm", "simcse"):
        assert 0 < float(rows[name]["topics/probe_8"]) < 1 and float(rows[name]["peak_bytes"]) > 0
        assert 0 <= float(rows[name]["topics/probe_8 p above random"]) <= 1 and rows[name]["pairs/spearman"]
        assert 0 < float(rows[name]["tokens"]) <= 12_000
    assert rows[BESIDE[0]]["groups/v_measure"] and rows[BESIDE[1]]["groups/v_measure"]
    assert rows[BESIDE[2]]["topics/probe_8"] and float(rows[BESIDE[0]]["topics/probe_8"]) > 0.6
    data = page_data(json.loads((out / "results.json").read_text()))
    assert data["efficiency"]["task"] == "topics" and {"mlm", BESIDE[0], BESIDE[2]} <= set(data["efficiency"]["rows"])
    assert {"mlm", "simcse", BESIDE[0], *UNTRAINED} == set(data["maps"])
    losses = [value for _, _, value in data["curves"]["mlm"]["train/loss"]]
    assert len(losses) == 4 and losses[-1] < losses[0] and "features/rankme" in data["curves"]["simcse"]
    assert "broken (seed 0) failed: " in said and "Objectives at an equal budget" in said
    assert (out / "report.html").is_file()


@pytest.mark.campaign
@pytest.mark.slow
def test_killed_and_started_again_it_gives_the_same_table(whole, tmp_path):
    arguments, out = whole[:2]
    ours, second = tmp_path / "out", tmp_path / "out" / "entries" / "simcse-0"
    moments = [
        lambda: any((tmp_path / "out" / "entries" / "mlm-0" / "run" / "checkpoints").glob("step-*")),  # in the training
        lambda: (second / "run" / "summary.json").is_file(),  # in the measuring
    ]
    for moment in moments:
        process = start(arguments, ours)
        while not moment():
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not (ours / "entries" / "simcse-0" / "record.json").exists()
    finish(start(arguments, ours))
    assert lasting(ours) == lasting(out)
    records = {name: (ours / "entries" / f"{name}-0" / "record.json").stat().st_mtime_ns for name in NAMES}
    finish(start(arguments, ours))  # everything is kept, what failed too
    assert {name: (ours / "entries" / f"{name}-0" / "record.json").stat().st_mtime_ns for name in NAMES} == records


@pytest.mark.campaign
@pytest.mark.slow
def test_a_signal_saves_and_two_processes_share_a_folder(whole, tmp_path):
    arguments, out = whole[:2]
    ours = tmp_path / "out"
    process = start(arguments, ours)
    while not any((ours / "entries" / "mlm-0" / "run" / "checkpoints").glob("step-*")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 75
    pair = [start(arguments, ours) for _ in range(2)]
    said = [finish(process) for process in pair]
    logs = [(ours / "entries" / f"{name}-0" / "log.txt").read_text().count("done: ") for name in ("mlm", "simcse")]
    assert logs == [1, 1]
    if not any("still in progress at" not in one for one in said):  # each ended while the other was at its last share
        finish(start(arguments, ours))
    assert lasting(ours) == lasting(out)


def test_wrong_arguments_are_said_before_anything_is_made(tmp_path):
    given = ["tokenizer=t", "data.corpus=c"]
    for wrong, options in {
        "--seeds is 0": {"seeds": 0},
        "--budget is 'soon'": {"budget": "soon"},
        "--model is 'huge'": {"model": ["huge"]},
        "not both": {"model": ["nano"], "overrides": ["model.preset=bert-nano"]},
        "nosuch": {"suite": "nosuch"},
        "the tokenizer folder t does not exist": {},
    }.items():
        with pytest.raises(UserError, match=wrong):
            textssl.compare([Path("mlm"), *given], **{"budget": "10s", "out": tmp_path / "out", **options})
    assert not (tmp_path / "out").exists()
