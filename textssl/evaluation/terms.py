"""What TF-IDF counts in a text: words or character n-grams, by its script or by cross-validation."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal, NamedTuple

import numpy as np
import scipy.sparse as sparse
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from threadpoolctl import threadpool_limits

from textssl.errors import UserError

DENSE_SCRIPTS = (  # as Unicode names their letters: no spaces between words, or (Hangul, Tibetan) letters of a syllable
    *("CJK", "HIRAGANA", "KATAKANA", "HALFWIDTH KATAKANA", "BOPOMOFO", "HANGUL", "YI", "TIBETAN"),
    *("THAI", "LAO", "KHMER", "MYANMAR", "TAI", "NEW TAI", "JAVANESE", "BALINESE"),
)
DENSE_SHARE = 0.25  # of the letters: an ideograph says as much as about three letters, so that is half of the text
SCRIPT_TEXTS, CHOICE_TEXTS = 1_000, 1_000  # read at most to see the script, and to choose by cross-validation
FIRST_CHARACTERS = 1_000  # of each of these texts
RIDGE_PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0)  # for rows of length 1
JOINER = "\u200d"  # inside words of Indic scripts

Texts = tuple[Sequence[str], Sequence[str] | None]  # texts, or first texts, and second texts of pairs


class Terms(NamedTuple):
    """What is counted: runs of `shortest` to `longest` words, or of so many characters within words."""

    unit: Literal["words", "characters"]
    shortest: int = 1
    longest: int = 1

    @property
    def name(self) -> str:
        """As tables and results name it; the words that form pairs are words."""
        return "words" if self.unit == "words" else f"characters {self.shortest}-{self.longest}"

    def options(self, least_letters: int = 2) -> dict[str, Any]:
        """Arguments of scikit-learn's vectorizers. least_letters: of a word, 1 or 2."""
        shared = {"ngram_range": (self.shortest, self.longest), "dtype": np.float32}
        if self.unit == "words":
            return {**shared, "token_pattern": word_pattern(least_letters)}
        return {**shared, "analyzer": "char_wb"}


SHORT, LONG = Terms("characters", 1, 3), Terms("characters", 3, 5)


@cache
def word_pattern(least_letters: int) -> str:
    """scikit-learn's pattern of a word, with the vowel signs and accents that Python's \\w leaves out.

    Without them a word of Hindi, Thai or Arabic with its vowels falls apart at each sign. Words of Latin letters are
    the same.
    """
    signs = [chr(code) for code in range(0x300, 0x20000) if unicodedata.category(chr(code)) in ("Mn", "Mc")]
    return rf"(?u)\w[\w{''.join(signs)}{JOINER}]{'+' if least_letters > 1 else '*'}"


def dense_share(texts: Sequence[str]) -> float:
    """The share of letters of scripts that put no spaces between words, or a syllable into a letter.

    Counted in the first FIRST_CHARACTERS characters of at most SCRIPT_TEXTS texts, taken at even distances.
    """
    places = np.linspace(0, len(texts) - 1, min(len(texts), SCRIPT_TEXTS)).astype(int)
    counts = Counter("".join(texts[int(place)][:FIRST_CHARACTERS] for place in places))
    letters = {letter: count for letter, count in counts.items() if letter.isalpha()}
    dense = sum(count for letter, count in letters.items() if unicodedata.name(letter, "").startswith(DENSE_SCRIPTS))
    return dense / max(sum(letters.values()), 1)


def terms_of_script(texts: Sequence[str], *, phrases: bool = False) -> tuple[Terms, Terms]:
    """What to count in texts of this script, and the alternative: words and LONG, or SHORT and words.

    phrases: also pairs of neighbouring words.
    """
    words = Terms("words", 1, 2 if phrases else 1)
    return (SHORT, words) if dense_share(texts) >= DENSE_SHARE else (words, LONG)


def fit_tfidf(terms: Terms, texts: Sequence[str], *, rare: bool) -> TfidfVectorizer | None:
    """A vectorizer with the terms and weights of these texts; None where they hold none.

    rare: also terms that stand in one text only, as in any case where no term stands in two.
    """
    for rarest in (1,) if rare else (2, 1):
        vectorizer = TfidfVectorizer(sublinear_tf=True, min_df=rarest, **terms.options())
        try:
            return vectorizer.fit(texts)
        except ValueError:  # scikit-learn's way of saying that nothing is left
            continue
    return None


