"""Documents in packed rows give what they give alone, in the encoder, in the decoder and between them."""

from __future__ import annotations

import pytest
import torch

from tests.models.seq2seq.small import CONFIGS, SOURCES, TARGETS, make_pairs, small_seq2seq
from textssl.models.seq2seq import packed
from textssl.models.seq2seq.packed import seen

CLOSE = {"t5": 1e-5, "t5-gated": 1e-5, "mt5": 1e-5, "bart": 2e-5}


def documents(layouts):
    """(row, number of the document in it, its slice) of every document."""
    for row, sizes in enumerate(layouts):
        start = 0
        for number, size in enumerate(sizes, start=1):
            yield row, number, slice(start, start + size)
            start += size


def alone(model, source, target):
    """Logits (tokens, vocabulary) of the stock model for one document, read straight from transformers."""
    with torch.no_grad():
        return model.model(input_ids=source[None], decoder_input_ids=target[None]).logits[0]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("name", CONFIGS)
def test_packed_logits_are_those_of_separate_documents(name, attention):
    model, batch = small_seq2seq(name, attention), make_pairs()
    with torch.no_grad():
        hidden, _ = model(batch)
        found = model.logits(hidden.flatten(0, 1)).unflatten(0, hidden.shape[:2])
    assert torch.isfinite(found).all()
    pairs = list(zip(documents(SOURCES), documents(TARGETS), strict=True))
    assert len(pairs) == 8
    for (row, _, read), (_, _, written) in pairs:
        expected = alone(model, batch.source.ids[row, read], batch.target.ids[row, written])
        scale = expected.abs().max()
        assert (found[row, written] - expected).abs().max() <= CLOSE[name] * scale


@pytest.mark.parametrize("name", CONFIGS)
def test_the_encoder_alone_isolates_too(name):
    model, batch = small_seq2seq(name), make_pairs()
    with torch.no_grad():
        found = model.states(batch.source)
        for row, _, place in documents(SOURCES):
            expected = model.model.get_encoder()(input_ids=batch.source.ids[row, place][None]).last_hidden_state[0]
            torch.testing.assert_close(found[row, place], expected, atol=1e-4, rtol=1e-4)


def change_in_second(model, side, **options):
    """Every token of the first document changes on a side: the largest changes in the first's and second's logits."""
    batches = [make_pairs([[9, 11]], [[6, 8]], (22, 15)) for _ in range(2)]
    ids, end = (batches[1].source.ids, 9) if side == "source" else (batches[1].target.ids, 6)
    ids[0, :end] = 5 + (ids[0, :end] - 5 + 7) % 43
    with torch.no_grad():
        first, second = (model.logits(model(batch)[0][0]) for batch in batches)
    change = (first - second).abs()
    return float(change[:6].max()), float(change[6:14].max())


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("name", CONFIGS)
def test_documents_do_not_see_each_other(name, side):
    first, second = change_in_second(small_seq2seq(name), side)
    assert first > 0.1 and second <= 1e-6 * max(first, 1)


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("name", ["t5", "bart"])
def test_without_the_masks_they_do(name, side, monkeypatch):
    monkeypatch.setattr(packed, "seen", lambda queries, keys, causal=False: seen(queries * 0, keys * 0, causal=causal))
    assert change_in_second(small_seq2seq(name), side)[1] > 0.01


def test_without_the_correction_positions_of_bart_go_on_in_the_row(monkeypatch):
    model, batch = small_seq2seq("bart"), make_pairs([[9, 11]], [[6, 8]], (22, 15))
    with torch.no_grad():
        right = model.logits(model(batch)[0][0])
        monkeypatch.setattr(packed, "inputs_of", lambda stack, rows: {"input_ids": rows.ids})
        wrong = model.logits(model(batch)[0][0])
    change = (right - wrong).abs()
    assert change[:6].max() <= 1e-4 and change[6:14].max() > 0.1


def test_a_target_sees_no_later_token():
    model = small_seq2seq("bart")
    batch, other = make_pairs(), make_pairs()
    other.target.ids[1, 12:17] = 7
    with torch.no_grad():
        change = (model(batch)[0] - model(other)[0]).abs()[1]
    assert change[:12].max() <= 1e-6 and change[12:].max() > 0.01


def test_what_may_be_seen():
    queries, keys = torch.tensor([[1, 1, 2, 0]]), torch.tensor([[1, 2, 2]])
    assert seen(queries, keys)[0, 0].int().tolist() == [[1, 0, 0], [1, 0, 0], [0, 1, 1], [1, 1, 1]]
    assert seen(queries, queries, causal=True)[0, 0].int().tolist() == [
        [1, 0, 0, 0],
        [1, 1, 0, 0],
        [0, 0, 1, 0],
        [1, 1, 1, 1],
    ]
