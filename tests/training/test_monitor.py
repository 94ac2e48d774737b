"""The monitor: healthy features pass, a known collapse is announced with its cause, and may end the run."""

import json

import numpy as np
import pytest
import torch

from tests.tiny import make_corpus, sentence_config, tiny_config
from textssl.commands.pretrain import pretrain
from textssl.errors import UserError
from textssl.evaluation.figures.geometry import mean_cosine, normalised_std, rankme
from textssl.objectives import OBJECTIVES
from textssl.objectives.base import Watched
from textssl.objectives.simcse import SimCSE
from textssl.training.monitor import PATIENCE, Monitor

ATTRACTING = "objective={name: 'tests.objectives.attracting:Attracting', view: {min_tokens: 4, max_tokens: 20}}"
QUICK = (
    "model.embeddings=random",
    "optimizer={name: adamw, lr: 1e-2}",
    "schedule={name: constant, warmup_steps: 0}",
    "train.batch_size=16",
)


def draw(rows=64, width=32, seed=0):
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def watched(features, projector=None):
    return Watched(features, projector, features, features + 0.1 * draw(*features.shape, seed=5))


ONE_POINT = 1 + 0.01 * draw()
FEW_DIRECTIONS = draw(width=2) @ draw(rows=2, seed=1)


def alarms(monitor, features, looks):
    found = []
    for _ in range(looks):
        monitor.look(watched(features))
        found.append(monitor.alarm("crops", SimCSE.against_collapse))
    return found


def test_figures_are_those_of_geometry_and_of_the_pairs():
    features, projected = draw(), draw(width=8, seed=3)
    seen = Watched(features, projected, projected, projected + draw(width=8, seed=4))
    figures = Monitor().look(seen)
    for name, sample in (("features", features.numpy()), ("projector", projected.numpy())):
        assert figures[f"{name}/normalised_std"] == pytest.approx(normalised_std(sample))
        assert figures[f"{name}/rankme"] == pytest.approx(rankme(sample))
        assert figures[f"{name}/mean_cosine"] == pytest.approx(mean_cosine(sample))
    assert seen.anchors is not None and seen.positives is not None
    anchors, positives = seen.anchors.numpy(), seen.positives.numpy()
    cosines = [[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in positives] for a in anchors]
    others = [cosines[i][j] for i in range(64) for j in range(64) if i != j]
    assert figures["features/positive_similarity"] == pytest.approx(np.mean(np.diag(cosines)))
    assert figures["features/negative_similarity"] == pytest.approx(np.mean(others))
    assert "projector/rankme" not in Monitor().look(watched(features))


def test_healthy_features_give_no_alarm():
    monitor = Monitor()
    assert alarms(monitor, draw(), 10) == [None] * 10
    assert alarms(monitor, 0.5 + draw(), 10) == [None] * 10  # a common direction is no collapse
    assert alarms(monitor, draw(rows=8), 10) == [None] * 10  # few rows cannot have a high rank
    assert alarms(monitor, draw(width=4), 10) == [None] * 10  # nor can narrow vectors


@pytest.mark.parametrize(
    ("features", "what", "why"),
    [
        (ONE_POINT, "all texts get nearly the same vector", "nothing in the loss keeps vectors apart"),
        (FEW_DIRECTIONS, "the vectors span only a few directions", "the task can be solved with little information"),
        (ONE_POINT[:, :8], "all texts get nearly the same vector", "nothing in the loss keeps vectors apart"),
        (torch.zeros(64, 32), "all texts get nearly the same vector", "nothing in the loss keeps vectors apart"),
    ],
)
def test_a_collapse_is_announced_once_with_its_likely_cause(features, what, why):
    found = alarms(Monitor(), features, PATIENCE + 5)
    assert found[: PATIENCE - 1] == [None] * (PATIENCE - 1) and found[PATIENCE:] == [None] * 5
    message = found[PATIENCE - 1]
    assert f"the features of crops have collapsed: {what} (spread" in message and f"Likely cause: {why}" in message


