import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForSeq2SeqLM, AutoTokenizer

from tests.evaluation.folders import model, save_model
from tests.objectives.embedded import built
from tests.tiny import MODELS
from textssl.errors import UserError
from textssl.models.classifier import build_classifier
from textssl.models.layers import layer_depths
from textssl.sample_types import LabelFacts, PairFacts
from textssl.sections import ModelConfig, OptimizerConfig
from textssl.training.optimizer import (
    Muon,
    build_optimizer,
    forget,
    newton_schulz,
    orthogonalize,
    parameter_groups,
    set_lr,
)


class Tied(nn.Module):
    """An embedding tied to its output layer, a hidden matrix with bias, a norm."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(10, 4)
        self.hidden = nn.Linear(4, 6)
        self.norm = nn.LayerNorm(6)
        self.output = nn.Linear(4, 10, bias=False)
        self.output.weight = self.embedding.weight

    def get_output_embeddings(self):
        return self.output


def test_groups_put_every_parameter_once_where_it_belongs():
    module = Tied()
    matrices, decayed, undecayed = parameter_groups(module)
    assert [p.shape for p in matrices] == [(6, 4)]
    assert decayed == []
    assert len(undecayed) == 4  # embedding, bias, norm weight, norm bias
    untied = Tied()
    untied.output.weight = nn.Parameter(torch.zeros(10, 4))
    assert [p.shape for p in parameter_groups(untied)[1]] == [(10, 4)]


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_the_schedule_scales_every_group(name):
    optimizers = build_optimizer(Tied(), OptimizerConfig(name=name, lr=1e-2, adamw_lr=1e-3 if name == "muon" else None))
    assert [type(o).__name__ for o in optimizers] == (["Muon", "AdamW"] if name == "muon" else ["AdamW"])
    set_lr(optimizers, 0.5)
    assert {group["lr"] for group in optimizers[0].param_groups} == {5e-3}
    assert {group["lr"] for group in optimizers[-1].param_groups} == {5e-4 if name == "muon" else 5e-3}


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 8, 24), (2, 24, 8)])
def test_orthogonalize_keeps_the_singular_vectors(shape):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = orthogonalize(matrices)
    for matrix, update in zip(matrices.numpy(), found.numpy(), strict=True):
        left, _, right = np.linalg.svd(matrix, full_matrices=False)
        inner = left.T @ update @ right.T  # diagonal, its entries the new singular values
        assert np.abs(inner - np.diag(np.diag(inner))).max() < 1e-6
        assert np.diag(inner).min() > 0.3 and np.diag(inner).max() < 1.3


def test_muon_is_momentum_orthogonalised_and_scaled():
    weight = nn.Parameter(torch.randn(6, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    start, optimizer = weight.detach().clone(), Muon([weight], lr=0.1, momentum=0.9, weight_decay=0.5)
    momentum = torch.zeros_like(start)
    expected = start.clone()
    for step in range(3):
        gradient = torch.randn(6, 4, generator=torch.Generator().manual_seed(step + 2), dtype=torch.float64)
        weight.grad = gradient.clone()
        optimizer.step()
        momentum = 0.9 * momentum + 0.1 * gradient
        direction = orthogonalize((0.1 * gradient + 0.9 * momentum)[None])[0]
        expected = expected * (1 - 0.1 * 0.5) - 0.1 * 0.2 * 6**0.5 * direction
    assert torch.allclose(weight, expected, atol=1e-12)


@pytest.mark.parametrize("shape", [(2, 64, 64), (2, 64, 192), (2, 192, 64)])
def test_a_narrow_muon_is_near_the_exact_one_and_only_where_the_processor_has_the_format(shape, monkeypatch):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    exact = orthogonalize(matrices)
    monkeypatch.setattr("textssl.training.optimizer.native_bfloat16", lambda cuda: False)
    assert torch.equal(orthogonalize(matrices, narrow=True), exact)
    monkeypatch.setattr("textssl.training.optimizer.native_bfloat16", lambda cuda: not cuda)
    near = orthogonalize(matrices, narrow=True).float()
    assert not torch.equal(near, exact)
    assert torch.cosine_similarity(near.flatten(1), exact.flatten(1)).min() > 0.998
    assert torch.linalg.svdvals(near).max() < 1.3
    assert torch.equal(orthogonalize(matrices.double(), narrow=True), orthogonalize(matrices.double()))


def test_muon_is_narrow_in_a_run_in_bfloat16():
    for precision in ("float32", "bfloat16"):
        muon = build_optimizer(Tied(), OptimizerConfig(name="muon"), precision)[0]
        assert isinstance(muon, Muon) and muon.narrow == (precision == "bfloat16")


@pytest.mark.parametrize("dtype, atol", [(torch.float64, 1e-10), (torch.float32, 1e-4)])
def test_the_short_cut_for_wide_matrices_changes_nothing(dtype, atol):
    x = torch.randn(2, 16, 48, generator=torch.Generator().manual_seed(0), dtype=dtype)
    direct = newton_schulz(x / x.norm(dim=(1, 2), keepdim=True), 5)
    assert torch.allclose(orthogonalize(x), direct, atol=atol)
    assert torch.allclose(orthogonalize(x.mT), direct.mT, atol=atol)


@pytest.mark.parametrize("name", ["adamw", "muon"])
@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_rates_fall_by_the_decay_with_every_layer_below(family, name):
    module, slower = model(family), 1e-3 if name == "muon" else None
    optimizers = build_optimizer(module, OptimizerConfig(name=name, lr=1e-2, adamw_lr=slower, layer_decay=0.5))
    depths, layers = layer_depths(module)
    rates = {
        id(parameter): (group["peak_lr"], 1e-2 if isinstance(optimizer, Muon) or slower is None else slower)
        for optimizer in optimizers
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert len(rates) == len(list(module.parameters()))
    for key, parameter in module.named_parameters():
        rate, peak = rates[id(parameter)]
        assert rate == pytest.approx(peak * 0.5 ** (layers + 1 - depths[key])), key
    shares = {round(rate / peak, 6) for rate, peak in rates.values()}
    assert shares == {0.5**power for power in range(layers + 2)}
    set_lr(optimizers, 0.1)
    for group in (group for optimizer in optimizers for group in optimizer.param_groups):
        assert group["lr"] == pytest.approx(0.1 * group["peak_lr"])


def test_decay_leaves_the_weight_decay_of_a_parameter():
    plain, decayed = (
        build_optimizer(model("bert"), OptimizerConfig(name="adamw", layer_decay=decay)) for decay in (1.0, 0.5)
    )
    assert len(plain[0].param_groups) == 2 < len(decayed[0].param_groups)
    found = [
        {id(parameter): group["weight_decay"] for group in one[0].param_groups for parameter in group["params"]}
        for one in (plain, decayed)
    ]
    assert found[0] == found[1] and set(found[0].values()) == {0.0, OptimizerConfig().weight_decay}


def test_frozen_parameters_are_in_no_group_and_a_model_without_layers_has_no_decay():
    module = Tied()
    module.hidden.weight.requires_grad_(False)
    assert all(
        p is not module.hidden.weight
        for o in build_optimizer(module, OptimizerConfig())
        for g in o.param_groups
        for p in g["params"]
    )
    with pytest.raises(UserError, match=r"optimizer\.layer_decay is below 1, but the model has no layers"):
        build_optimizer(Tied(), OptimizerConfig(layer_decay=0.9))


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_two_stacks_of_layers_have_no_decay(family):
    module = AutoModelForSeq2SeqLM.from_config(AutoConfig.for_model(**MODELS[family]))
    with pytest.raises(UserError, match=r"optimizer\.layer_decay is for models of one stack of layers"):
        build_optimizer(module, OptimizerConfig(layer_decay=0.9))
    assert build_optimizer(module, OptimizerConfig())


@pytest.mark.parametrize("family", ["bert", "modernbert", "llama", "gpt2"])
@pytest.mark.parametrize("facts", [LabelFacts(tuple("abc"), (2, 2, 2)), LabelFacts()])
def test_the_output_layer_of_a_classifier_is_adamws_and_the_head_below_it_muons(family, facts, tmp_path):
    folder = save_model(tmp_path, family)
    words = AutoTokenizer.from_pretrained(folder)
    spec = ModelConfig(pretrained=str(folder))
    backbone = build_classifier(spec, words, facts, sequence_length=16, seed=0)
    matrices, decayed, _ = parameter_groups(backbone)
    assert [len(parameter) for parameter in decayed] == [len(facts.classes) or 1]
    assert {id(p) for p in matrices} >= {id(m.weight) for m in backbone.modules() if is_hidden(m, decayed)}
    muon, adamw = build_optimizer(backbone, OptimizerConfig(name="muon", lr=1e-2, adamw_lr=1e-4))
    rates = {id(p): group["lr"] for one in (muon, adamw) for group in one.param_groups for p in group["params"]}
    assert rates[id(decayed[0])] == 1e-4


def is_hidden(layer: nn.Module, outputs: list[nn.Parameter]) -> bool:
    return isinstance(layer, nn.Linear) and all(layer.weight is not weight for weight in outputs)


def test_the_classifier_of_labelled_pairs_is_adamws_and_a_projector_muons():
    pairs = built("pairs", facts=PairFacts(classes=("no", "yes")))
    assert [id(parameter) for parameter in parameter_groups(pairs)[1]] == [id(pairs.classifier.weight)]
    assert parameter_groups(built("pairs"))[1] == []
    crops = built("crops", projector_width=8)
    assert parameter_groups(crops)[1] == []


def test_a_parameter_that_is_forgotten_begins_anew_and_others_go_on():
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    fresh = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    (optimizer,) = build_optimizer(layers, OptimizerConfig(name="adamw"))
    (other,) = build_optimizer(fresh, OptimizerConfig(name="adamw"))

    def learn(model, by, seed):
        inputs = torch.randn(8, 4, generator=torch.Generator().manual_seed(seed))
        model(inputs).square().sum().backward()
        by.step()
        by.zero_grad()

    for seed in range(3):
        learn(layers, optimizer, seed)
    first, second = (layers.get_parameter(f"{place}.weight") for place in (0, 1))
    kept = optimizer.state[first]["exp_avg"].clone()
    forget([optimizer], [second])
    assert torch.equal(optimizer.state[first]["exp_avg"], kept) and kept.abs().sum() > 0
    fresh.load_state_dict(layers.state_dict())
    learn(layers, optimizer, 9)
    learn(fresh, other, 9)
    assert torch.equal(second, fresh.get_parameter("1.weight"))
    assert not torch.equal(first, fresh.get_parameter("0.weight"))
