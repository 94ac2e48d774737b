"""The guess of a language, by hand, and the codes."""

# ruff: noqa: RUF001 (signs that look like others are the subject)

import random
import unicodedata

import pytest

from textssl.data.language.languages import (
    AUTO,
    KNOWN,
    LATIN,
    UNKNOWN,
    check_language,
    language_of,
    main_language,
    spoken,
)
from textssl.errors import UserError

TEXTS = {
    "en": "The boat crossed the river, and it was late.",
    "de": "Das Schiff fuhr über den Fluss, und es war spät.",
    "fr": "Le bateau a traversé la rivière, et il est tard.",
    "es": "El barco cruzó el río y se hizo tarde para los que esperaban.",
    "it": "La nave attraversò il fiume e non era più tardi.",
    "nl": "Het schip voer over de rivier en het was laat.",
    "pl": "Statek przepłynął rzekę i było już późno, ale nie padało.",
    "ru": "Корабль пересёк реку, и было уже поздно, но он не спал.",
    "uk": "Корабель перетнув річку, і було вже пізно, але він не спав.",
    "bg": "Корабът пресече реката и беше късно, но той не спеше.",
    "el": "Το πλοίο διέσχισε το ποτάμι.",
    "he": "הספינה חצתה את הנהר.",
    "ar": "عبرت السفينة النهر في الليل من هذا المكان إلى ذلك.",
    "fa": "کشتی از رودخانه گذشت و دیر بود که به این شهر رسید.",
    "hi": "जहाज ने नदी पार की और देर हो गई है।",
    "mr": "जहाज नदी ओलांडून गेले आणि उशीर झाला आहे.",
    "th": "เรือข้ามแม่น้ำ",
    "zh": "船过了河，天色已晚。",
    "ja": "船は川を渡った。",
    "ko": "배가 강을 건넜다.",
    "am": "መርከቡ ወንዙን ተሻገረ።",
}


@pytest.mark.parametrize("language", TEXTS)
def test_guessed(language):
    assert language_of(TEXTS[language]) == language


def test_the_form_of_accents_makes_no_difference():
    decomposed = {language: unicodedata.normalize("NFD", text) for language, text in TEXTS.items()}
    decomposed["vi"] = unicodedata.normalize("NFD", "Tôi là một người và của được không cho này khi đến về như")
    assert {language: language_of(text) for language, text in decomposed.items()} == {one: one for one in decomposed}


def test_a_text_with_few_common_words_has_the_language_of_the_corpus():
    assert language_of("Berlin, Hamburg") == UNKNOWN
    assert language_of("Berlin, Hamburg", "de") == "de"
    assert language_of("Berlin, Hamburg", "ja") == UNKNOWN  # another script
    assert language_of(TEXTS["fr"], "de") == "fr"
    assert language_of("Москва", "de") == "ru" and language_of("Москва", "uk") == "uk"
    assert language_of("") == language_of("12 + 3", "zh") == UNKNOWN


def test_stray_words_of_another_script_change_nothing():
    assert language_of(TEXTS["de"] + " Ωμέγα 中文") == "de"
    assert language_of("他们用 Python 和 Linux 写了这个程序，非常好用。") == "zh"


def test_the_main_language_is_that_of_most_texts():
    assert main_language([TEXTS["de"], TEXTS["fr"], TEXTS["de"], "12", "13", "14"]) == "de"
    assert main_language(["12"]) == main_language([]) == UNKNOWN


def test_a_corpus_speaks_the_languages_that_are_no_stray_ones():
    assert spoken({"fr": 200, "de": 9000, UNKNOWN: 5000, "cs": 3}) == ["de", "fr"]
    assert spoken({}) == []


@pytest.mark.parametrize("corpus", ["en", "de", "da", "fr", "ru", UNKNOWN])
def test_the_language_with_the_most_words_wins_and_the_main_one_of_equals(corpus):
    rng = random.Random(1)
    for _ in range(400):
        some = rng.sample(sorted(LATIN), 2)
        words = rng.choices([word for code in some for word in LATIN[code].split()], k=rng.randint(0, 9))
        hits = {code: len(set(words) & set(known.split())) for code, known in LATIN.items()}
        most = max(hits.values())
        fallback = corpus if corpus in LATIN else UNKNOWN
        best = fallback if most < 2 or hits.get(fallback) == most else next(c for c in LATIN if hits[c] == most)
        assert language_of(" ".join(words), corpus) == best, words


def test_codes():
    assert all(check_language(code) == code for code in (*KNOWN, AUTO)) and len(KNOWN) > 40
    with pytest.raises(UserError, match=r"--language is klingon, it must be auto or one of am, ar, bg, .*, zh$"):
        check_language("klingon")
