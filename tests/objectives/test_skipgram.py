"""word2vec: which pairs there are, what is drawn against them, and the loss against the formula."""

import numpy as np
import pytest
import torch

from tests.objectives.embedded import built, packed_rows
from tests.once import made_once
from tests.tiny import make_corpus, sentence_config
from textssl.commands.pretrain import pretrain
from textssl.errors import UserError
from textssl.views.windows import draw_by, kept_rates, window_pairs

TABLE = {"model_type": "static", "hidden_size": 12, "init": "random"}


@pytest.fixture(scope="module")
def ready():
    """The objective with context vectors that are not zero, and a batch of three packed rows."""
    objective = built("skipgram", model=TABLE, subsampling=None)
    torch.nn.init.normal_(objective.contexts.weight, generator=torch.Generator().manual_seed(2))
    rows = packed_rows(objective, 3)
    views = [objective.make_view(row, np.random.default_rng(number), 0.0) for number, row in enumerate(rows)]
    return objective, rows, views, objective.collate(views, [0, 1, 2])


def test_the_loss_is_equation_4(ready):
    objective, _, _, batch = ready
    words = objective.backbone.backbone.embedding.weight.detach().numpy()
    contexts = objective.contexts.weight.detach().numpy()

    def log_sigmoid(x):
        return -np.log1p(np.exp(-x))

    total = 0.0
    for word, context, negatives in zip(
        batch.words.tolist(), batch.contexts.tolist(), batch.negatives.tolist(), strict=True
    ):
        total -= log_sigmoid(contexts[context] @ words[word])
        total -= sum(log_sigmoid(-contexts[drawn] @ words[word]) for drawn in negatives if drawn != context)
    found = objective(batch).terms["skipgram"]
    assert float(found.total.detach()) == pytest.approx(total, rel=1e-9) and found.weight == 1
    assert objective.counts(batch) == {"skipgram": len(batch.words)} and batch.negatives.shape == (len(batch.words), 5)
    assert (batch.negatives == batch.contexts[:, None]).any()  # a draw that does not count is among them
    assert batch.tokens == sum(int((row.documents > 0).sum()) for row in ready[1])


def test_pairs_are_those_of_the_windows(ready):
    """Every word with those at most its reach away, on either side, of its own document."""
    groups, reach = np.array([1, 1, 1, 1, 2, 2]), np.array([1, 3, 2, 1, 2, 1])
    words, others = window_pairs(groups, reach, 3)
    found = list(zip(words.tolist(), others.tolist(), strict=True))
    expected = [
        (word, other)
        for word in range(6)
        for other in range(6)
        if word != other and abs(word - other) <= reach[word] and groups[word] == groups[other]
    ]
    assert found == expected


def test_words_lie_at_most_a_window_apart_and_every_reach_is_drawn(ready):
    objective, rows, views, batch = ready
    number = 0
    for row, view in zip(rows, views, strict=True):
        near = {
            (int(row.ids[a]), int(row.ids[b]))
            for a in range(64)
            for b in range(max(0, a - 5), min(64, a + 6))
            if a != b and row.documents[a] == row.documents[b] > 0
        }
        assert set(zip(view.words.tolist(), view.contexts.tolist(), strict=True)) <= near
        number += len(view.words)
    expected = 2 * np.mean([1, 2, 3, 4, 5]) * sum((~row.special).sum() for row in rows)  # but for ends of documents
    assert 0.7 * expected < number < expected
    assert number == len(batch.words) and batch.rows.bincount().tolist() == [len(view.words) for view in views]


def test_frequent_words_are_left_out_and_drawn_less_than_they_are_frequent():
    frequencies = np.array([0.0, 0.9, 0.09, 0.01])
    kept = kept_rates(frequencies, 0.01)
    assert kept == pytest.approx([1, np.sqrt(0.01 / 0.9), 1 / 3, 1])
    shares = frequencies**0.75
    drawn = draw_by(shares.cumsum(), (20_000, 5), np.random.default_rng(0))
    assert np.bincount(drawn.ravel(), minlength=4) / 1e5 == pytest.approx(shares / shares.sum(), abs=0.01)
    objective = built("skipgram", model=TABLE, subsampling=1e-5)
    row = packed_rows(objective, 1)[0]
    counts = [len(objective.make_view(row, np.random.default_rng(number), 0.0).words) for number in range(20)]
    assert np.mean(counts) < 0.2 * 6 * 64  # few are left, and their windows reach further


def test_a_row_of_which_nothing_is_left_is_no_pair():
    objective = built("skipgram", model=TABLE)
    objective.kept[:] = 0.0
    view = objective.make_view(packed_rows(objective, 1)[0], np.random.default_rng(0), 0.0)
    batch = objective.collate([view], [0])
    encoded = objective(batch)
    assert len(batch) == 1 and objective.counts(batch) == {"skipgram": 0}
    assert float(encoded.terms["skipgram"].total.detach()) == 0 and encoded.features["word"].shape == (1, 12)


def test_a_transformer_is_refused():
    with pytest.raises(UserError, match="skipgram trains a static table: take model.preset=static-mini"):
        built("skipgram")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return made_once(tmp_path_factory, "skipgram", make_corpus)


def alarm_of(folder, capsys, *overrides):
    model = "model={config: {model_type: static, hidden_size: 32, init: random, init_std: 0.03}}"
    steps = ("train.max_steps=56", "train.batch_size=32", "train.log_every=8", "train.checkpoint_every=null")
    options = (model, "optimizer={name: adamw, lr: 3e-2}", *steps, *overrides)
    pretrain(sentence_config(folder, "skipgram", *options, out=f"run-{len(overrides)}"))
    return "have collapsed" in " ".join(capsys.readouterr().err.split())


def test_without_negatives_all_vectors_become_one_and_the_monitor_says_so(folder, capsys):
    assert alarm_of(folder, capsys, "objective.negatives=0")
    assert not alarm_of(folder, capsys)
