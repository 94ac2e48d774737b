"""Tokenizers of every algorithm, size and case on one book in many languages: the tables of docs/languages.md.

The book is the Debian Administrator's Handbook, in Debian's package debian-handbook:

    apt-get download debian-handbook && dpkg-deb -x debian-handbook_*.deb handbook
    python scripts/benchmark/languages.py --handbook handbook/usr/share/doc/debian-handbook/html

Paragraphs that nobody translated are left out, and each language has at most MOST_CHARACTERS. Minutes on one core.
"""

from __future__ import annotations

import argparse
import html
import re
from collections.abc import Iterator
from pathlib import Path

FOLDERS = {
    **{"en": "en-US", "de": "de-DE", "fr": "fr-FR", "es": "es-ES", "ru": "ru-RU", "zh": "zh-CN", "ja": "ja-JP"},
    **{"ar": "ar-MA", "ko": "ko-KR", "el": "el-GR", "fa": "fa-IR", "vi": "vi-VN"},
}
MOST_CHARACTERS = 1_000_000
FEWEST_CHARACTERS = 100_000  # of a language, below which it is left out
HELD_OUT = 10  # every tenth paragraph is measured and not trained on
PARAGRAPH = re.compile(r'<div class="para">\s*(.*?)\s*</div>', re.DOTALL)
TAG = re.compile(r"<[^>]+>")
SETTINGS = [
    *(("bpe", size, False) for size in (2048, 8192, 32768)),
    *((algorithm, 8192, lowercase) for algorithm in ("wordpiece", "unigram") for lowercase in (False, True)),
    ("bpe", 8192, True),
]


def paragraphs(folder: Path, language: str) -> list[str]:
    """Paragraphs of at least 80 characters that are written in the language, each once, in the order of the book."""
    from textssl.data.language.languages import language_of

    found: dict[str, None] = {}
    characters = 0
    for page in sorted(folder.glob("*.html")):
        for paragraph in PARAGRAPH.findall(page.read_text(encoding="utf-8")):
            text = " ".join(html.unescape(TAG.sub("", paragraph)).split())
            if len(text) >= 80 and text not in found and language_of(text) == language:
                found[text] = None
                characters += len(text)
                if characters >= MOST_CHARACTERS:
                    return list(found)
    return list(found)


def measured(texts: list[str]) -> Iterator[tuple[str, int, bool, int, float, float, float, float]]:
    """(algorithm, size asked for, lowercase, size made, characters and bytes a token, tokens a word, share unknown)."""
    from textssl import tokenizer

    held_out = texts[::HELD_OUT]
    trained_on = [text for place, text in enumerate(texts) if place % HELD_OUT]
    for algorithm, size, lowercase in SETTINGS:
        made = tokenizer.train_tokenizer(trained_on, algorithm=algorithm, vocab_size=size, lowercase=lowercase)
        figures = tokenizer.report(made, held_out)
        lengths = (figures.characters_per_token, figures.bytes_per_token, figures.tokens_per_word)
        yield algorithm, size, lowercase, figures.vocab_size, *lengths, figures.unknown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--handbook", type=Path, required=True, help="the folder html of the package")
    parser.add_argument("--write", type=Path, help="also write the texts there, LANGUAGE.txt each")
    arguments = parser.parse_args()
    print("| language | algorithm | asked | case | made | characters/token | bytes/token | tokens/word | [UNK] |")
    print("|---|---|---:|---|---:|---:|---:|---:|---:|")
    for language, folder in FOLDERS.items():
        texts = paragraphs(arguments.handbook / folder, language)
        characters = sum(map(len, texts))
        if characters < FEWEST_CHARACTERS:
            print(f"{language}: {characters:,} characters are translated, too few")
            continue
        if arguments.write:
            arguments.write.mkdir(parents=True, exist_ok=True)
            (arguments.write / f"{language}.txt").write_text("\n\n".join(texts) + "\n", encoding="utf-8")
        for algorithm, size, lowercase, there, of_characters, of_bytes, of_word, unknown in measured(texts):
            case = "lower" if lowercase else "kept"
            print(
                f"| {language} ({characters:,}) | {algorithm} | {size:,} | {case} | {there:,} | {of_characters:.2f} "
                f"| {of_bytes:.2f} | {of_word:.2f} | {unknown:.3%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
