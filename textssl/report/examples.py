"""What a card's code reads: texts in the language of the model, or the beginning of its own held-out text."""

# ruff: noqa: RUF001 (signs that look like others are the subject)

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from textssl.data.corpus.corpus import HELD_OUT, Corpus
from textssl.data.language.languages import UNKNOWN, main_language, spoken

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

OPENINGS = 20  # documents whose beginnings are read
OPENING_TOKENS = 48
START_WORDS, START_CHARACTERS = 5, 24  # of an opening, for a text generator to continue


class Examples(NamedTuple):
    """sentences: two on one subject and one on another. gap: a text with MASK in it. start: one to be continued."""

    sentences: tuple[str, str, str]
    gap: str
    start: str


EXAMPLES = {
    "en": Examples(
        ("The boat crossed the river.", "A ship on the water.", "Prices rose again."),
        "The MASK said on Monday",
        "The",
    ),
    "de": Examples(
        ("Das Boot fuhr über den Fluss.", "Ein Schiff auf dem Wasser.", "Die Preise sind wieder gestiegen."),
        "Der MASK sagte am Montag",
        "Die",
    ),
    "fr": Examples(
        ("Le bateau a traversé la rivière.", "Un navire sur l'eau.", "Les prix ont encore augmenté."),
        "Le MASK a dit lundi",
        "Le",
    ),
    "es": Examples(
        ("El barco cruzó el río.", "Una nave en el agua.", "Los precios han vuelto a subir."),
        "El MASK dijo el lunes",
        "El",
    ),
    "it": Examples(
        ("La barca attraversò il fiume.", "Una nave sull'acqua.", "I prezzi sono aumentati di nuovo."),
        "Il MASK ha detto lunedì",
        "Il",
    ),
    "pt": Examples(
        ("O barco atravessou o rio.", "Um navio na água.", "Os preços subiram de novo."),
        "O MASK disse na segunda-feira",
        "O",
    ),
    "nl": Examples(
        ("De boot stak de rivier over.", "Een schip op het water.", "De prijzen zijn weer gestegen."),
        "De MASK zei maandag",
        "De",
    ),
    "pl": Examples(
        ("Łódź przepłynęła rzekę.", "Statek na wodzie.", "Ceny znowu wzrosły."),
        "W poniedziałek MASK powiedział",
        "W",
    ),
    "sv": Examples(
        ("Båten korsade floden.", "Ett skepp på vattnet.", "Priserna steg igen."),
        "På måndagen sade MASK",
        "Det",
    ),
    "tr": Examples(
        ("Tekne nehri geçti.", "Su üzerinde bir gemi.", "Fiyatlar yine yükseldi."),
        "Pazartesi günü MASK dedi",
        "Bu",
    ),
    "ru": Examples(
        ("Лодка пересекла реку.", "Корабль на воде.", "Цены снова выросли."),
        "В понедельник MASK сказал",
        "В",
    ),
    "zh": Examples(("小船过了河。", "水上的一艘船。", "价格又上涨了。"), "他星期一MASK了", "他"),
    "ja": Examples(
        ("船が川を渡った。", "水の上の一隻の船。", "物価がまた上がった。"), "彼は月曜日にMASKと言った", "彼は"
    ),
    "ko": Examples(("배가 강을 건넜다.", "물 위의 배 한 척.", "물가가 다시 올랐다."), "월요일에 MASK 말했다", "그는"),
    "th": Examples(("เรือข้ามแม่น้ำ", "เรือลำหนึ่งบนน้ำ", "ราคาสินค้าขึ้นอีกแล้ว"), "เขาพูดว่าMASKในวันจันทร์", "เขา"),
    "ar": Examples(("عبر القارب النهر.", "سفينة على الماء.", "ارتفعت الأسعار مرة أخرى."), "قال MASK يوم الاثنين", "في"),
    "hi": Examples(("नाव ने नदी पार की।", "पानी पर एक जहाज।", "कीमतें फिर बढ़ गईं।"), "सोमवार को MASK ने कहा", "यह"),
}


def languages_of(corpora: Sequence[Corpus], openings: Sequence[str]) -> list[str]:
    """The languages of the training text, the commonest first: as corpus.json has them, else guessed."""
    counts: dict[str, int] = {}
    for corpus in corpora:
        for language, count in corpus.languages.items():
            counts[language] = counts.get(language, 0) + count
    guessed = main_language(openings)
    return spoken(counts or {guessed: 1})


def read_openings(corpora: Iterable[Corpus], tokenizer: PreTrainedTokenizerFast | None) -> list[str]:
    """The beginnings of some documents, held-out ones where there are any."""
    return list(islice(_openings(corpora, tokenizer), OPENINGS)) if tokenizer is not None else []


def _openings(corpora: Iterable[Corpus], tokenizer: PreTrainedTokenizerFast) -> Iterator[str]:
    for corpus in corpora:
        read = Corpus.open(corpus.held_out) if (corpus.path / HELD_OUT / "corpus.json").is_file() else corpus
        for shard, first, end in read.document_bounds():
            tokens = read.shard(shard).tokens[first : min(end, first + OPENING_TOKENS)]
            yield " ".join(str(tokenizer.decode(tokens.tolist())).split())


def choose_examples(languages: Sequence[str], openings: Sequence[str]) -> Examples:
    """Texts in the main language: written ones where we have them, else openings; English where nothing is known."""
    language = languages[0] if languages else UNKNOWN
    texts = [text for text in openings if text]
    if language in EXAMPLES or language == UNKNOWN or not texts:
        return EXAMPLES.get(language, EXAMPLES["en"])
    starts = [" ".join(text.split()[:START_WORDS])[:START_CHARACTERS].strip() for text in texts]
    first, second, third = (starts * 3)[:3]
    return Examples((first, second, third), f"{first} MASK", first)
