import json
import math

import numpy as np
import pytest
import torch
from rich.console import Console

from tests.objectives.contrastive import TwoCrops
from tests.tiny import WHOLE_BATCH, make_corpus, sentence_config, tiny_config
from textssl.assembly.pretraining import assemble
from textssl.assembly.runs import start_accelerator
from textssl.batch import Part, stack_texts
from textssl.objectives import resolve_objective
from textssl.objectives.base import Encoded, Term
from textssl.training import step
from textssl.training.signals import StopSignals
from textssl.training.step import StepGradient, even_out, seed_torch

CROPS = "tests.objectives.contrastive:TwoCrops"


def texts_of(count):
    return stack_texts(range(count), [np.arange(3)] * count, range(count), [float("nan")] * count)


@pytest.mark.parametrize("mixture", [False, True])
def test_every_rank_has_the_micro_batches_of_the_one_with_most_in_each_part(monkeypatch, mixture):
    asked = []
    monkeypatch.setattr(step, "most_over_ranks", lambda counts, device: asked.append(counts) or [3, 2][: len(counts)])
    first, second = [texts_of(4), texts_of(2)], [texts_of(1)]
    batches = [*(Part("a", one) for one in first), *(Part("b", one) for one in second)] if mixture else first
    evened = even_out(batches, torch.device("cpu"))
    assert asked == ([[2, 1]] if mixture else [[2]])
    assert [len(one) for one in evened] == ([4, 2, 0, 1, 0] if mixture else [4, 2, 0])
    if mixture:
        assert [one.name for one in evened if isinstance(one, Part)] == [*"aaabb"]
    assert all(one.tokens == one.padded_tokens == 0 for one in evened if not len(one))


def test_rows_are_dealt_evenly_and_need_no_message(monkeypatch, trainer_of_rows):
    monkeypatch.setattr(step, "most_over_ranks", lambda *_: pytest.fail("a message"))
    batches = trainer_of_rows.dataset[0]
    assert even_out(batches, torch.device("cpu")) == batches


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gradcache")
    make_corpus(folder)
    return folder


def made(config):
    objective, config.objective = resolve_objective(config.objective)
    found, _, _ = assemble(config, objective, start_accelerator(config), Console())
    objective.train()
    return found


@pytest.fixture(scope="module")
def trainer_of_rows(folder):
    return made(tiny_config(folder, "mlm"))


@pytest.fixture(scope="module")
def trainer(folder):
    return made(tiny_config(folder, CROPS, "train.precision=float64", "model.dropout=0.2"))


def gradients(objective, run):
    for parameter in objective.parameters():
        parameter.grad = None
    run()
    return {name: p.grad.clone() for name, p in objective.named_parameters() if p.grad is not None}


def test_caching_gives_the_gradient_of_the_full_graph_with_live_dropout(trainer):
    objective, (batch,) = trainer.objective, trainer.dataset[0]
    step = lambda: StepGradient(objective, objective, {}, seed=3, step=1)  # noqa: E731
    direct = gradients(objective, lambda: step().run([batch]))
    cached = gradients(objective, lambda: step().cached([batch]))
    assert direct.keys() == cached.keys() and "log_scale" in direct
    for name, gradient in direct.items():
        assert torch.allclose(cached[name], gradient, atol=1e-12), name
    other = gradients(objective, lambda: StepGradient(objective, objective, {}, 3, 2).run([batch]))
    assert not torch.allclose(other["projector.weight"], direct["projector.weight"], atol=1e-6)  # dropout is alive


