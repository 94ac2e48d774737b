from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests.evaluation.folders import save_model, topics
from tests.evaluation.tasks.test_classification import write_labelled
from tests.evaluation.tasks.test_similarity import write_pairs
from tests.forked import Ranks
from tests.tiny import texts
from textssl.assembly import measured
from textssl.assembly.measured import Side
from textssl.commands.evaluate import evaluate
from textssl.errors import UserError
from textssl.evaluation import measure
from textssl.evaluation.measure import task_figures


@pytest.fixture
def suite(tmp_path):
    write_labelled(tmp_path / "topics.csv", *topics(150))
    write_pairs(tmp_path / "pairs.csv", 20)
    (tmp_path / "own.yaml").write_text(
        "tasks: [{name: mine, path: topics.csv}, {name: pairs, path: pairs.csv, kind: similarity}]\n"
        "draws: 2\nshots: [8]\nmax_tokens: 12\n"
    )
    return tmp_path / "own.yaml"


@pytest.mark.slow
def test_results_are_written_shown_and_repeat(suite, tmp_path, capfd):
    folder, out = save_model(tmp_path / "model", "modernbert"), tmp_path / "new" / "evaluation.json"
    results = evaluate(folder, suite, baselines=True, out=out)
    assert json.loads(out.read_text()) == json.loads(json.dumps(results))
    assert list(out.parent.iterdir()) == [out]
    assert results["model"] == str(folder) and len(results["weights_hash"]) == 16
    assert set(results["baselines"]) == {"majority", "chance", "tfidf", "random_words", "random_init"}
    figure = results["tasks"]["mine"]["probe_8"]
    assert {"mean", "low", "high", "draws", "train_examples", "test_examples", "macro_f1"} <= figure.keys()
    assert "macro_f1" not in results["tasks"]["pairs"]["spearman"]
    assert results["baselines"]["tfidf"]["pairs"]["spearman"]["mean"] > 0
    assert results["data"]["mine"]["truncated_share"] > 0.5 and results["versions"]["torch"]
    shown, errors = capfd.readouterr()
    assert "mine: accuracy" in shown and "Spearman" in shown and "same, untrained" in shown
    assert str(out) in shown.replace("\n", "")  # a path may be wrapped
    assert errors == "evaluating with 1 compute thread (OMP_NUM_THREADS)\n"
    again = evaluate(folder, suite, baselines=True)
    assert again == results


@pytest.mark.parametrize(("family", "words"), [("llama", "bits per byte"), ("bert", "pseudo bits per byte")])
def test_held_out_text_is_scored(family: str, words: str, suite, tmp_path, capfd):
    (tmp_path / "text.txt").write_text("\n\n".join(text[:200].replace("\n\n", " ") for text in texts()[:3]))
    results = evaluate(save_model(tmp_path / "m", family), suite, held_out=tmp_path / "text.txt")
    assert 1 < results["language"]["bits_per_byte"] < 10 and results["language"]["texts"] >= 3
    assert words in capfd.readouterr().out


def test_records_of_held_out_text_that_cannot_be_used_are_counted(suite, tmp_path, capfd):
    names = ("text", "content", "text", "content", "text")
    records = [json.dumps({name: text[:200]}) for name, text in zip(names, texts(), strict=False)]
    (tmp_path / "text.jsonl").write_text("\n".join(records))
    folder = save_model(tmp_path / "m", "llama")
    results = evaluate(folder, suite, held_out=tmp_path / "text.jsonl")
    assert (results["language"]["texts"], results["language"]["dropped"]) == (3, {"missing column": 2})
    assert "(dropped: missing column: 2)" in " ".join(capfd.readouterr().out.split())
    (tmp_path / "text.jsonl").write_text(records[1])
    with pytest.raises(UserError, match=r"holds no text to score \(dropped: missing column: 1, first .*text.jsonl:1"):
        evaluate(folder, suite, held_out=tmp_path / "text.jsonl")


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llama", "bert", "t5"])
def test_language_tasks_are_measured_or_left_out_with_the_reason(family: str, tmp_path, capfd):
    write_pairs(tmp_path / "pairs.csv", 20)
    (tmp_path / "text.txt").write_text("\n\n".join(text[:300].replace("\n\n", " ") for text in texts()[:20]))
    (tmp_path / "own.yaml").write_text(
        "tasks: [{name: pairs, path: pairs.csv, kind: similarity}, {name: agreement, kind: minimal_pairs},\n"
        " {name: text, path: text.txt, kind: language, max_bytes: 3000, max_masked_bytes: 400, domain: in}]\n"
    )
    results = evaluate(save_model(tmp_path / "m", family), tmp_path / "own.yaml", out=tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text())["skipped"] == results["skipped"]
    shown = " ".join(capfd.readouterr().out.split())
    if family == "t5":
        reason = "the model has no causal or masked language-model head"
        assert results["skipped"] == {"agreement": reason, "text": reason}
        assert list(results["tasks"]) == list(results["data"]) == ["pairs"]
        assert f"Left out: agreement, text ({reason})." in shown
        return
    name = "bits_per_byte" if family == "llama" else "pseudo_bits_per_byte"
    assert not results["skipped"] and 1 < results["tasks"]["text"][name]["mean"] < 10
    assert results["tasks"]["agreement"]["accuracy"]["test_examples"] == 360
    assert "Language modelling" in shown and "Left out" not in shown
    assert f"in domain, {results['data']['text']['texts']} texts" in shown and "agreement: 360 pairs" in shown


