"""What counted baselines count: by script, by cross-validation, and never by anything but the training texts."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sparse
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import Ridge

from tests.evaluation.folders import topics
from textssl.errors import UserError
from textssl.evaluation import terms as module
from textssl.evaluation.terms import (
    LONG,
    RIDGE_PENALTIES,
    SHORT,
    Terms,
    best_tfidf,
    count_terms,
    dense_share,
    left_out_score,
    script_tfidf,
    terms_of_script,
    word_pattern,
)

WORDS = Terms("words")
CHINESE = ["我们今天去海边看船。", "厨房里有一口大锅和一把刀。", "音乐会上他们演奏了一首新歌。"]
SCRIPTS = {
    "English": (["We went to the sea to see the boats today."], WORDS),
    "German": (["Das Bundesverfassungsgericht entschied gestern über die Straßenverkehrsordnung."], WORDS),
    "Russian": (["Сегодня мы поехали на море."], WORDS),
    "Arabic": (["ذهبنا اليوم إلى البحر لنرى السفن"], WORDS),
    "Hindi": (["आज हम नाव देखने समुद्र गए"], WORDS),
    "Chinese": (CHINESE, SHORT),
    "Japanese": (["今日は船を見に海へ行きました。"], SHORT),
    "Korean": (["오늘 우리는 배를 보러 바다에 갔다."], SHORT),
    "Thai": (["วันนี้เราไปทะเลเพื่อดูเรือ"], SHORT),
    "Khmer": (["ថ្ងៃនេះយើងទៅសមុទ្រ"], SHORT),
    "Lao": (["ມື້ນີ້ພວກເຮົາໄປທະເລ"], SHORT),
    "Myanmar": (["ဒီနေ့ ပင်လယ်ကို သွားတယ်"], SHORT),
    "Chinese with names of commands": (["运行 kubectl get pods 命令可以查看集群中的所有容器组"], SHORT),
    "English with a Chinese name": (["The restaurant 海底捞 opened another branch in London last week."], WORDS),
    "numbers": (["1 2 3", "?"], WORDS),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_script_decides_without_labels(name: str):
    texts, expected = SCRIPTS[name]
    assert terms_of_script(texts)[0] == expected
    assert terms_of_script(texts, phrases=True)[1] == (LONG if expected == WORDS else Terms("words", 1, 2))


def test_names_say_what_is_counted():
    assert [terms.name for terms in (WORDS, Terms("words", 1, 2), SHORT, LONG)] == [
        *("words", "words", "characters 1-3", "characters 3-5")
    ]


def test_the_share_is_of_letters_in_a_sample(monkeypatch):
    assert dense_share(["海 a b c 123 ?!"]) == 0.25 and dense_share([]) == dense_share(["?"]) == 0.0
    monkeypatch.setattr(module, "SCRIPT_TEXTS", 3)
    monkeypatch.setattr(module, "FIRST_CHARACTERS", 2)
    assert dense_share(["ab海", "海", "cd海", "海", "ef海"]) == 0.0, "first, middle and last, two characters of each"


def test_words_keep_their_vowel_signs_and_latin_ones_stay_scikit_learns():
    plain = CountVectorizer().build_tokenizer()
    own = CountVectorizer(token_pattern=word_pattern(2)).build_tokenizer()
    text = "It's a naïve re-run of 2 tests_3, x y über Straße; don't!"
    assert own(text) == plain(text)
    assert own("हिन्दी में किताब") == ["हिन्दी", "में", "किताब"] != plain("हिन्दी में किताब")
    assert CountVectorizer(token_pattern=word_pattern(1)).build_tokenizer()("a हि") == ["a", "हि"]
    rows, names = count_terms(WORDS, ["a sea", "?"])
    assert names == ["a", "sea"] and rows.toarray().tolist() == [[1, 1], [0, 0]]
    assert count_terms(WORDS, ["?"])[1] == []


def test_chinese_texts_that_share_words_share_terms():
    _, vectorizer = script_tfidf(CHINESE, phrases=False, rare=True)
    rows = vectorizer.transform([*CHINESE, "海边的船", "一把刀和锅"])
    nearest = (rows[3:] @ rows[:3].T).toarray().argmax(1)
    assert nearest.tolist() == [0, 1]


def test_texts_of_signs_are_counted_by_characters_and_nothing_but_spaces_by_nothing():
    assert script_tfidf(["?!", "!!"], phrases=False, rare=False)[0] == LONG
    labels = np.array([0, 1] * 4)
    assert best_tfidf((["??", "!!"] * 4, None), labels, phrases=True, rare=False, seed=0)[0] == LONG
    with pytest.raises(UserError, match="nothing but spaces"):
        script_tfidf([" ", ""], phrases=False, rare=False)


@pytest.mark.slow
@pytest.mark.parametrize("scores", [False, True])
def test_leaving_out_in_closed_form_is_leaving_out_one_by_one(scores: bool):
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(30, 6)) + 2 * np.eye(6)[np.arange(30) % 3]
    rows = sparse.csr_matrix(dense / np.linalg.norm(dense, axis=1, keepdims=True))
    classes = np.arange(30) % 3
    targets = rng.normal(size=30) + dense[:, 0] if scores else classes
    wanted = targets[:, None] if scores else np.eye(3)[classes]
    found = []
    for penalty in RIDGE_PENALTIES:
        kept = [np.delete(np.arange(30), place) for place in range(30)]
        answers = np.array([
            Ridge(penalty).fit(rows[others], wanted[others]).predict(rows[[place]])[0]
            for place, others in enumerate(kept)
        ]).reshape(30, -1)  # fmt: skip
        found.append(-((answers - wanted) ** 2).mean() if scores else (answers.argmax(1) == targets).mean())
    assert left_out_score(rows, targets) == pytest.approx(max(found), abs=1e-9)


def inflected(count: int, seed: int) -> tuple[list[str], np.ndarray]:
    """Two classes of words that share a stem and never an ending."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    endings = ["".join(map(chr, 97 + rng.integers(26, size=4))) for _ in range(count * 3)]
    stems = [["kirche", "glaube", "orgel"], ["schiff", "hafen", "segel"]]
    texts = [
        " ".join(stem + endings[3 * place + at] for at, stem in enumerate(stems[label]))
        for place, label in enumerate(labels)
    ]
    return texts, labels