def count_terms(terms: Terms, texts: Sequence[str]) -> tuple[Any, list[str]]:
    """(texts, terms) sparse counts with words of one letter among them, and the terms."""
    counter = CountVectorizer(**terms.options(least_letters=1))
    try:
        return counter.fit_transform(texts), counter.get_feature_names_out().tolist()
    except ValueError:
        return sparse.csr_matrix((len(texts), 0), dtype=np.float32), []


def tfidf_rows(vectorizer: TfidfVectorizer, texts: Texts) -> Any:
    """(texts, terms) sparse float32 unit rows; of pairs |u - v| beside u * v."""
    first = vectorizer.transform(texts[0])
    if texts[1] is None:
        return first
    second = vectorizer.transform(texts[1])
    return sparse.hstack([abs(first - second), first.multiply(second)]).tocsr()


def best_tfidf(train: Texts, targets: np.ndarray, *, phrases: bool, rare: bool, seed: int) -> tuple[Terms, Any]:
    """What predicts the targets of training texts better, words or character n-grams, and its vectorizer.

    targets: (examples,) class numbers (integers), or scores. The better is the one of higher accuracy (lower squared
    error) in leave-one-out cross-validation of ridge regression, at a tie that of the script; on at most
    CHOICE_TEXTS examples drawn by the seed, and the first FIRST_CHARACTERS characters of each. Raises UserError where
    the texts hold nothing to count.
    """
    everything = [*train[0], *(train[1] or ())]
    drawn = np.sort(np.random.default_rng(seed).permutation(len(targets))[:CHOICE_TEXTS])
    sides = [[side[int(place)][:FIRST_CHARACTERS] for place in drawn] for side in train if side is not None]
    sample: Texts = (sides[0], sides[1] if len(sides) > 1 else None)
    order = terms_of_script(everything, phrases=phrases)
    scores: dict[Terms, float] = {}
    for terms in order:
        vectorizer = fit_tfidf(terms, [text for side in sides for text in side], rare=rare)
        if vectorizer is not None:
            scores[terms] = left_out_score(tfidf_rows(vectorizer, sample), targets[drawn])
    best = max(order, key=lambda terms: scores.get(terms, -np.inf))
    return fitted(best, everything, rare=rare)


def script_tfidf(texts: Sequence[str], *, phrases: bool, rare: bool) -> tuple[Terms, TfidfVectorizer]:
    """What to count in texts of this script, and its vectorizer. Raises UserError as `best_tfidf` does."""
    return fitted(terms_of_script(texts, phrases=phrases)[0], texts, rare=rare)


def fitted(terms: Terms, texts: Sequence[str], *, rare: bool) -> tuple[Terms, TfidfVectorizer]:
    for wanted in (terms, LONG):  # texts of punctuation alone hold no word
        vectorizer = fit_tfidf(wanted, texts, rare=rare)
        if vectorizer is not None:
            return wanted, vectorizer
    raise UserError("the training texts hold nothing but spaces: TF-IDF has nothing to count")


def left_out_score(rows: Any, targets: np.ndarray) -> float:
    """Accuracy (of scores, minus the squared error) of ridge regression when each example is left out in turn.

    rows: (examples, width) sparse. All of it follows from one fit: the residual of an example that was left out is its
    residual over 1 - h, h its entry on the diagonal of the hat matrix (Allen 1974). The best of RIDGE_PENALTIES counts.
    """
    if len(targets) < 3:
        return 0.0
    classes = np.issubdtype(targets.dtype, np.integer)
    wanted = np.eye(int(targets.max()) + 1)[targets] if classes else targets[:, None].astype(np.float64)
    gram = (rows @ rows.T).toarray().astype(np.float64)
    gram -= gram.mean(0)
    gram -= gram.mean(1, keepdims=True)
    with threadpool_limits(limits=1, user_api="blas"):
        values, axes = np.linalg.eigh(gram)
        centred = wanted - wanted.mean(0)
        turned, best = axes.T @ centred, -np.inf
        for penalty in RIDGE_PENALTIES:
            kept = np.maximum(values, 0) / (np.maximum(values, 0) + penalty)
            leverage = (axes**2) @ kept + 1 / len(targets)
            residual = (centred - axes @ (kept[:, None] * turned)) / np.maximum(1 - leverage, 1e-9)[:, None]
            if classes:
                score = float(((wanted - residual).argmax(1) == targets).mean())
            else:
                score = -float((residual**2).mean())
            best = max(best, score)
    return best
