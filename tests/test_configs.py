"""Every configuration in configs/ loads; each objective's runs with only tokenizer and corpus given."""

from pathlib import Path

import pytest
import yaml

from tests.tiny import make_corpus
from textssl.config import load_config
from textssl.objectives import OBJECTIVES, resolve_objective
from textssl.workflows.pretrain import pretrain

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_configurations_are_valid_and_say_what_they_are(path):
    config = load_config(path)
    _, section = resolve_objective(config.objective)
    assert section["name"] in OBJECTIVES
    text = path.read_text()
    assert text.startswith("# ") and f"textssl pretrain configs/{path.name}" in text
    assert "gpu" not in path.stem or "NOT YET RUN ON A GPU" in text
    assert set(yaml.safe_load(text)) <= set(type(config).model_fields)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_has_a_configuration_that_runs(name, tmp_path):
    make_corpus(tmp_path)
    path = Path(__file__).parents[1] / "configs" / f"{name}.yaml"
    given = [f"tokenizer={tmp_path}/tokenizer", f"data.corpus={tmp_path}/corpus"]
    short = ["train.max_steps=2", "train.batch_size=2", f"out={tmp_path}/run"]
    assert pretrain(path, given + short).steps == 2
