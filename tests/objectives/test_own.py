"""Objectives outside of the package: short, the same in any world, watched, exported; and the page about them."""

from __future__ import annotations

import ast
import inspect
import json
import re
from pathlib import Path

import pytest
from sentence_transformers import SentenceTransformer
from transformers import AutoModel

from tests.forked import Ranks
from tests.own.barlow import BarlowTwins
from tests.own.data2vec import Data2Vec
from tests.tiny import make_corpus, tiny_config

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "own-objective.md"
OPTIONS = ("train.max_steps=8", "train.precision=float64", "train.micro_batch_size=3", "train.log_every=1")
OVERRIDES = {
    "byol": ["objective.projector_width=24"],
    "barlow": ["objective.view=deletion", "train.batch_size=32"],  # crops of random words have nothing in common
    "data2vec": [],
}
NAMES = {
    "byol": "byol:BYOL",
    "barlow": "tests.own.barlow:BarlowTwins",
    "data2vec": "tests.own.data2vec:Data2Vec",
}


def page_code() -> str:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return code


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    make_corpus(folder)
    (folder / "byol.py").write_text(page_code(), encoding="utf-8")
    return folder


def lines_of(source: str) -> int:
    """Lines of code without imports, docstrings and blank lines."""
    kept = [node for node in ast.parse(source).body if not isinstance(node, ast.Import | ast.ImportFrom)]
    return sum(bool(line.strip()) for node in kept for line in ast.unparse(node).splitlines())


def test_they_are_short():
    assert lines_of(page_code()) <= 35
    for objective in (BarlowTwins, Data2Vec):
        assert lines_of(inspect.getsource(objective)) <= 35


def trained(folder: Path, name: str, processes: int) -> list[float]:
    """The losses of 8 steps in a folder whose modules the command line must find by itself."""
    out = f"{name}-{processes}"
    config = tiny_config(folder, "mlm", *OPTIONS, out=out)
    values = config.model_dump(mode="json")
    values["objective"] = {"name": NAMES[name]}
    file = folder / f"{out}.yaml"
    file.write_text(json.dumps(values))
    command = ["pretrain", str(file), *OVERRIDES[name]]
    ranks = Ranks(command, processes, cwd=folder)
    _, errors = ranks.communicate()
    assert ranks.returncode == 0, errors[-3000:]
    logged = [json.loads(line) for line in (folder / out / "metrics.jsonl").read_text().splitlines()]
    assert all("features/rankme" in line for line in logged if "train/loss" in line), "the monitor watches"
    return [line["train/loss"] for line in logged if "train/loss" in line]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_one_process_and_two_have_the_same_losses(folder, name):
    one, two = trained(folder, name, 1), trained(folder, name, 2)
    assert len(one) == len(two) == 8
    assert one == pytest.approx(two, abs=1e-9) and min(one[4:]) < one[0]
    model = folder / f"{name}-2" / "model"
    if name == "data2vec":
        assert AutoModel.from_pretrained(model).config.hidden_size == 32
    else:
        assert SentenceTransformer(str(model), device="cpu").encode(["a river"]).shape == (1, 32)
