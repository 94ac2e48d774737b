"""data2vec: the loss against the formula, and what the teacher is."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.objectives.embedded import row_objective, rows_of
from tests.tiny import make_corpus, tiny_config
from textssl.commands.pretrain import pretrain
from textssl.errors import UserError
from textssl.sample_types import IGNORE


@pytest.fixture
def ready():
    """The objective, whose teacher has fallen behind, and a batch of four packed rows."""
    objective = row_objective("data2vec", top_layers=2, beta=0.5, momentum=0.75)
    with torch.no_grad():
        for parameter in objective.backbone.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return objective, rows_of(objective, 4)


def written_out(objective, batch):
    """(sum of the losses over hidden tokens), token by token in numpy."""
    labels = batch.labels.flatten().numpy()
    ids = np.where(labels == IGNORE, batch.ids.flatten().numpy(), labels)
    whole = replace(batch, ids=torch.from_numpy(ids).view_as(batch.ids))
    with torch.no_grad():
        states = objective.head(objective.backbone(batch)).flatten(0, 1).numpy()
        model = objective.teacher.model
        arguments = objective.teacher.arguments(whole)
        layers = model(**arguments, output_hidden_states=True).hidden_states
        layers = [layer.flatten(0, 1).numpy() for layer in layers]
    assert len(layers) == 4  # embeddings and three layers
    total = 0.0
    for place in np.flatnonzero(labels != IGNORE):
        target = np.zeros(32)
        for layer in layers[-2:]:
            state = layer[place]
            target += (state - state.mean()) / np.sqrt(state.var() + 1e-5) / 2
        error = np.abs(states[place] - target)
        total += np.where(error < 0.5, error**2 / (2 * 0.5), error - 0.5 / 2).mean()
    return total


def test_the_loss_is_the_formula(ready):
    objective, batch = ready
    found = objective(batch).terms["data2vec"]
    assert float(found.total.detach()) == pytest.approx(written_out(objective, batch), rel=1e-9)
    assert found.weight == 1 and objective.counts(batch) == {"data2vec": int((batch.labels != IGNORE).sum())}
    hidden = batch.labels != IGNORE
    assert (batch.ids[hidden] == objective.vocabulary.mask).all()


def test_the_teacher_sees_the_hidden_tokens_and_the_student_does_not(ready):
    objective, batch = ready
    before, student = objective.targets(batch), objective.backbone(batch)
    row, place = (batch.labels != IGNORE).nonzero()[0]
    labels = batch.labels.clone()
    labels[row, place] = (labels[row, place] + 1) % objective.vocabulary.size
    other = replace(batch, labels=labels)
    assert not torch.allclose(objective.targets(other)[0], before[0])
    assert torch.equal(objective.backbone(other), student)


def test_targets_stay_in_their_document(ready):
    objective, batch = ready
    before = objective.targets(batch)
    ids = batch.ids.clone()
    second = batch.documents[0] == 2
    ids[0, second] = ids[0, second].flip(0)
    after = objective.targets(replace(batch, ids=ids))
    first = int(((batch.labels != IGNORE)[0] & (batch.documents[0] == 1)).sum())
    assert torch.allclose(after[:first], before[:first], atol=1e-12) and not torch.allclose(after, before)


def test_no_gradient_reaches_the_teacher_and_it_follows_with_the_momentum(ready):
    objective, batch = ready
    objective(batch).terms["data2vec"].total.backward()
    assert all(p.grad is None for p in objective.teacher.parameters())
    assert all(p.grad is not None for p in objective.backbone.parameters())
    assert not objective.train().teacher.training
    old = {name: p.clone() for name, p in objective.teacher.named_parameters()}
    objective.commit({}, 0.5)
    for name, parameter in objective.teacher.named_parameters():
        student = objective.backbone.get_parameter(name)
        assert torch.allclose(parameter, 0.75 * old[name] + 0.25 * student, atol=1e-12), name


def test_the_momentum_moves_with_the_progress_of_the_run():
    objective = row_objective("data2vec", momentum=(0.5, 1.0))
    with torch.no_grad():
        for parameter in objective.backbone.parameters():
            parameter.add_(1.0)
    old = {name: p.clone() for name, p in objective.teacher.named_parameters()}
    objective.commit({}, 1.0)
    assert all(torch.equal(p, old[name]) for name, p in objective.teacher.named_parameters())
    objective.commit({}, 0.0)
    assert all(torch.allclose(p, old[name] + 0.5, atol=1e-12) for name, p in objective.teacher.named_parameters())


def test_more_layers_than_there_are_is_an_error():
    with pytest.raises(UserError, match=r"objective\.top_layers is 4, but the model has 3 layers"):
        row_objective("data2vec", top_layers=4)


def alarm_of(folder, capsys, rate, momentum):
    optimizer = f"optimizer={{name: adamw, lr: {rate}}}"
    steps = ("train.max_steps=24", "train.batch_size=16", "train.log_every=4", "train.checkpoint_every=null")
    options = (optimizer, "schedule={name: constant, warmup_steps: 3}", f"objective.momentum={momentum}", *steps)
    pretrain(tiny_config(folder, "data2vec", *options, out=f"run-{rate}"))
    return "have collapsed" in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_a_teacher_that_is_the_student_collapses_and_the_monitor_says_so(tmp_path, capsys):
    make_corpus(tmp_path)
    assert alarm_of(tmp_path, capsys, 3e-2, 0.0)
    assert not alarm_of(tmp_path, capsys, 3e-3, 0.99)
