"""`textssl tokenizer train`: text files -> a tokenizer folder and a report on held-out documents."""

from __future__ import annotations

import heapq
import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from textssl import tokenizer as tokenizers
from textssl.data.corpus.dedup import digest, unit_interval
from textssl.data.text.documents import Document, DropReport, read_documents
from textssl.errors import UserError
from textssl.system.files import check_folder, written_folder
from textssl.system.progress import Work, working
from textssl.system.terminal import Terminal
from textssl.system.threads import choose_threads, use_rayon

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

HELD_OUT_SHARE = 0.01  # the same hash as prepare's: its held-out documents are not trained on
HELD_OUT_CHARACTERS = 2**22  # of held-out text kept for the report
FEW_TEXTS = 16
MARKED = re.compile("[\u0900-\u109f\u1780-\u17ff]")  # the scripts of India and of Southeast Asia
MANY_SIGNS = 0.001  # share of characters
REPORT = "report.json"
OWN_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", REPORT)


def train_tokenizer(
    input: Sequence[str | Path] | str | Path,
    out: str | Path,
    algorithm: str = "bpe",
    vocab_size: int = 8192,
    lowercase: bool = False,
    strip_accents: bool = False,
    normalization: str | None = "NFC",
    byte_fallback: bool = True,
    text_column: str = "text",
    one_document_per: str = "blank-line",
    strict: bool = False,
    threads: int | None = None,
    max_word_types: int = tokenizers.MOST_WORD_TYPES,
) -> PreTrainedTokenizerFast:
    """Train a tokenizer on documents, write the folder `out`, print and write (report.json) how it fits held-out ones.

    The options are those of textssl.tokenizer.train_tokenizer and textssl.data.text.documents.read_documents. A
    tokenizer that is in `out` already is replaced; any other folder with files in it raises UserError. Words longer
    than textssl.tokenizer.LONGEST_WORD are cut for training; the report counts them. threads: that compute; by default
    as many as cores. max_word_types: different words that it is trained on, which bounds the memory; the report
    counts what was left out.
    """
    inputs = [str(path) for path in ([input] if isinstance(input, str | Path) else input)]
    if max_word_types < 1:
        raise UserError(f"--max-word-types is {max_word_types}, it must be at least 1")
    check_folder(out, OWN_FILES, REPORT)
    drops, long_words, console = DropReport(), tokenizers.LongWords(), Terminal()
    word_types = tokenizers.WordTypes(max_word_types)
    chosen = use_rayon(choose_threads(threads))
    Terminal(stderr=True).print(f"training a tokenizer with {chosen}")
    documents = read_documents(
        inputs, text_column=text_column, one_document_per=one_document_per, strict=strict, report=drops
    )
    with written_folder(out) as side:
        with working("reading", unit="documents") as work:
            texts = SplitTexts(documents, work)
            tokenizer = tokenizers.train_tokenizer(
                texts,
                algorithm=algorithm,
                vocab_size=vocab_size,
                lowercase=lowercase,
                strip_accents=strip_accents,
                normalization=normalization,
                byte_fallback=byte_fallback,
                long_words=long_words,
                word_types=word_types,
            )
        with working("measuring the tokenizer"):
            report = tokenizers.report(tokenizer, texts.held_out or texts.examples())
        tokenizers.save(tokenizer, side)
        figures = {"algorithm": algorithm, "held_out": bool(texts.held_out), **report.as_dict()}
        figures["long_words"] = {"longer_than": tokenizers.LONGEST_WORD[algorithm], **asdict(long_words)}
        figures["word_types"] = word_types.as_dict()
        (side / REPORT).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    measured = "held-out text" if texts.held_out else "its own training text"
    console.print(report.table(f"{algorithm} tokenizer {out}, measured on {measured}"))
    if drops.total:
        console.print(drops.table())
    notes = warnings(tokenizer, report, vocab_size, bool(texts.held_out))
    if strip_accents and (share := vowel_signs(texts.held_out or texts.examples())) > MANY_SIGNS:
        notes.append(
            f"{share:.1%} of the characters are vowel signs and the like, which --strip-accents removes: without it, "
            "the words of this text stay what they are"
        )
    if long_words.words:
        notes.append(long_words.note(algorithm))
    if word_types.left_out:
        notes.append(word_types.note())
    for warning in notes:
        console.print(f"Note: {warning}.", style="yellow")
    return tokenizer


def warnings(
    tokenizer: PreTrainedTokenizerFast, report: tokenizers.TokenizerReport, vocab_size: int, held_out: bool
) -> list[str]:
    """What somebody should know before training a model with this tokenizer."""
    notes = report.warnings()
    if len(tokenizer) < vocab_size:
        notes.append(
            f"the text is too small for {vocab_size:,} tokens: the vocabulary has {len(tokenizer):,}; "
            "give more text or a smaller --vocab-size"
        )
    if not held_out:
        notes.append("the input has too few documents to hold any out, so these figures are too good")
    elif report.rough():
        notes.append(f"only {report.rough()} were held out, so these figures are rough")
    if not tokenizers.covers_all_bytes(tokenizer.backend_tokenizer):
        notes.append("characters outside the vocabulary become [UNK]: fit for encoders, less so for generators")
    return notes


def vowel_signs(texts: Sequence[str]) -> float:
    """The share of characters that count as accents, but spell the words of Hindi, Thai and the like."""
    signs = sum(unicodedata.category(sign)[0] == "M" for text in texts for sign in MARKED.findall(text))
    return signs / max(1, sum(map(len, texts)))


class SplitTexts:
    """The texts to train on; after the first FEW_TEXTS, those of a hash below HELD_OUT_SHARE are held out."""

    def __init__(self, documents: Iterator[Document], work: Work):
        self.documents, self.work = documents, work
        self.held_out: list[str] = []
        self.held_out_characters = 0
        self.smallest: list[tuple[float, str]] = []  # a heap of training texts, for a corpus without held-out ones

    def __iter__(self) -> Iterator[str]:
        characters = count = 0
        for count, document in enumerate(self.documents, start=1):
            characters += len(document.text)
            if count % 64 == 0:
                self.work.at(count, f"{count:,} documents, {characters / 1e6:,.1f} MB")
            if self.is_trained_on(document.text):
                yield document.text
        self.work.say("training the tokenizer")
        self.work.at(count, f"{count:,} documents, {characters / 1e6:,.1f} MB")

    def is_trained_on(self, text: str) -> bool:
        place = unit_interval(digest(text.encode()))
        if place < HELD_OUT_SHARE and len(self.smallest) == FEW_TEXTS:  # the first ones are for training in any case
            if self.held_out_characters < HELD_OUT_CHARACTERS:
                self.held_out.append(text)
                self.held_out_characters += len(text)
            return False
        if len(self.smallest) < FEW_TEXTS or not self.held_out:
            push = heapq.heappush if len(self.smallest) < FEW_TEXTS else heapq.heappushpop
            push(self.smallest, (-place, text))
        return True

    def examples(self) -> list[str]:
        """A few training texts, of the smallest hashes."""
        return [text for _, text in sorted(self.smallest, reverse=True)]
