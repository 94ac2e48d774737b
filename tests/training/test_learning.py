"""Every objective on sentences learns: one batch by heart, far below what guessing among its samples costs."""

import json
import math

import pytest

from tests.tiny import SENTENCE_MODELS, make_corpus, sentence_config
from textssl.commands.pretrain import pretrain
from textssl.data.batches.loader import StepDataset

SAMPLES = 8
STATIC = "model={config: {model_type: static, hidden_size: 32, init: random}}"
GENTLE = ("optimizer={name: adamw, lr: 3e-3}", "schedule={name: constant, warmup_steps: 5}", "train.log_every=5")

CHECKPOINTS = "train.checkpoint_every=null"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("learning")
    make_corpus(folder)
    return folder


def losses(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["train/loss"] for line in lines if "train/loss" in line]


SLOWER = ("deepcluster", "tsdae", "skipgram")  # one needs the whole corpus, two rebuild words
FAST = ("moco", "sum")  # which have most that could go wrong: the rest is left out of the fast tests
CASES = [
    pytest.param(name, "transformer", marks=() if name in FAST else pytest.mark.slow)
    for name in SENTENCE_MODELS
    if name not in SLOWER
]
CASES += [pytest.param(name, "static") for name in ("crops", "moco", "pairs")]


@pytest.mark.slow
@pytest.mark.parametrize("objective, kind", CASES)
def test_one_batch_is_learnt_by_heart(folder, objective, kind, monkeypatch, capsys):
    """The queue of moco fills with these very texts, which must not repel themselves."""
    monkeypatch.setattr(StepDataset, "sample_range", lambda self, step: range(SAMPLES))
    faster = "optimizer.lr=3e-2" if kind == "static" else "optimizer.lr=3e-3"
    more = [STATIC] if kind == "static" else ["model.config.num_hidden_layers=1"]
    if objective == "simcse":  # learns by dropout, of which there is more in three layers
        more = ["objective.temperature=0.3"]
    if objective == "swav":  # whose prototypes tell random vectors apart sooner
        more = [*more, "model.embeddings=random"]
    out = f"{objective}-{kind}"
    config = sentence_config(folder, objective, *GENTLE, faster, *more, "train.max_steps=60", CHECKPOINTS, out=out)
    pretrain(config)
    found = losses(folder / out)
    if objective == "sum":
        lines = [json.loads(line) for line in (folder / out / "metrics.jsonl").read_text().splitlines()]
        crops = [line["train/crops"] for line in lines if "train/crops" in line]
        assert found[-1] < 0.7 * found[0] and crops[-1] < 0.2 * math.log(SAMPLES)
    else:
        assert found[-1] < 0.1 * math.log(SAMPLES) and found[-1] < 0.5 * found[0]
    assert "COLLAPSE" not in capsys.readouterr().err


@pytest.mark.slow
def test_neighbours_are_found_among_sentences_never_seen_before(folder):
    """Every step brings other pairs of the corpus, so that nothing is learnt by heart."""
    batch = 16
    options = (STATIC, "optimizer={name: adamw, lr: 3e-2}", f"train.batch_size={batch}", "train.max_steps=200")
    config = sentence_config(folder, "pairs", *options, "train.log_every=10", CHECKPOINTS, out="falls")
    summary = pretrain(config)
    found = losses(folder / "falls")
    assert found[-1] < 0.6 * math.log(batch) < found[0] and (summary.loss or 9) < 0.8 * math.log(batch)