def test_mistakes_stop_before_any_work(suite, tmp_path):
    with pytest.raises(UserError, match="no model folder"):
        evaluate(tmp_path / "nowhere", suite)
    folder = save_model(tmp_path / "m", "t5")
    with pytest.raises(UserError, match="no model folder"):
        evaluate(folder, suite, against=tmp_path / "nowhere")
    with pytest.raises(UserError, match="it must name a file"):
        evaluate(folder, suite, out=tmp_path)
    (tmp_path / "file.txt").write_text("text")
    with pytest.raises(UserError, match=r"cannot be written: .*file\.txt is a file"):
        evaluate(folder, suite, out=tmp_path / "file.txt" / "new" / "out.json")
    (folder / "README.md").write_bytes(b"\xff")
    with pytest.raises(UserError, match="is not UTF-8 text"):
        evaluate(folder, suite, card=True, out=tmp_path / "out.json")
    assert not (tmp_path / "out.json").exists()
    with pytest.raises(UserError, match="no language model head"):
        evaluate(folder, suite, held_out=tmp_path / "text.txt")


@pytest.mark.slow
def test_card_holds_the_tables_that_were_printed(suite, tmp_path, capsys):
    folder = save_model(tmp_path / "model", "modernbert")
    results = evaluate(folder, suite, against=folder, card=True)
    card = (folder / "README.md").read_text()
    assert f"{results['tasks']['mine']['probe_8']['mean']:.3f}" in card and "### mine: accuracy" in card
    assert str(tmp_path) not in card and "--suite own.yaml --against model" in card
    assert results["suite"] == str(suite) and len(results["suite_hash"]) == 16
    assert "README.md" in capsys.readouterr().out


def test_names_with_brackets_and_held_out_text_reach_tables_and_card(suite, tmp_path, capsys):
    folder = save_model(tmp_path / "model", "llama")
    pairs = [{"good": f"{text} one", "bad": f"{text} two", "phenomenon": "[/x] a"} for text in topics(12)[0]]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    (tmp_path / "text.txt").write_text("Some text to score.")
    (tmp_path / "names.yaml").write_text("tasks: [{name: '[/red] mine', path: pairs.jsonl, kind: minimal_pairs}]")
    evaluate(folder, tmp_path / "names.yaml", card=True, held_out=tmp_path / "text.txt")
    assert "[/red] mine" in capsys.readouterr().out
    assert "--held-out text.txt" in (folder / "README.md").read_text()


def test_card_of_a_model_that_is_not_the_users_own_is_refused_at_once(suite, tmp_path, monkeypatch):
    monkeypatch.setenv("TEXTSSL_CACHE", str(tmp_path / "cache"))
    folder = save_model(tmp_path / "cache" / "samples" / "x" / "model", "modernbert")
    with pytest.raises(UserError, match="--card writes into the model's folder"):
        evaluate(folder, suite, card=True)
    assert not (folder / "README.md").exists()


