"""The language of a text: known codes, and a guess from its script and its commonest words.

A guess reads the first GUESS_CHARACTERS characters: the script with the most letters and, where several languages use
it, the language of whose commonest words the most occur.
"""

# ruff: noqa: RUF001 (signs that look like others are the subject; words are read best in a row)

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

from textssl.errors import UserError

AUTO = "auto"
UNKNOWN = "und"  # of ISO 639: undetermined; such text is split by the rules for English
GUESS_CHARACTERS = 400
SCRIPT_LETTERS = 80  # letters of scripts other than Latin from which the script is told
FEWEST_WORDS = 2  # common words of a language that a text needs to count as written in it
KANA_SHARE = 0.05  # share of kana among the non-Latin letters from which a text is Japanese, not Chinese
MIXED_SHARE = 0.01  # share of the documents from which a language counts as one of the corpus

# commonest words by language, where several share a script; of ties the first is taken
LATIN = {
    "en": "the of and to in is that it was for on are with as at be this have from or had by not but what were they he "
    "she his her you we said",
    "de": "der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als auch es an werden aus er "
    "hat dass sie nach wird bei einer um am sind noch wie einem über war ich wir",
    "fr": "de la le et les des en un du une que est pour qui dans a par plus pas au sur ne se ce il sont avec son aux "
    "je vous nous elle mais cette",
    "es": "de la que el en y a los se del las un por con no una su para es al lo como más o pero sus le ha sí porque "
    "está",
    "it": "di e il la che è per un in non una sono del con si da le come ma della nel ha lo gli anche più questo",
    "pt": "de a o que e do da em um para é com não uma os no se na por mais as dos como mas foi ao ele das tem à seu",
    "nl": "de van het een en in is dat op te zijn met voor niet aan er om ook als bij of uit door maar naar heeft "
    "wordt dit ik",
    "pl": "w i z na nie się że do to jest o jak po co ale od za przez tak był są dla ma już tylko by czy która",
    "cs": "a se v na je že s z do o to i ve jako za by byl po pro jsem od který ale jeho který jsou už také než",
    "sk": "a sa v na je že s z do o to aj vo ako za by bol po pre som od ktorý ale jeho sú už tiež než ktoré",
    "sv": "och i att det som en på är av för med den till inte har de om ett han men var jag sig från vi så kan när",
    "da": "og i at det som en på er af for med den til ikke har de om et han men var jeg sig fra vi så kan når blev",
    "nb": "og i at det som en på er av for med den til ikke har de om et han men var jeg seg fra vi så kan når ble",
    "fi": "ja on ei se että hän oli mutta en ole kun ovat niin myös joka sen kuin tai mitä jos vain nyt ollut",
    "hu": "a az és hogy nem is egy ez de van azt meg csak volt már még mint el ha vagy aki kell ezt lesz",
    "ro": "de și în a la cu pe nu că o un din este ce se mai care au pentru fi sunt dar prin al lui am",
    "ca": "de la i el que a en les un per amb del els una és no se al més com va són però aquest també o",
    "tr": "ve bir bu da de için çok ne ile o ben gibi daha var kadar sonra değil ama olarak en olan mi her",
    "id": "yang dan di dari ini untuk dengan itu tidak pada dalam akan ada ke adalah oleh juga saya bisa karena mereka",
    "vi": "và của là có được cho không một các trong đã với người những để này khi đến về ra tôi ở như anh",
}
CYRILLIC = {
    "ru": "и в не на что с он по это как но к из у за от так же бы было его она был для мы они я только еще ещё уже",
    "uk": "і в не на що з він у та як але до за від це так же було його вона був для ми вони я є й її які також",
    "bg": "и в не на че с той за това да се от е са по като но до към му си ще беше тя които има също бе",
    "sr": "и у не на да се је за од са су то као али до што по би који он она били није ће све или",
    "kk": "және бұл мен бір да де деп ол үшін болып қазақ бар осы оның еді болды деген сол кейін емес",
}
ARABIC = {
    "ar": "في من على إلى أن التي عن مع هذا الذي ما كان لا هذه بعد بين ذلك قد كما كل لم هو هي و أو",
    "fa": "و در به از که این را با است برای آن یک خود تا بر هم شد نیز می بود اما های",
    "ur": "کے کی میں ہے اور سے کا کو پر نے کہ یہ ہیں اس نہیں بھی ایک تھا کر وہ تو",
}
DEVANAGARI = {
    "hi": "के में की है और से का को पर ने कि यह हैं भी एक था कर वह तो नहीं इस ही",
    "mr": "आहे आणि या व ते हा की तर होते आहेत नाही एक मध्ये होता त्या साठी असे हे ही",
}
SCRIPTS = {  # range of letters -> the languages that use them with their words, or the only one
    "\u0370-\u03ff\u1f00-\u1fff": "el",
    "\u0400-\u052f": CYRILLIC,
    "\u0531-\u058f": "hy",
    "\u0590-\u05ff": "he",
    "\u0600-\u06ff\u0750-\u077f": ARABIC,
    "\u0900-\u097f": DEVANAGARI,
    "\u0980-\u09ff": "bn",
    "\u0a00-\u0a7f": "pa",
    "\u0a80-\u0aff": "gu",
    "\u0b80-\u0bff": "ta",
    "\u0c00-\u0c7f": "te",
    "\u0c80-\u0cff": "kn",
    "\u0d00-\u0d7f": "ml",
    "\u0e00-\u0e7f": "th",
    "\u1000-\u109f": "my",
    "\u10a0-\u10ff": "ka",
    "\u1200-\u137f": "am",
    "\u1780-\u17ff": "km",
    "\u3040-\u30ff": "ja",
    "\u3400-\u9fff\uf900-\ufaff": "zh",
    "\uac00-\ud7a3": "ko",
}
TABLES = (LATIN, CYRILLIC, ARABIC, DEVANAGARI)
KNOWN = tuple(
    sorted({code for table in TABLES for code in table} | {c for c in SCRIPTS.values() if isinstance(c, str)})
)
LETTERS = re.compile("|".join(f"([{letters}]+)" for letters in SCRIPTS))
NOT_LATIN = re.compile(f"[{''.join(SCRIPTS)}]+")


