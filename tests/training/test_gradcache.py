import pytest
import torch
from rich.console import Console

from tests.tiny import make_corpus, tiny_config
from textssl.objectives import resolve_objective
from textssl.training.gradcache import StepGradient, seed_torch
from textssl.workflows.pretrain import assemble, start_accelerator

CROPS = "tests.objectives.contrastive:TwoCrops"


@pytest.fixture(scope="module")
def trainer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gradcache")
    make_corpus(folder)
    config = tiny_config(folder, CROPS, "train.precision=float64", "model.dropout=0.2")
    objective, config.objective = resolve_objective(config.objective)
    found, _, _ = assemble(config, objective, start_accelerator(config), Console())
    objective.train()
    return found


def gradients(objective, run):
    for parameter in objective.parameters():
        parameter.grad = None
    run()
    return {name: p.grad.clone() for name, p in objective.named_parameters() if p.grad is not None}


def test_caching_gives_the_gradient_of_the_full_graph_with_live_dropout(trainer):
    objective, (batch,) = trainer.objective, trainer.dataset[0]
    step = lambda: StepGradient(objective, objective, {}, seed=3, step=1)  # noqa: E731
    direct = gradients(objective, lambda: step().run([batch], lambda loss: loss.backward()))
    cached = gradients(objective, lambda: step().cached([batch], lambda loss: loss.backward()))
    assert direct.keys() == cached.keys() and "log_scale" in direct
    for name, gradient in direct.items():
        assert torch.allclose(cached[name], gradient, atol=1e-12), name
    other = gradients(
        objective, lambda: StepGradient(objective, objective, {}, 3, 2).run([batch], lambda loss: loss.backward())
    )
    assert not torch.allclose(other["projector.weight"], direct["projector.weight"], atol=1e-6)  # dropout is alive


def test_seeds_are_a_function_of_where_we_are():
    draws = {}
    for place in [(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (2**62, 10**9, 4000, 2**20)]:
        seed_torch(*place)
        draws[place] = torch.rand(4).tolist()
        seed_torch(*place)
        assert torch.rand(4).tolist() == draws[place]
    assert len({tuple(draw) for draw in draws.values()}) == len(draws)
