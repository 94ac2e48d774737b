from __future__ import annotations

import json
import logging

import pytest

from tests.tiny import make_corpus, texts, tiny_config
from textssl.commands.pretrain import pretrain
from textssl.evaluation.measure import run_suite
from textssl.evaluation.suite import load_suite
from textssl.evaluation.tasks.agreement import PHENOMENA
from textssl.inference.language.scorer import folder_scorer


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["clm", "mlm"])
def test_a_run_writes_down_how_its_language_model_does(objective: str, tmp_path, caplog):
    make_corpus(tmp_path)
    (tmp_path / "text.txt").write_text("\n\n".join(text[:200].replace("\n\n", " ") for text in texts()[:20]))
    (tmp_path / "suite.yaml").write_text(
        "tasks: [{name: text, path: text.txt, kind: language, max_bytes: 2000, max_masked_bytes: 300},\n"
        " {name: agreement, kind: minimal_pairs}, {name: harness, kind: lm_eval, tasks: [x]}]\n"
    )
    chosen = "evaluation.tasks=[text,agreement]"
    config = tiny_config(
        tmp_path, objective, "train.max_steps=4", f"evaluation.suite={tmp_path / 'suite.yaml'}", chosen
    )
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    with caplog.at_level(logging.WARNING):
        pretrain(tmp_path / "config.yaml")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    last = {name: value for line in lines for name, value in line.items()}
    name = "bits_per_byte" if objective == "clm" else "pseudo_bits_per_byte"
    assert {f"eval/agreement/{figure}" for figure in ("accuracy", *PHENOMENA)} <= last.keys()
    suite = load_suite(tmp_path / "suite.yaml")
    suite.tasks.pop()
    figures = dict(run_suite(None, suite, scorer=folder_scorer(tmp_path / "run")))  # the exported folder has the same
    assert last[f"eval/text/{name}"] == pytest.approx(figures["text"][name].mean, rel=1e-5)
    assert last["eval/agreement/accuracy"] == pytest.approx(figures["agreement"]["accuracy"].mean)
    assert "left out" not in caplog.text