@pytest.mark.slow
def test_a_model_against_itself_and_against_a_better_one(suite, tmp_path, capfd):
    folder, out = save_model(tmp_path / "model", "modernbert"), tmp_path / "evaluation.json"
    results = evaluate(folder, suite, against=folder, out=out)
    assert json.loads(out.read_text())["differences"].keys() == {"mine", "pairs"}
    assert results["against"]["tasks"] == results["tasks"]
    assert results["against"]["weights_hash"] == results["weights_hash"]
    for figures in results["differences"].values():
        for found in figures.values():
            assert [found[key] for key in ("difference", "low", "high", "p", "p_holm")] == [0, 0, 0, 1, 1]
    capfd.readouterr()
    blind = save_model(tmp_path / "blind", "bert")
    weights = load_file(blind / "model.safetensors")
    words = next(name for name in weights if name.endswith("word_embeddings.weight"))
    save_file({**weights, words: 0 * weights[words]}, blind / "model.safetensors", metadata={"format": "pt"})
    results = evaluate(folder, suite, against=blind)
    clearest = min(results["differences"]["mine"], key=lambda name: results["differences"]["mine"][name]["p"])
    found = results["differences"]["mine"][clearest]
    means = [side["tasks"]["mine"][clearest]["mean"] for side in (results, results["against"])]
    assert found["difference"] == pytest.approx(means[0] - means[1]) and found["test"] == "McNemar"
    assert found["low"] > 0 and found["p"] <= found["p_holm"] < 0.05
    assert results["differences"]["mine"]["probe_8"]["test"] == "paired bootstrap"
    assert results["differences"]["pairs"]["spearman"]["test"] == "paired bootstrap"
    shown = capfd.readouterr().out
    assert "other model" in shown and "This model minus" in shown


def test_of_several_processes_only_the_first_evaluates(suite, tmp_path, monkeypatch, capfd):
    folder = save_model(tmp_path / "model", "bert")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert evaluate(folder, suite, out=tmp_path / "one.json") == {}
    assert capfd.readouterr().out == "" and not (tmp_path / "one.json").exists()
    monkeypatch.setenv("RANK", "0")
    assert evaluate(folder, suite, out=tmp_path / "zero.json")["tasks"] and (tmp_path / "zero.json").is_file()


@pytest.mark.slow
def test_two_processes_evaluate_once(suite, tmp_path):
    folder, out = save_model(tmp_path / "model", "bert"), tmp_path / "evaluation.json"
    ranks = Ranks(["evaluate", "--model", str(folder), "--suite", str(suite), "--out", str(out)], 2)
    shown, errors = ranks.communicate()
    assert ranks.returncode == 0, errors[-3000:]
    assert shown.count("mine: accuracy") == 1 and shown.count("Every figure:") == 1
    assert json.loads(out.read_text())["tasks"].keys() == {"mine", "pairs"}


def test_the_result_replaces_nothing_that_is_read(suite, tmp_path):
    folder = save_model(tmp_path / "model", "bert")
    (tmp_path / "text.txt").write_text("text")
    read = [suite, tmp_path / "topics.csv", tmp_path / "pairs.csv", tmp_path / "text.txt", folder / "config.json"]
    before = [file.read_bytes() for file in read]
    for out in read:
        with pytest.raises(UserError, match="is an input itself"):
            evaluate(folder, suite, out=out, held_out=tmp_path / "text.txt")
    assert [file.read_bytes() for file in read] == before
    for _ in range(2):  # what an evaluation wrote may be replaced, beside the model as well
        evaluate(folder, suite, out=folder / "evaluation.json")


