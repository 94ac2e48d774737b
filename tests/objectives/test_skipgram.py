"""word2vec: which pairs there are, what is drawn against them, and the loss against the formula."""

from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from tests.objectives.embedded import built, packed_rows
from tests.once import made_once
from tests.tiny import make_corpus, sentence_config
from textssl.assembly.pretraining import assemble
from textssl.assembly.runs import start_accelerator
from textssl.commands.pretrain import pretrain
from textssl.errors import UserError
from textssl.objectives import resolve_objective
from textssl.views.windows import draw_by, kept_rates, seen_around

TABLE = {"model_type": "static", "hidden_size": 12, "init": "random"}


@pytest.fixture(scope="module")
def ready():
    """The objective with context vectors that are not zero, and a batch of three packed rows."""
    objective = built("skipgram", model=TABLE, subsampling=None)
    torch.nn.init.normal_(objective.contexts.weight, generator=torch.Generator().manual_seed(2))
    rows = packed_rows(objective, 3)
    views = [objective.make_view(row, np.random.default_rng(number), 0.0) for number, row in enumerate(rows)]
    return objective, rows, views, objective.collate(views, [0, 1, 2])


def pairs_of(view):
    """(word, context) of a row, from the places that are seen."""
    words, columns = np.nonzero(view.seen)
    others = words + np.array([-5, -4, -3, -2, -1, 1, 2, 3, 4, 5])[columns]
    return list(zip(view.ids[words].tolist(), view.ids[others].tolist(), strict=True))


def test_the_loss_is_equation_4_with_the_negatives_of_the_row(ready):
    objective, rows, views, batch = ready
    words = objective.backbone.backbone.embedding.weight.detach().numpy()
    contexts = objective.contexts.weight.detach().numpy()

    def log_sigmoid(x):
        return -np.log1p(np.exp(-x))

    total = 0.0
    for view in views:
        for word, context in pairs_of(view):
            total -= log_sigmoid(contexts[context] @ words[word])
            total -= 5 / 64 * sum(log_sigmoid(-contexts[drawn] @ words[word]) for drawn in view.negatives)
    found = objective(batch).terms["skipgram"]
    assert float(found.total.detach()) == pytest.approx(total, rel=1e-9) and found.weight == 1
    assert objective.counts(batch) == {"skipgram": sum(len(pairs_of(view)) for view in views)}
    assert batch.tokens == sum(int((row.documents > 0).sum()) for row in rows)
    alone = [objective(objective.collate([view], [0])).terms["skipgram"].total for view in views]
    together = float(torch.stack(alone).sum().detach())
    assert together == pytest.approx(total, rel=1e-9)  # what fills rows up counts nothing


def test_words_see_those_in_their_reach_on_either_side_of_their_own_document():
    groups, reach = np.array([1, 1, 1, 1, 2, 2]), np.array([1, 3, 2, 1, 2, 1])
    words, columns = np.nonzero(seen_around(groups, reach, 3))
    found = list(zip(words.tolist(), (words + np.array([-3, -2, -1, 1, 2, 3])[columns]).tolist(), strict=True))
    expected = [
        (word, other)
        for word in range(6)
        for other in range(6)
        if word != other and abs(word - other) <= reach[word] and groups[word] == groups[other]
    ]
    assert found == expected


def test_words_lie_at_most_a_window_apart_and_every_reach_is_drawn(ready):
    _, rows, views, batch = ready
    for row, view in zip(rows, views, strict=True):
        near = {
            (int(row.ids[a]), int(row.ids[b]))
            for a in range(64)
            for b in range(max(0, a - 5), min(64, a + 6))
            if a != b and row.documents[a] == row.documents[b] > 0
        }
        assert set(pairs_of(view)) <= near
    expected = 2 * np.mean([1, 2, 3, 4, 5]) * sum((~row.special).sum() for row in rows)  # but for ends of documents
    assert 0.7 * expected < batch.pairs < expected


def test_frequent_words_are_left_out_and_drawn_less_than_they_are_frequent():
    frequencies = np.array([0.0, 0.9, 0.09, 0.01])
    kept = kept_rates(frequencies, 0.01)
    assert kept == pytest.approx([1, np.sqrt(0.01 / 0.9), 1 / 3, 1])
    shares = frequencies**0.75
    drawn = draw_by(shares.cumsum(), 100_000, np.random.default_rng(0))
    assert np.bincount(drawn, minlength=4) / 1e5 == pytest.approx(shares / shares.sum(), abs=0.01)
    objective = built("skipgram", model=TABLE, subsampling=1e-5)
    row = packed_rows(objective, 1)[0]
    words = [len(objective.make_view(row, np.random.default_rng(number), 0.0).ids) for number in range(20)]
    rate = objective.kept[row.ids[~row.special]].mean()
    assert rate < 0.2 and np.mean(words) == pytest.approx(rate * (~row.special).sum(), rel=0.3)


def test_a_table_out_of_a_folder_counts_the_text_that_it_is_trained_on(folder):
    short = ("train.max_steps=1", "train.checkpoint_every=null", "evaluation.every=null")
    model = "model={config: {model_type: static, hidden_size: 8, init: random}}"
    pretrain(sentence_config(folder, "skipgram", model, *short, out="begun"))

    def objective_of(model) -> Any:
        config = sentence_config(folder, "skipgram", model, *short, out="goes-on")
        objective, _ = resolve_objective(config.objective)
        assemble(config, objective, start_accelerator(config), Console(quiet=True))
        return objective

    new, loaded = objective_of(model), objective_of(f"model={{pretrained: {folder}/begun/model}}")
    assert loaded.kept == pytest.approx(new.kept, rel=1e-5) and np.ptp(loaded.kept) > 0.3
    assert loaded.cumulative == pytest.approx(new.cumulative, rel=1e-5)


def test_a_row_of_which_nothing_is_left_is_no_pair():
    objective = built("skipgram", model=TABLE)
    objective.kept[:] = 0.0
    view = objective.make_view(packed_rows(objective, 1)[0], np.random.default_rng(0), 0.0)
    batch = objective.collate([view], [0])
    encoded = objective(batch)
    assert len(batch) == 1 and objective.counts(batch) == {"skipgram": 0}
    assert float(encoded.terms["skipgram"].total.detach()) == 0 and encoded.features["word"].shape == (1, 12)


def test_a_transformer_is_refused():
    with pytest.raises(UserError, match=r"skipgram trains a static table: take model\.preset=static-mini"):
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


@pytest.mark.slow
def test_without_negatives_all_vectors_become_one_and_the_monitor_says_so(folder, capsys):
    assert alarm_of(folder, capsys, "objective.negatives=0")
    assert not alarm_of(folder, capsys)