def test_seeds_are_a_function_of_where_we_are():
    draws = {}
    for place in [(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (2**62, 10**9, 4000, 2**20)]:
        seed_torch(*place)
        draws[place] = torch.rand(4).tolist()
        seed_torch(*place)
        assert torch.rand(4).tolist() == draws[place]
    assert len({tuple(draw) for draw in draws.values()}) == len(draws)


def step_gradients(trainer, way, step=0):
    """(gradients, features, totals) of a step of a trainer; way: the name of a method of StepGradient."""
    objective, batches = trainer.objective, trainer.dataset[step]
    counts: dict[str, float] = {}
    for batch in batches:
        for name, count in objective.counts(batch).items():
            counts[name] = counts.get(name, 0) + count
    one = StepGradient(objective, trainer.encode, counts, seed=3, step=1)
    found = gradients(objective, lambda: getattr(one, way)(batches))
    return found, one.features, one.totals


def assert_same(found, expected, tolerance):
    assert found.keys() == expected.keys() and expected
    for name, value in expected.items():
        largest = max(1.0, float(value.nan_to_num().abs().max())) if value.numel() else 1.0
        assert torch.allclose(found[name], value, rtol=0, atol=tolerance * largest, equal_nan=True), name


@pytest.mark.slow
@pytest.mark.parametrize("objective", WHOLE_BATCH)
@pytest.mark.parametrize("micro", ["train.micro_batch_size=2", "train.micro_batch_tokens=60"])
def test_caching_equals_one_graph_over_the_same_micro_batches_with_live_dropout(folder, objective, micro):
    config = sentence_config(folder, objective, "train.precision=float64", "model.dropout=0.2", micro)
    trainer = made(config)
    assert len(trainer.dataset[0]) > 2
    live, features, totals = step_gradients(trainer, "live")
    cached, again, totals_again = step_gradients(trainer, "cached")
    assert_same(cached, live, 1e-12)
    assert_same(again, features, 1e-15)
    assert_same(totals_again, totals, 1e-12)
    assert max(gradient.abs().max() for gradient in live.values()) > 1e-3


@pytest.mark.parametrize("objective", WHOLE_BATCH)
def test_micro_batches_of_any_size_give_one_gradient(folder, objective):
    """Without dropout in the forward; the mode of the objective stays that of training."""
    found = []
    for micro in ("null", "1", "3"):
        config = sentence_config(folder, objective, "train.precision=float64", f"train.micro_batch_size={micro}")
        trainer = made(config)
        for module in trainer.objective.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        switch_off_attention_dropout(trainer.objective)
        found.append(step_gradients(trainer, "live" if micro == "null" else "cached"))
    for gradient, features, totals in found[1:]:
        assert_same(gradient, found[0][0], 1e-9)
        assert_same(features, found[0][1], 1e-9)
        assert_same(totals, found[0][2], 1e-9)


def switch_off_attention_dropout(objective):
    for module in objective.modules():
        if isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = 0.0


@pytest.mark.parametrize("loss", ["contrast", "classification", "regression"])
def test_given_pairs_and_what_learns_inside_their_loss_are_cached_exactly(folder, loss):
    lines = [
        {"text_a": f"question {n} and more", "text_b": f"answer {n}", "negative": f"no {n}", "label": n % 3, "score": n}
        for n in range(8)
    ]
    column = {"contrast": (), "classification": ("label",), "regression": ("score",)}[loss]
    keys = ("text_a", "text_b", "negative", *column)
    file = folder / f"{loss}.jsonl"
    file.write_text("".join(json.dumps({key: line[key] for key in keys}) + "\n" for line in lines))
    options = ("train.precision=float64", "model.dropout=0.2", "train.micro_batch_size=2", f"data.pairs={file}")
    trainer = made(sentence_config(folder, "pairs", *options, "objective.score_range=[0,7]"))
    live, _, _ = step_gradients(trainer, "live")
    cached, _, _ = step_gradients(trainer, "cached")
    assert_same(cached, live, 1e-12)
    assert ("classifier.weight" in live) == (loss == "classification")


@pytest.mark.parametrize("objective", ["mlm", "data2vec"])
def test_features_are_gathered_at_logged_steps_and_for_commit_alone(folder, objective, monkeypatch):
    trainer = made(tiny_config(folder, objective, "train.log_every=3"))
    trainer.signals, trainer.seconds_before, trainer.clock_started = StopSignals(), 0.0, 0.0
    gathered = []
    for number in range(6):
        trainer.train_step(trainer.dataset[number], trainer.totals(trainer.dataset[number]))
        gathered.append(bool(trainer.book.features))
    assert gathered == ([False, False, True] * 2 if objective == "mlm" else [True] * 6)


class Wrong(TwoCrops):
    """A contrast with one mistake. mistake: what it does wrong."""

    def __init__(self, mistake: str):
        super().__init__()
        self.mistake = mistake

    def counts(self, batch):
        return {}

    def forward(self, batch):
        terms, features = super().forward(batch)
        if self.mistake == "rows":
            features["query"] = torch.cat([features["query"]] * 2)
        if self.mistake == "count":
            terms["distance"] = Term(features["query"].sum())
        if self.mistake == "buffer":
            self.center += 1
        return Encoded(terms, {} if self.mistake == "features" else features)

    def batch_loss(self, features):
        return {} if self.mistake == "loss" else super().batch_loss(features)


MISTAKES = {
    "rows": "feature query has 16 rows for 8 samples",
    "count": "forward gives the term distance, but counts gives only",
    "features": "Wrong has a batch_loss, but forward gives no features",
    "loss": "batch_loss of Wrong gives no loss",
    "buffer": "changed the buffer center: only commit may",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_of_an_objective_is_named(folder, mistake):
    name = "tests.training.test_step:Wrong"
    trainer = made(tiny_config(folder, name, f"objective={{name: '{name}', mistake: {mistake}}}"))
    gradient = StepGradient(trainer.objective, trainer.encode, {}, seed=0, step=0)
    with pytest.raises(AssertionError, match=MISTAKES[mistake]):
        gradient.run(trainer.dataset[0])


@pytest.mark.parametrize("waits", [False, True], ids=["cpu", "as on a gpu"])
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_step_that_is_not_finite_changes_nothing(folder, optimizer, waits, monkeypatch):
    for module in ("step", "logbook", "optimizer"):
        monkeypatch.setattr(f"textssl.training.{module}.host_waits", lambda tensor: waits)
    config = sentence_config(folder, "moco", f"optimizer.name={optimizer}", "optimizer.weight_decay=0.1")
    trainer = made(config)
    trainer.signals, trainer.seconds_before, trainer.clock_started = StopSignals(), 0.0, 0.0
    batches = trainer.dataset[0]
    totals = trainer.totals(batches)
    trainer.train_step(batches, totals)

    def state():
        kept = [*trainer.objective.state_dict().values()]
        return [v.clone() for v in kept + [v for o in trainer.optimizers for s in o.state.values() for v in s.values()]]

    before = state()
    loss = trainer.objective.batch_loss
    monkeypatch.setattr(trainer.objective, "batch_loss", lambda features: {"moco": loss(features)["moco"] * math.nan})
    trainer.train_step(batches, totals)
    assert all(torch.equal(one, other) for one, other in zip(before, state(), strict=True))
    trainer.book.read()
    assert trainer.book.skipped_steps == 1 and not trainer.book.unread
    monkeypatch.setattr(trainer.objective, "batch_loss", loss)
    trainer.train_step(batches, totals)
    assert not all(torch.equal(one, other) for one, other in zip(before, state(), strict=True))