def test_what_was_computed_is_shown_where_it_cannot_be_written(suite, tmp_path, capsys, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = save_model(tmp_path / "model", "bert")
    monkeypatch.setattr("textssl.system.files.os.replace", full)
    with pytest.raises(UserError, match=r"out.json cannot be written: No space left on device"):
        evaluate(folder, suite, out=tmp_path / "new" / "out.json")
    assert "mine: accuracy" in capsys.readouterr().out and not (tmp_path / "new").exists()


@pytest.fixture
def stopped(monkeypatch):
    """Evaluations that die when they come to a task, by its name; {} lets them live."""
    dying: dict[str, bool] = {}
    stock = Side.measure

    def measure(self, name):
        if name in dying:
            raise KeyboardInterrupt
        return stock(self, name)

    monkeypatch.setattr(Side, "measure", measure)
    return dying


@pytest.mark.slow
@pytest.mark.parametrize("against", [False, True])
def test_a_killed_evaluation_goes_on_with_the_tasks_that_are_left(
    against, suite, tmp_path, capfd, monkeypatch, stopped
):
    monkeypatch.setenv("TEXTSSL_CACHE", str(tmp_path / "cache"))
    folder = save_model(tmp_path / "model", "bert")
    other = save_model(tmp_path / "other", "modernbert") if against else None

    def run(name: str = "out.json") -> dict:
        return evaluate(
            folder, suite, baselines=True, against=other, held_out=suite.parent / "t.txt", out=tmp_path / name
        )

    (suite.parent / "t.txt").write_text("\n\n".join(text[:200] for text in texts()[:3]))
    whole = run("whole.json")
    assert not list((tmp_path / "cache" / "evaluations").iterdir()), "a finished evaluation leaves nothing"
    stopped["pairs"] = True
    with pytest.raises(KeyboardInterrupt):
        run()
    assert len(list((tmp_path / "cache" / "evaluations").iterdir())) == 1 and not (tmp_path / "out.json").exists()
    stopped.clear()
    capfd.readouterr()
    computed = []
    monkeypatch.setattr(
        measured, "task_figures", lambda task, *rest: computed.append(task.name) or task_figures(task, *rest)
    )
    assert run() == whole
    assert (tmp_path / "out.json").read_bytes() == (tmp_path / "whole.json").read_bytes()
    assert computed == ["pairs"] * (1 + against)
    shown = capfd.readouterr()
    assert "1 of 2 tasks and the held-out text are taken from an earlier, unfinished evaluation" in shown.err
    assert "mine: accuracy" in shown.out and not list((tmp_path / "cache" / "evaluations").iterdir())


@pytest.mark.slow
def test_kept_tasks_of_other_weights_or_data_are_not_taken(suite, tmp_path, capfd, monkeypatch, stopped):
    monkeypatch.setenv("TEXTSSL_CACHE", str(tmp_path / "cache"))
    folder = save_model(tmp_path / "model", "bert")
    stopped["pairs"] = True

    def killed(model: Path) -> str:
        with pytest.raises(KeyboardInterrupt):
            evaluate(model, suite)
        return capfd.readouterr().err

    killed(folder)
    assert "taken from an earlier" in killed(folder)
    weights = load_file(folder / "model.safetensors")
    save_file({name: 1.01 * value for name, value in weights.items()}, folder / "model.safetensors", {"format": "pt"})
    assert "taken from" not in killed(folder) and "taken from" in killed(folder)
    write_labelled(suite.parent / "topics.csv", *topics(150, seed=1))
    assert "taken from" not in killed(folder) and "taken from" in killed(folder)
    suite.write_text(suite.read_text().replace("draws: 2", "draws: 3"))
    assert "taken from" not in killed(folder)


@pytest.mark.slow
def test_baselines_are_kept_too(suite, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("TEXTSSL_CACHE", str(tmp_path / "cache"))
    folder, stock = save_model(tmp_path / "model", "bert"), measure.random_encoder
    whole = evaluate(folder, suite, baselines=True)
    monkeypatch.setattr(measure, "random_encoder", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        evaluate(folder, suite, baselines=True)
    monkeypatch.setattr(measure, "random_encoder", stock)
    monkeypatch.setattr(measure, "Tfidf", lambda **_: None)  # is not asked again
    capfd.readouterr()
    assert evaluate(folder, suite, baselines=True) == whole
    assert "2 of 2 tasks and 4 of baselines are taken from" in capfd.readouterr().err


def test_a_mistake_in_a_suite_is_said_before_the_libraries_are_loaded(tmp_path):
    (tmp_path / "bad.yaml").write_text("tasks: [{name: mine, path: a.csv, kind: clasification}]")
    code = (
        "import sys\nfrom textssl.cli.app import main\n"
        "try:\n    main(['evaluate', '--model', 'x', '--suite', 'bad.yaml'])\n"
        "except SystemExit as end:\n    print(end.code, 'torch' in sys.modules, 'sklearn' in sys.modules)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["2", "False", "False"]
    assert "tasks.0.kind is 'clasification'; there is classification" in done.stderr