def test_a_narrow_beginning_is_forgiven():
    monitor = Monitor()
    assert alarms(monitor, ONE_POINT, PATIENCE - 1) == [None] * (PATIENCE - 1)
    assert alarms(monitor, draw(), 1) == alarms(monitor, ONE_POINT, 1) == [None]
    assert alarms(monitor, ONE_POINT, PATIENCE - 1)[-1] is not None


def test_the_count_of_narrow_looks_survives_a_resume():
    first, second = Monitor(), Monitor()
    assert alarms(first, ONE_POINT, PATIENCE - 1) == [None] * (PATIENCE - 1)
    second.restore(json.loads(json.dumps(first.state())))
    assert alarms(second, ONE_POINT, 1)[0] is not None
    third = Monitor()
    third.restore(second.state())
    assert alarms(third, ONE_POINT, PATIENCE + 1) == [None] * (PATIENCE + 1)  # said before


def test_a_single_row_has_figures_that_are_no_number_and_no_alarm_is_false():
    figures = Monitor().look(watched(draw(rows=1)))
    assert "features/positive_similarity" not in figures and np.isnan(figures["features/mean_cosine"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("monitor")
    make_corpus(folder)
    return folder


def metrics(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "train/loss" in line]


@pytest.mark.slow
def test_what_only_attracts_collapses_and_is_announced(folder, capsys):
    pretrain(sentence_config(folder, "crops", ATTRACTING, *QUICK, "train.max_steps=40", out="collapse"))
    lines = metrics(folder / "collapse")
    for name, first, last in (("normalised_std", 0.5, 0.1), ("rankme", 8, 4)):
        values = [line[f"features/{name}"] for line in lines]
        assert values[0] > first and values[-1] < last
    assert lines[-1]["features/mean_cosine"] > 0.98 and lines[-1]["features/negative_similarity"] > 0.98
    shown = " ".join(capsys.readouterr().err.split())
    assert shown.count("COLLAPSE at step") == 1
    assert "Likely cause: nothing in the loss keeps vectors apart" in shown


DIRECT = "objective.projector_width=null"  # the loss sees the vectors themselves
NARROW = (DIRECT, "objective.projector_out=null")
KNOWN = {  # what each method is without the part that holds it open
    "byol": (DIRECT, "objective.predictor_width=null", "objective.momentum=0"),
    "simsiam": (DIRECT, "objective.predictor_width=null"),
    "barlow": (*NARROW, "objective.redundancy=0"),
    "vicreg": (*NARROW, "objective.variance=0", "objective.covariance=0"),
    "whitening": (*NARROW, "objective.shrinkage=1", "objective.slice_size=16"),
    "sigreg": (*NARROW, "objective.gaussian=0"),
    "swav": (DIRECT, "objective.rounds=0"),
    "deepcluster": ("objective.num_clusters=2", "optimizer.lr=3e-2"),
    "cpc": ("objective.temperature=100", "objective.same_document=false"),
    "order": ("objective.segments=2", "objective.distance_weight=0", "objective.hidden_width=1"),
}


def fast(names, *chosen):
    """Parameters, of which only the chosen ones are among the fast tests."""
    return [pytest.param(name, marks=() if name in chosen else pytest.mark.slow) for name in names]


@pytest.mark.slow
@pytest.mark.parametrize("objective", fast(KNOWN, "byol", "swav"))
def test_what_holds_a_method_open_is_missed(folder, objective, capsys):
    options = (*QUICK, *KNOWN[objective], "train.checkpoint_every=null")
    pretrain(sentence_config(folder, objective, *options, "train.max_steps=40", out=objective))
    assert min(line["features/rankme"] for line in metrics(folder / objective)) < 4
    shown = " ".join(capsys.readouterr().err.split())
    assert shown.count("COLLAPSE at step") == 1 and f"the features of {objective} have collapsed" in shown


ROWS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("clm", "hybrid", "replaced_token"), ("optimizer.lr=0.3", "train.max_grad_norm=null")),
    **dict.fromkeys(("diffusion", "infilling", "data2vec"), ("optimizer.lr=1", "train.max_grad_norm=null")),
    "mlm": ("objective.mask_rate=0.99", "objective.random_rate=0", "objective.keep_rate=0"),  # nothing left to read
}