def codes_of_words(table: dict[str, str]) -> dict[str, tuple[str, ...]]:
    """word -> the languages of a table that have it, in its order."""
    codes: dict[str, tuple[str, ...]] = {}
    for code, words in table.items():
        for word in dict.fromkeys(words.split()):
            codes[word] = (*codes.get(word, ()), code)
    return codes


WORDS_OF = {id(table): codes_of_words(table) for table in TABLES}
# code -> the words of its script that it lacks, and those that it alone has
FOREIGN_WORDS = {
    code: (
        frozenset(word for word, codes in WORDS_OF[id(table)].items() if code not in codes),
        frozenset(word for word, codes in WORDS_OF[id(table)].items() if codes == (code,)),
    )
    for table in TABLES
    for code in table
}


def check_language(language: str) -> str:
    """The code itself. Raises UserError for one that is neither known nor `auto`."""
    if language != AUTO and language not in KNOWN:
        raise UserError(f"--language is {language}, it must be {AUTO} or one of {', '.join(KNOWN)}")
    return language


def language_of(text: str, corpus: str = UNKNOWN) -> str:
    """The code of a text's language. corpus: the language of most other texts, taken where common words are few."""
    sample = unicodedata.normalize("NFC", text[:GUESS_CHARACTERS])  # as the known words and letters are written
    languages = LATIN if sample.isascii() else languages_of_script(sample)
    if isinstance(languages, str):
        return languages
    words = sample.lower().replace(".", " ").replace(",", " ").split()
    if corpus in languages:  # most texts: no other language can have more of the words
        foreign, alone = FOREIGN_WORDS[corpus]
        found = foreign.intersection(words)
        if not found or len(found) <= len(alone.intersection(words)):
            return corpus
    codes = WORDS_OF[id(languages)]
    hits = dict.fromkeys(languages, 0)
    for word in codes.keys() & words:
        for code in codes[word]:
            hits[code] += 1
    fallback = corpus if corpus in languages else UNKNOWN if languages is LATIN else next(iter(languages))
    most = max(hits.values())
    if most < FEWEST_WORDS or hits.get(fallback) == most:
        return fallback
    return next(code for code in languages if hits[code] == most)


def languages_of_script(sample: str) -> dict[str, str] | str:
    """The table of the script with the most letters, or the one language that is written with it."""
    if NOT_LATIN.search(sample) is None:
        return LATIN
    others = "".join(NOT_LATIN.findall(sample))
    if 2 * len(others) < sum(map(str.isalpha, sample)):
        return LATIN
    letters: Counter[int] = Counter()
    for run in LETTERS.finditer(others[:SCRIPT_LETTERS]):
        letters[run.lastindex or 0] += run.end() - run.start()
    scripts = list(SCRIPTS.values())
    counts = {place: letters[place + 1] for place in range(len(scripts))}
    most = scripts[max(counts, key=lambda place: counts[place])] if letters else LATIN
    if most == "zh" and letters[scripts.index("ja") + 1] >= KANA_SHARE * letters.total():
        return "ja"
    return most


def main_language(texts: Iterable[str]) -> str:
    """The language of most of the texts, UNKNOWN where none is known."""
    counts = Counter(language_of(text) for text in texts)
    del counts[UNKNOWN]
    return counts.most_common(1)[0][0] if counts else UNKNOWN


def spoken(counts: dict[str, int]) -> list[str]:
    """The languages of a corpus, the commonest first. counts: language -> documents; stray ones are left out."""
    total = sum(counts.values())
    known = {code: count for code, count in counts.items() if code != UNKNOWN and count >= MIXED_SHARE * total}
    return sorted(known, key=lambda code: (-known[code], code))
