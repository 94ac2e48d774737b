from __future__ import annotations

import pytest
import torch

from tests.formulas import info_nce_by_hand, nt_xent_by_hand
from textssl.losses.contrast import info_nce, nt_xent


def vectors(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mask(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < 0.3


@pytest.mark.parametrize("temperature", [0.01, 0.05, 1.0, 50.0])
@pytest.mark.parametrize("excluded", [False, True])
def test_info_nce_is_the_formula(temperature, excluded):
    query, key, queue, hard = vectors(7, 5), 3 * vectors(7, 5, seed=1), vectors(9, 5, seed=2), vectors(4, 5, seed=3)
    same = mask(7, 7) if excluded else None
    more = [(queue, mask(7, 9, seed=1)), (hard, None)] if excluded else []
    found = info_nce(query, key, temperature, same=same, more=more)
    arrays = [(keys.numpy(), None if none is None else none.numpy()) for keys, none in more]
    expected = info_nce_by_hand(query.numpy(), key.numpy(), temperature, None if same is None else same.numpy(), arrays)
    assert found.item() == pytest.approx(expected, rel=1e-9)
    assert not excluded or abs(found.item() - info_nce(query, key, temperature).item()) > 1e-6


@pytest.mark.parametrize("temperature", [0.01, 0.05, 1.0, 50.0])
@pytest.mark.parametrize("excluded", [False, True])
def test_nt_xent_is_the_formula(temperature, excluded):
    first, second = vectors(6, 5), 3 * vectors(6, 5, seed=1)
    same = mask(12, 12) | mask(12, 12).T if excluded else None
    before = None if same is None else same.clone()
    found = nt_xent(first, second, temperature, same=same)
    expected = nt_xent_by_hand(first.numpy(), second.numpy(), temperature, None if before is None else before.numpy())
    assert found.item() == pytest.approx(expected, rel=1e-9)
    assert same is None or torch.equal(same, before)  # type: ignore[arg-type]


def test_a_query_whose_keys_are_all_its_own_has_nothing_to_find():
    query, key = vectors(4, 5), vectors(4, 5, seed=1)
    everything = torch.ones(4, 4, dtype=torch.bool)
    assert info_nce(query, key, 0.05, same=everything).item() == 0
    assert nt_xent(query, key, 0.05, same=torch.ones(8, 8, dtype=torch.bool)).item() == 0
    assert info_nce(query[:1], key[:1], 0.05).item() == nt_xent(query[:1], key[:1], 0.05).item() == 0


@pytest.mark.parametrize("temperature", [0.01, 1.0])
def test_what_is_excluded_gets_no_gradient(temperature):
    query, key, queue = (vectors(4, 5, seed=seed).requires_grad_() for seed in range(3))
    same = torch.zeros(4, 4, dtype=torch.bool)
    same[:, 2] = True  # key 2 is a negative of nobody; its own query still wants it
    none = torch.zeros(4, 3, dtype=torch.bool)
    none[:, 1] = True
    info_nce(query, key, temperature, same=same, more=[(queue[:3], none)]).backward()
    assert queue.grad is not None and not queue.grad[1].any() and queue.grad[0].any()
    (alone,) = torch.autograd.grad(info_nce(query, key, temperature, same=same), key)
    assert alone[2].any() and torch.isfinite(alone).all()
    unrelated = query.detach().clone()
    unrelated[2] = 0.0
    (without,) = torch.autograd.grad(info_nce(unrelated, key, temperature, same=same), key)
    assert not without[2].any()  # nobody but its own query moved it


def test_contrast_in_float32_survives_a_small_temperature_and_far_vectors():
    query, key = (vectors(4, 5, seed=seed).float() * 1e4 for seed in range(2))
    for loss in (info_nce(query, key, 1e-3), nt_xent(query, key, 1e-3), info_nce(query, query, 1e-3)):
        assert torch.isfinite(loss) and loss.dtype == torch.float32


def plain_info_nce(query, key, temperature, same, more):
    """By torch's own cross entropy, through which autograd goes."""
    query = torch.nn.functional.normalize(query, dim=1)
    scores = []
    for keys, none in [(key, same & ~torch.eye(len(same), dtype=torch.bool)), *more]:
        block = query @ torch.nn.functional.normalize(keys, dim=1).T / temperature
        scores.append(block if none is None else block.masked_fill(none, -torch.inf))
    return torch.nn.functional.cross_entropy(torch.cat(scores, dim=1), torch.arange(len(query)))


@pytest.mark.parametrize("frozen", [set(), {"query"}, {"key", "queue"}, {"hard"}])
def test_gradients_of_info_nce_are_those_of_the_formula(frozen):
    sizes = {"query": 7, "key": 7, "queue": 9, "hard": 4}
    parts = {name: vectors(size, 5, seed=seed) for seed, (name, size) in enumerate(sizes.items())}
    for name, part in parts.items():
        part.requires_grad_(name not in frozen)
    learned = [part for part in parts.values() if part.requires_grad]
    more = [(parts["queue"], mask(7, 9, seed=1)), (parts["hard"], None)]
    given = parts["query"], parts["key"], 0.3
    found, expected = (
        torch.autograd.grad(2 * loss, learned)
        for loss in (info_nce(*given, same=mask(7, 7), more=more), plain_info_nce(*given, mask(7, 7), more))
    )
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_gradients_of_nt_xent_are_those_of_the_formula():
    views = first, second = tuple(vectors(6, 5, seed=seed).requires_grad_() for seed in range(2))
    same = mask(12, 12) | mask(12, 12).T
    whole = torch.nn.functional.normalize(torch.cat(views), dim=1)
    partner = (torch.arange(12) + 6) % 12
    none = same.clone()
    none[torch.arange(12), partner] = False
    scores = (whole @ whole.T / 0.3).masked_fill(none | torch.eye(12, dtype=torch.bool), -torch.inf)
    expected = torch.autograd.grad(torch.nn.functional.cross_entropy(scores, partner), views)
    found = torch.autograd.grad(nt_xent(first, second, 0.3, same=same), views)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
