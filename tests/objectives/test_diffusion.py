"""Masked diffusion: which tokens are hidden at which rate, and the loss against the formula and the exact bound."""

import itertools

import numpy as np
import pytest
import torch

from tests.objectives.embedded import BERT, easy_batch, packed_rows, row_objective, rows_of, train_easily
from textssl.sample_types import IGNORE
from textssl.views.masking import hide_first


@pytest.fixture(scope="module")
def ready():
    objective = row_objective("diffusion", batch_size=8).eval()
    return objective, rows_of(objective, 8)


def shares(batch, objective):
    """(hidden tokens, tokens that can be hidden) of every row."""
    special = [row.special for row in packed_rows(objective, len(batch))]
    return [(int((labels != IGNORE).sum()), int((~of).sum())) for labels, of in zip(batch.labels, special, strict=True)]


def test_the_loss_is_the_cross_entropy_over_the_rate(ready):
    objective, batch = ready
    (term,) = objective(batch).terms.values()
    with torch.no_grad():
        logits = objective.backbone.logits(objective.backbone(batch).flatten(0, 1)).view(8, 64, -1).numpy()
    expected = 0.0
    for row, (hidden, tokens) in enumerate(shares(batch, objective)):
        for place in np.flatnonzero(batch.labels[row] != IGNORE):
            scores = logits[row, place]
            nats = np.log(np.exp(scores - scores.max()).sum()) + scores.max() - scores[batch.labels[row, place]]
            expected += nats * tokens / hidden
    assert float(term.total.detach()) == pytest.approx(expected, rel=1e-6) and term.weight == 1


def test_every_token_of_text_counts_once(ready):
    objective, batch = ready
    assert objective.counts(batch) == {"diffusion": sum(tokens for _, tokens in shares(batch, objective))}
    part = rows_of(objective, 8, [5])
    assert objective.counts(part) == {"diffusion": shares(batch, objective)[5][1]}


def test_the_rates_of_a_step_are_spread_evenly_and_no_special_token_is_hidden(ready):
    objective, batch = ready
    rates = sorted(hidden / tokens for hidden, tokens in shares(batch, objective))
    for part, rate in enumerate(rates):
        assert part / 8 < rate <= (part + 1) / 8 + 1 / 40  # rounded up to a whole token
    for row, labels, ids in zip(packed_rows(objective, 8), batch.labels, batch.ids, strict=True):
        hidden = (labels != IGNORE).numpy()
        assert not (hidden & row.special).any()
        assert np.array_equal(labels.numpy()[hidden], row.ids[hidden])
        assert (ids.numpy()[hidden] == objective.vocabulary.mask).all()
        assert np.array_equal(ids.numpy()[~hidden], row.ids[~hidden])
    few = rows_of(objective, 8, [0, 1, 2, 3])  # the first rows of a step, as a short last one has them
    rates = [hidden / tokens for hidden, tokens in shares(few, objective)]
    assert min(rates) < 0.35 and max(rates) > 0.65


def test_the_mean_over_all_rates_and_orders_is_the_code_length_of_a_random_order():
    """arXiv:2502.09992, eq. 14: the mean over n and the hidden set equals that of the orders in which tokens appear."""
    losses = {  # of token 0, 1 or 2 of a text of three, given the others that are still hidden
        (token, frozenset(hidden)): 1.0 + token + 0.7 * len(hidden) ** 2 + 0.1 * sum(hidden)
        for token in range(3)
        for count in range(3)
        for hidden in itertools.combinations(set(range(3)) - {token}, count)
    }

    def cost(token, hidden):
        return losses[token, frozenset(hidden) - {token}]

    in_order = np.mean([
        sum(cost(token, order[place:]) for place, token in enumerate(order))
        for order in itertools.permutations(range(3))
    ])  # fmt: skip
    found = []
    for order in itertools.permutations([0.1, 0.2, 0.3]):
        for rate in (0.0, 0.34, 0.67):
            chosen, weight = hide_first(np.ones(3, bool), np.array(order), rate)
            hidden = np.flatnonzero(chosen).tolist()
            found.append(weight * sum(cost(token, hidden) for token in hidden))
    assert np.mean(found) == pytest.approx(in_order)


def test_the_number_hidden_is_uniform():
    rates = (np.arange(700) + 0.5) / 700
    counts = [int(hide_first(np.ones(7, bool), np.arange(7.0), rate)[0].sum()) for rate in rates]
    assert np.bincount(counts).tolist() == [0, *[100] * 7]
    chosen, weight = hide_first(np.zeros(4, bool), np.arange(4.0), 0.9)  # a row without text
    assert not chosen.any() and weight == 0


@pytest.mark.slow
def test_the_bound_falls_below_the_entropy_of_words():
    """In documents of one word, over and over, one shown token tells all others."""
    objective = row_objective("diffusion", {**BERT, "hidden_size": 32}).float()
    train_easily(objective, 140)
    batches = [easy_batch(objective, 1_000 + number) for number in range(8)]
    with torch.no_grad():
        nats = sum(float(objective(batch).terms["diffusion"].total) for batch in batches)
    assert nats / sum(objective.counts(batch)["diffusion"] for batch in batches) < 0.9 * np.log(30)
