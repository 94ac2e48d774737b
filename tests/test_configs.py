"""Every configuration in configs/ loads; each objective's runs with only tokenizer and corpus given."""

import re
from pathlib import Path

import pytest
import yaml

from tests.evaluation.folders import save_model
from tests.labelled import write_pairs, write_topics
from tests.tiny import make_corpus
from textssl.commands.finetune import finetune
from textssl.commands.pretrain import pretrain
from textssl.config import load_config
from textssl.objectives import OBJECTIVES, SUPERVISED, resolve_objective

ROOT = Path(__file__).parents[1]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
FINETUNED = ("classification", "regression", "few-labels")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_configurations_are_valid_and_say_what_they_are(path):
    config = load_config(path)
    _, section = resolve_objective(config.objective)
    assert section["name"] in {**OBJECTIVES, **SUPERVISED}
    text = path.read_text()
    verb = "finetune" if path.stem in FINETUNED else "pretrain"
    assert text.startswith("# ") and f"textssl {verb} configs/{path.name}" in text
    assert "gpu" not in path.stem or re.search(r"Measured on an H\d00", text)
    assert set(yaml.safe_load(text)) <= set(type(config).model_fields)


@pytest.mark.slow
@pytest.mark.parametrize("name", FINETUNED)
def test_every_configuration_of_fine_tuning_runs_with_only_model_and_labels_given(name, tmp_path):
    save_model(tmp_path / "model", "bert")
    scored = write_pairs(tmp_path / "scored.jsonl", scores=True) if name == "regression" else None
    data = scored or write_topics(tmp_path / "topics.jsonl", 60)
    given = [f"model.pretrained={tmp_path}/model", f"data.train={data}", f"out={tmp_path}/run"]
    short = ["data.sequence_length=32", "train.max_steps=2", "train.batch_size=4", "evaluation.baselines=[tfidf]"]
    result = finetune(ROOT / "configs" / f"{name}.yaml", given + short)
    assert result.summary["steps"] == 2 and result.test and result.baselines


@pytest.mark.slow
@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_has_a_configuration_that_runs(name, tmp_path):
    make_corpus(tmp_path)
    path = ROOT / "configs" / f"{name}.yaml"
    given = [f"tokenizer={tmp_path}/tokenizer", f"data.corpus={tmp_path}/corpus"]
    short = ["train.max_steps=2", "train.batch_size=2", "evaluation.max_rows=4", f"out={tmp_path}/run"]
    assert pretrain(path, given + short).steps == 2
