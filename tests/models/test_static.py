"""Static encoders against plain loops: the mean, the weights by frequency, the identity block, the folded table."""

import numpy as np
import pytest
import torch

from textssl.batch import Texts, stack_texts
from textssl.errors import UserError
from textssl.models import static
from textssl.models.static import StaticConfig, StaticTable, bag, equal_scale, sif_weights, token_frequencies

VOCABULARY = 30
COUNTS = torch.arange(VOCABULARY) ** 3


def table(**options) -> StaticTable:
    torch.manual_seed(0)
    made = StaticTable(StaticConfig(**{"hidden_size": 8, **options}), token_frequencies(COUNTS)).double()
    with torch.no_grad():
        made.log_weights.add_(torch.randn(VOCABULARY, dtype=torch.float64) * 0.1)
    return made


def batch(*ids) -> Texts:
    places = range(len(ids))
    return stack_texts(places, [np.array(one, np.int64) for one in ids], places, [0.0] * len(ids))


IDS = [[3, 5, 5], [29], [0, 1, 2, 3, 4, 5, 6, 7]]


def mean_by_hand(rows, ids):
    return np.array([np.mean([rows[token] for token in one], axis=0) for one in ids])


def rows_of(made):
    weights = np.exp(made.log_weights.detach().numpy())
    return made.embedding.weight.detach().numpy() * weights[:, None]


def test_a_text_is_the_weighted_mean_of_its_tokens():
    made = table()
    found = made(batch(*IDS)).detach().numpy()
    assert np.allclose(found, mean_by_hand(rows_of(made), IDS), atol=1e-12)
    assert np.allclose(made.folded().numpy(), rows_of(made), atol=1e-6) and made.folded().dtype == torch.float32


def test_weights_begin_with_the_frequencies():
    frequencies = token_frequencies(COUNTS)
    assert frequencies.sum().item() == pytest.approx(1.0, rel=1e-6) and frequencies.min() > 0
    assert frequencies[5].item() == pytest.approx((5**3 + 1) / (int(COUNTS.sum()) + VOCABULARY), rel=1e-6)
    weights = sif_weights(frequencies, 1e-3)
    assert torch.allclose(weights, 1e-3 / (1e-3 + frequencies)) and (weights.diff() <= 0).all()
    made = StaticTable(StaticConfig(hidden_size=8), frequencies)
    assert torch.allclose(made.log_weights.exp(), weights)
    assert (StaticTable(StaticConfig(hidden_size=8, sif=None), frequencies).log_weights == 0).all()


def test_the_identity_block_is_fixed_and_of_the_scale_of_the_learned_one():
    made = table(identity_size=3)
    assert made.trainable_vectors(batch(*IDS)).shape == (3, 5) and made.width == 8
    found = made(batch(*IDS)).detach().numpy()
    share = made.frequencies.numpy()
    learned = rows_of(made)
    learned = learned / np.sqrt((share * (learned**2).sum(1)).sum() / share.sum())
    identity = made.identity.numpy()
    assert (share * (identity**2).sum(1)).sum() == pytest.approx(1.0, rel=1e-5)
    rows = np.concatenate([learned, identity], axis=1)
    assert np.allclose(found, mean_by_hand(rows, IDS), atol=1e-9)
    assert np.allclose(made.folded().numpy(), rows, atol=1e-6)
    directions = made.identity / sif_weights(made.frequencies, 3e-3).unsqueeze(1)
    lengths = directions.norm(dim=1)
    assert torch.allclose(lengths, lengths[0].expand(VOCABULARY), rtol=1e-5)
    torch.manual_seed(7)
    other = StaticTable(StaticConfig(hidden_size=8, identity_size=3), token_frequencies(COUNTS))
    assert torch.allclose(other.double().identity, made.identity, atol=1e-6)
    assert "identity" not in made.state_dict() and "identity" not in dict(made.named_parameters())


def test_what_learns_gets_its_gradient_and_the_identity_none():
    made = table(identity_size=3)
    made.trainable_vectors(batch(*IDS)).square().sum().backward()
    assert made.embedding.weight.grad is not None and made.log_weights.grad is not None
    seen = sorted({token for one in IDS for token in one})
    assert made.embedding.weight.grad.abs().sum(1).nonzero().flatten().tolist() == seen
    assert made.log_weights.grad.nonzero().flatten().tolist() == seen


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("most", [0, 1])
def test_gradients_are_those_of_the_sum_written_out(weighted, most, monkeypatch):
    monkeypatch.setattr(static, "TOKENS_A_ROW", most)  # either way
    texts, rows = batch([7], [3, 5, 5], [29, 3], [0]), torch.randn(VOCABULARY, 4, dtype=torch.float64)
    rows.requires_grad_()
    weights = torch.rand(VOCABULARY, dtype=torch.float64).requires_grad_() if weighted else None
    learned = [rows] if weights is None else [rows, weights]
    scaled = rows if weights is None else rows * weights.unsqueeze(1)
    expected = torch.stack([scaled[ids].mean(0) for ids in texts.ids.split(texts.lengths.tolist())])
    found = bag(rows, texts, weights)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
    for ours, theirs in zip(
        *(torch.autograd.grad(made.exp().sum(), learned) for made in (found, expected)), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)


def test_scales_of_an_empty_table_are_harmless():
    assert equal_scale(torch.zeros(4, 2), torch.ones(4)).item() == 1.0
    assert table()(batch()).shape == (0, 8)


@pytest.mark.parametrize("size", [-1, 8, 9])
def test_the_identity_is_smaller_than_the_vector(size):
    with pytest.raises(UserError, match=f"identity_size is {size}: it must be below hidden_size 8"):
        StaticConfig(hidden_size=8, identity_size=size)