@pytest.mark.slow
@pytest.mark.parametrize("objective", fast(ROWS, "mlm"))
def test_rows_that_all_get_one_state_are_missed(folder, objective, capsys):
    options = (*QUICK[1:], *ROWS[objective], "train.checkpoint_every=null", "train.log_every=2")
    pretrain(tiny_config(folder, objective, *options, "train.max_steps=24", out=objective))
    assert min(line["features/normalised_std"] for line in metrics(folder / objective)) < 0.1
    shown = " ".join(capsys.readouterr().err.split())
    assert shown.count("COLLAPSE at step") == 1 and f"the features of {objective} have collapsed" in shown


@pytest.mark.slow
@pytest.mark.parametrize("objective", ROWS)
def test_rows_of_untrained_models_give_no_false_alarm(folder, objective, capsys):
    options = ("model.embeddings=random",) if objective != "infilling" else ()
    options = (*options, "train.batch_size=16", "train.log_every=2", "train.stop_on_collapse=true")
    pretrain(tiny_config(folder, objective, *options, "train.max_steps=16", out=f"untrained-{objective}"))
    assert "COLLAPSE" not in capsys.readouterr().err


def test_a_step_of_few_rows_says_nothing_of_the_looks_around_it():
    monitor = Monitor()
    for rows in (32, 32, 8, 32):
        monitor.look(Watched(torch.ones(rows, 20)))
    assert monitor.collapsed_in_row == 3


def test_logits_of_a_family_without_states_give_no_false_alarm(folder, capsys):
    """They share the frequencies of tokens, and so are nearly alike."""
    mpnet = "{model_type: mpnet, hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 32}"
    options = ("train.batch_size=16", "train.max_steps=6", "evaluation.every=null", "train.checkpoint_every=null")
    pretrain(tiny_config(folder, "mlm", f"model={{config: {mpnet}}}", *options, out="logits"))
    assert not [name for line in metrics(folder / "logits") for name in line if name.startswith("features/")]
    assert "COLLAPSE" not in capsys.readouterr().err


def test_every_objective_has_a_collapse_that_is_caught():
    pairs = {"crops", "simcse", "moco", "pairs"}  # of InfoNCE, as `Attracting` is without what repels
    others = {"tsdae", "skipgram"}  # tests of their own
    assert {*KNOWN, *ROWS} | pairs | others == set(OBJECTIVES) - {"sum"}


def test_a_run_may_end_there_with_one_error(folder):
    options = (ATTRACTING, *QUICK, "train.stop_on_collapse=true", "train.max_steps=40")
    with pytest.raises(UserError, match=r"^step \d+: the features of .*Attracting have collapsed: .* Likely cause"):
        pretrain(sentence_config(folder, "crops", *options, out="stopped"))
    assert len(metrics(folder / "stopped")) < 40 and not (folder / "stopped" / "summary.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("objective", fast(["simcse", "crops", "moco", "pairs", "byol", "vicreg"], "crops"))
@pytest.mark.parametrize("family", ["bert", "llama"])
def test_untrained_transformers_give_no_false_alarm(folder, objective, family, capsys):
    shape = "hidden_size: 64, intermediate_size: 128, num_hidden_layers: 4, num_attention_heads: 4"
    model = f"model={{config: {{model_type: {family}, {shape}}}, dropout: 0.1}}"
    options = (model, "train.batch_size=32", "train.max_steps=6", "optimizer.lr=1e-3", "train.stop_on_collapse=true")
    pretrain(sentence_config(folder, objective, *options, out=f"untrained-{objective}-{family}"))
    assert "COLLAPSE" not in capsys.readouterr().err


def test_the_projector_is_logged_beside_the_encoder(folder):
    pretrain(sentence_config(folder, "crops", "objective.projector_width=12", "train.max_steps=3", out="projector"))
    line = metrics(folder / "projector")[-1]
    assert line["projector/rankme"] <= 8 and {"projector/normalised_std", "projector/mean_cosine"} <= line.keys()
    pretrain(sentence_config(folder, "crops", "train.max_steps=3", out="no-projector"))
    assert not any(name.startswith("projector/") for name in metrics(folder / "no-projector")[-1])
