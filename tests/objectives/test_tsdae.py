"""TSDAE: what is deleted, the decoder's likelihood token by token, and that it needs the vector."""

import json

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from tests.objectives.embedded import BERT, built, row_texts
from tests.tiny import make_corpus, tiny_config, tiny_tokenizer
from textssl.batch import stack_texts
from textssl.commands.pretrain import pretrain
from textssl.objectives.tsdae import of_view
from textssl.sample_types import WORD_START, Document


def sentence(length, seed=0):
    ids = np.random.default_rng(seed).integers(10, 500, length)
    marks = np.where(np.arange(length) % 2 == 0, WORD_START, 0).astype(np.uint8)  # words of two tokens
    return Document(ids, marks)


@pytest.fixture(scope="module")
def ready():
    objective = built("tsdae").eval()
    views = [objective.make_view(sentence(length, length), np.random.default_rng(length), 0.0) for length in (7, 12, 3)]
    return objective, row_texts(objective, views)


def test_most_words_go_and_the_others_stay_whole_and_in_order():
    objective = built("tsdae", deletion_rate=0.6)
    left, words = 0, 0
    for seed in range(200):
        whole = sentence(20, seed)
        shortened, target = objective.make_view(whole, np.random.default_rng(seed), 0.0).texts
        assert target is whole.ids and len(shortened) >= 2
        pairs = whole.ids.reshape(-1, 2).tolist()
        found = shortened.reshape(-1, 2).tolist()
        places = [pairs.index(pair) for pair in found]
        assert places == sorted(places)
        left, words = left + len(found), words + len(pairs)
    assert left / words == pytest.approx(0.4, abs=0.04)


def test_the_total_is_the_likelihood_of_each_token_given_those_before_it_and_the_vector(ready):
    objective, batch = ready
    (term,) = objective(batch).terms.values()
    first, whole = of_view(batch, 0), of_view(batch, 1)
    table = objective.decoder.weight.detach().numpy()
    expected, tokens = 0.0, 0
    with torch.no_grad():
        vectors = objective.backbone(first)
        for vector, text in zip(vectors, whole.ids.split(whole.lengths.tolist()), strict=True):
            for place in range(1, len(text)):  # the token in front is given
                shown = torch.cat([text[:place], torch.tensor([7])])  # what comes after does not matter
                state = objective.decoder(vector.unsqueeze(0), shown.unsqueeze(0))[0, place].numpy()
                scores = table @ state + objective.decoder.bias.detach().numpy()
                expected += np.log(np.exp(scores - scores.max()).sum()) + scores.max() - scores[text[place]]
                tokens += 1
    assert float(term.total.detach()) == pytest.approx(expected, rel=1e-9)
    assert objective.counts(batch) == {"tsdae": tokens} and term.weight == 1


def test_the_two_texts_of_a_sample_are_told_apart(ready):
    _, batch = ready
    first, whole = of_view(batch, 0), of_view(batch, 1)
    assert whole.lengths.tolist() == [9, 14, 5] and first.samples.tolist() == [0, 2, 4]
    assert torch.equal(whole.ids[1:8], torch.from_numpy(sentence(7, 7).ids))
    assert len(first.ids) + len(whole.ids) == len(batch.ids) and whole.longest == 14


def test_the_encoder_learns_through_the_vector_alone_and_owns_the_embeddings(ready):
    objective, batch = ready
    tables = [name for name, p in objective.named_parameters() if p.ndim == 2 and len(p) == len(tiny_tokenizer())]
    (name,) = (name for name in tables if "position" not in name)
    assert name.startswith("backbone.")
    vectors = objective.backbone(of_view(batch, 0)).detach().requires_grad_()
    objective.rebuilt(vectors, of_view(batch, 1)).backward()
    assert (vectors.grad.abs().sum(1) > 0).all()
    with torch.no_grad():
        own, others = (objective.rebuilt(v, of_view(batch, 1)) for v in (vectors, vectors.roll(1, 0)))
    assert float(own) != float(others)


def test_a_batch_of_no_samples_gives_zero(ready):
    objective, _ = ready
    empty = row_texts(objective, [])
    encoded = objective(empty)
    assert float(encoded.terms["tsdae"].total.detach()) == 0 and len(encoded.features["text"]) == 0
    assert objective.counts(empty) == {"tsdae": 0}


@pytest.mark.slow
def test_vectors_of_other_sentences_hurt_the_reconstruction():
    """The decoder reads the vector: with that of another sentence it predicts worse. Words are drawn independently, so
    that those before tell nothing of the next one."""
    static = {"model_type": "static", "hidden_size": 32, "init": "random"}
    objective = built("tsdae", model=static, deletion_rate=0.3).float()
    optimizer = torch.optim.Adam(objective.parameters(), lr=1e-2)

    def batch(step):
        rng = np.random.default_rng(step)
        samples = [Document(rng.choice(16, 6) + 10, np.ones(6, np.uint8)) for _ in range(32)]
        return row_texts(objective, [objective.make_view(one, rng, 0.0) for one in samples])

    for step in range(60):
        optimizer.zero_grad()
        shown = batch(step)
        (objective(shown).terms["tsdae"].total / objective.counts(shown)["tsdae"]).backward()
        optimizer.step()
    shown = batch(1000)
    first, whole = of_view(shown, 0), of_view(shown, 1)
    objective.eval()
    with torch.no_grad():
        vectors, count = objective.backbone(first), objective.counts(shown)["tsdae"]
        own, others = (float(objective.rebuilt(v, whole)) / count for v in (vectors, vectors.roll(1, 0)))
    assert own + 0.5 < others


@pytest.mark.parametrize("static", [False, True])
def test_the_result_is_a_stock_sentence_encoder(static, tmp_path):
    model = {"model_type": "static", "hidden_size": 16, "identity_size": 4, "init": "random"} if static else BERT
    objective = built("tsdae", model=model).eval()
    views = [objective.make_view(sentence(9, seed), np.random.default_rng(seed), 0.0) for seed in range(3)]
    batch = row_texts(objective, views)
    assert objective(batch).terms["tsdae"].total.isfinite() and objective.counts(batch)["tsdae"] > 20
    objective.float().export(tmp_path / "model", tiny_tokenizer())
    assert (tmp_path / "model" / "modules.json").is_file()
    stock = SentenceTransformer(str(tmp_path / "model"), device="cpu")
    text = "The statement is executed."
    ids = np.array(tiny_tokenizer()(text, add_special_tokens=not static)["input_ids"])
    with torch.no_grad():
        expected = objective.backbone(stack_texts([0], [ids], [0], [float("nan")]))[0]
    assert torch.allclose(torch.from_numpy(stock.encode(text)), expected, atol=1e-5)


@pytest.mark.slow
def test_a_known_collapse_is_announced(tmp_path, capsys):
    """A rate that is far too high makes all vectors one: the monitor looks at them, though the loss does not."""
    make_corpus(tmp_path)
    rate = ("optimizer={name: adamw, lr: 0.3}", "schedule={name: constant, warmup_steps: 0}", "train.batch_size=16")
    pretrain(tiny_config(tmp_path, "tsdae", f"model={{config: {json.dumps(BERT)}}}", *rate, "train.max_steps=15"))
    shown = " ".join(capsys.readouterr().err.split())
    assert "COLLAPSE at step" in shown and "the decoder does without the vector" in shown
