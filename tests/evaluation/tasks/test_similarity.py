from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.feature_extraction.text import TfidfVectorizer

from tests.evaluation.folders import model, topics
from tests.tiny import tiny_tokenizer
from textssl.errors import UserError
from textssl.evaluation.baselines import RandomWords, Tfidf
from textssl.evaluation.tasks.similarity import Similarity, WordSimilarity, row_cosines
from textssl.inference.features import TransformerEncoder


def write_pairs(path: Path, count: int = 60) -> str:
    """Pairs of topic texts; the score is 1 for the same topic, plus a little."""
    texts, labels = topics(2 * count, noise=0.3)
    rng = np.random.default_rng(0)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text_a", "text_b", "score"])
        for place in range(count):
            other = rng.integers(2 * count)
            score = float(labels[place] == labels[other]) + rng.normal(0, 0.3)
            writer.writerow([texts[place], texts[other], score])
    return str(path)


def test_figure_is_that_of_scipy_on_the_features(tmp_path):
    task = Similarity("pairs", write_pairs(tmp_path / "pairs.csv"))
    left, right, scores = task.sides
    encoder = TransformerEncoder(model("bert"), tiny_tokenizer())
    [(name, figure)] = task.run(encoder)
    cosines = (encoder.embed(left) * encoder.embed(right)).sum(1)
    assert name == "spearman" and figure.mean == pytest.approx(spearmanr(cosines, scores)[0], abs=1e-3)
    assert figure.low < figure.mean < figure.high and figure.interval == "pairs" and figure.test_examples == 60
    [(_, counted)] = task.run(Tfidf(phrases=False, rare_words=True))
    vectorizer = TfidfVectorizer(sublinear_tf=True).fit(list(dict.fromkeys(left + right)))
    products = (vectorizer.transform(left).toarray() * vectorizer.transform(right).toarray()).sum(1)
    assert counted.mean == pytest.approx(spearmanr(products, scores)[0], abs=1e-3)
    assert counted.mean > 0.2 and dict(task.run_floor())["spearman"].mean == 0


def test_sparse_and_dense_cosines_agree(tmp_path):
    encoder = Tfidf(phrases=False)
    texts, _ = topics(20)
    encoder.fit(texts)
    left, right = encoder.embed(texts), encoder.embed(texts[::-1])
    assert row_cosines(left, right) == pytest.approx(row_cosines(left.toarray(), right.toarray()))


def test_facts_and_caps(tmp_path):
    (tmp_path / "p.csv").write_text("text_a,text_b,score\na b,c d,1\na b,c,2\n,x,3\nc,d,0\n")
    facts = Similarity("p", str(tmp_path / "p.csv")).facts()
    assert facts["kind"] == "similarity" and facts["pairs"] == 3 and facts["distinct_texts"] == 4
    assert facts["dropped"] == {"empty text": 1}
    capped = Similarity("p", str(tmp_path / "p.csv"), max_pairs=2)
    assert capped.facts()["pairs"] == 2 and capped.facts()["available_pairs"] == 3


def test_words(tmp_path):
    (tmp_path / "w.csv").write_text("text_a,text_b,score\nsea,sea,9\nsea,pan,2\npan,song,1\n")
    task = WordSimilarity("words", str(tmp_path / "w.csv"))
    assert task.facts()["kind"] == "word_similarity" and task.tfidf is None
    assert dict(task.run(RandomWords()))["spearman"].mean >= 0.5  # the same word comes first


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "text,label\na,b\nc,d\n",
            "p.csv holds no pairs with scores; similarity needs the columns text_a, text_b, score",
        ),
        ("text_a,text_b,label\na,b,x\nc,d,y\n", "p.csv holds no pairs with scores"),
        ("text_a,text_b\na,b\nc,d\n", "p.csv.*no column label"),
        ("text_a,text_b,score\na,b,1\nc,d,1\n", "all 2 records have the score"),
    ],
)
def test_files_without_scored_pairs(content: str, message: str, tmp_path):
    (tmp_path / "p.csv").write_text(content)
    with pytest.raises(UserError, match=message):
        Similarity("p", str(tmp_path / "p.csv")).facts()


def test_a_cap_that_leaves_one_score(tmp_path):
    (tmp_path / "p.csv").write_text("text_a,text_b,score\na,b,1\nc,d,1\ne,f,2\n")
    with pytest.raises(UserError, match="p: all 2 pairs have one score"):
        Similarity("p", str(tmp_path / "p.csv"), max_pairs=2).facts()