def test_with_labels_the_better_in_cross_validation_is_taken():
    texts, labels = inflected(60, seed=0)
    terms, vectorizer = best_tfidf((texts, None), labels, phrases=True, rare=False, seed=0)
    assert terms == LONG
    again, other = best_tfidf((texts, None), labels, phrases=True, rare=False, seed=0)
    assert again == terms and other.vocabulary_ == vectorizer.vocabulary_
    english, names = topics(60)
    classes = np.unique(names, return_inverse=True)[1]
    drawn = np.random.default_rng(0).permutation(classes)  # nothing to learn: equal but for chance
    for numbers in (classes, drawn):
        options = {"phrases": True, "rare": False, "seed": 0}
        scores = {}
        for terms in terms_of_script(english, phrases=True):
            vectorizer = module.fit_tfidf(terms, english, rare=False)
            assert vectorizer is not None
            scores[terms] = left_out_score(module.tfidf_rows(vectorizer, (english, None)), numbers)
        assert best_tfidf((english, None), numbers, **options)[0] == max(scores, key=lambda terms: scores[terms])


def test_pairs_and_scores_choose_too_and_the_sample_is_capped(monkeypatch):
    texts, labels = inflected(120, seed=1)
    left, right = texts[:60], texts[60:]
    same = (labels[:60] == labels[60:][::-1]).astype(int)
    order = np.random.default_rng(0).permutation(60)
    right = [right[place] for place in order]
    same = (labels[:60] == labels[60:][order]).astype(int)
    options = {"phrases": True, "rare": False, "seed": 0}
    assert best_tfidf((left, right), same, **options)[0] == LONG
    assert best_tfidf((left, right), same.astype(float), **options)[0] == LONG
    seen = []
    monkeypatch.setattr(module, "CHOICE_TEXTS", 7)
    monkeypatch.setattr(module, "left_out_score", lambda rows, targets: seen.append((rows.shape[0], len(targets))) or 0)
    terms, vectorizer = best_tfidf((left, right), same, **options)
    assert seen == [(7, 7)] * 2 and terms == Terms("words", 1, 2), "of equal ones that of the script"
    assert len(vectorizer.vocabulary_) == 0 or vectorizer.transform(left + right).shape[0] == 120


def test_one_example_a_class_and_two_examples_leave_the_choice_to_the_script():
    for texts, expected in ((["the sea", "a pan"], Terms("words", 1, 2)), (CHINESE[:2], SHORT)):
        assert best_tfidf((texts, None), np.array([0, 1]), phrases=True, rare=False, seed=0)[0] == expected
