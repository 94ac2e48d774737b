from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from tests.evaluation.scoring import model, scorer_of, tokenizer_of
from tests.tiny import make_corpus, texts
from textssl import tokenizer
from textssl.errors import UserError
from textssl.evaluation.tasks.bits_per_byte import bits_per_byte, pseudo_bits_per_byte
from textssl.evaluation.tasks.language_modelling import FEWEST_TEXTS, Language
from textssl.inference.language.scorer import live_scorer


@pytest.fixture
def source(tmp_path):
    (tmp_path / "text.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts()[:40]))
    return str(tmp_path / "text.jsonl")


@pytest.mark.parametrize(
    ("family", "name", "reference"),
    [("llama", "bits_per_byte", bits_per_byte), ("bert", "pseudo_bits_per_byte", pseudo_bits_per_byte)],
)
def test_the_figure_is_that_of_all_texts_together(family: str, name: str, reference, source):
    task = Language("mine", source, max_bytes=6_000, max_masked_bytes=1_500)
    scorer = scorer_of(family)
    ((found, figure),) = task.run(scorer)
    scored = task.texts(scorer)
    size = sum(len(text.encode()) for text in scored)
    assert len(scored) >= FEWEST_TEXTS and 0.8 * task.limits[scorer.kind] < size <= task.limits[scorer.kind]
    expected = reference(model(family), tokenizer_of(family), scored)
    assert found == name and figure.mean == pytest.approx(expected.bits_per_byte, rel=1e-6)
    assert figure.low < figure.mean < figure.high
    assert (figure.interval, figure.test_examples) == ("texts", len(scored))
    assert figure.settings["bytes"] == size and figure.settings["tokens"] == expected.tokens


@pytest.mark.parametrize("count", [1, 3])
def test_of_a_few_long_texts_all_parts_are_drawn(count: int, tmp_path):
    whole = [" ".join(texts()[part::count]) for part in range(count)]
    (tmp_path / "long.txt").write_text("\n\n".join(" ".join(text.split()) for text in whole))
    task = Language("mine", str(tmp_path / "long.txt"), max_bytes=4_000)
    scored = task.texts(scorer_of("llama"))
    size = sum(len(text.encode()) for text in scored)
    assert len(scored) >= FEWEST_TEXTS and 0.9 * 4_000 < size <= 4_000
    places = [(tmp_path / "long.txt").read_text().index(text) for text in scored]
    assert max(places) > 0.5 * sum(map(len, whole)), "of the whole text, not of its beginning"


def test_the_interval_is_a_bootstrap_of_a_ratio_of_sums(source):
    task, scorer = Language("mine", source, max_bytes=6_000, seed=3), scorer_of("llama")
    figure: Any = dict(task.run(scorer))["bits_per_byte"]
    scored = task.texts(scorer)
    bits = np.array([scorer.likelihood([text]).nats[0] / math.log(2) for text in scored])
    sizes = np.array([len(text.encode()) for text in scored])
    rng = np.random.default_rng(3)
    drawn = [rng.integers(len(scored), size=len(scored)) for _ in range(1_000)]
    expected = np.percentile([bits[places].sum() / sizes[places].sum() for places in drawn], [2.5, 97.5])
    np.testing.assert_allclose([figure.low, figure.high], expected, rtol=1e-5)
    counts = np.zeros((1, len(scored)))
    counts[0, :2] = 2, 1
    expected = (counts @ bits) / (counts @ sizes)
    assert figure.outcomes.statistic(counts) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("kind", "prefix"), [("causal", ""), ("masked", "pseudo_")])
def test_a_tokenizer_that_loses_text_gives_nats_a_token(kind: str, prefix: str, source):
    lossy = tokenizer.train_tokenizer(iter(texts()), algorithm="wordpiece", vocab_size=500, lowercase=True)
    family = "llama" if kind == "causal" else "bert"
    ((name, figure),) = Language("mine", source, max_bytes=3_000, max_masked_bytes=800).run(
        live_scorer(kind, model(family), lossy)
    )
    assert name == f"{prefix}nats_per_token" and 4 < figure.mean < 30
    scored = Language("mine", source, max_bytes=3_000, max_masked_bytes=800).texts(
        live_scorer(kind, model(family), lossy)
    )
    reference = bits_per_byte if kind == "causal" else pseudo_bits_per_byte
    assert figure.mean == pytest.approx(reference(model(family), lossy, scored).nats_per_token, rel=1e-6)


def test_a_prepared_corpus_is_read_at_its_held_out_split(tmp_path):
    make_corpus(tmp_path)
    task = Language("mine", str(tmp_path / "corpus"), domain="in")
    assert task.facts()["domain"] == "in"
    held_out = [" ".join(text.split()) for text in texts()[-10:]]
    found = [" ".join(text.split()) for text in task.texts(scorer_of("llama"))]
    assert sorted(found) == sorted(held_out)


def test_what_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        Language("mine", str(tmp_path / "nowhere.txt")).facts()
    (tmp_path / "e.jsonl").write_text('{"text": ""}\n')
    with pytest.raises(UserError, match=r"mine: there is no text in .*e.jsonl"):
        list(Language("mine", str(tmp_path / "e.jsonl")).run(scorer_of("llama")))
