"""Pairs of texts that belong together, drawn from a prepared corpus or a table: a sample of bounded size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
from tokenizers import Tokenizer

from textssl.data.corpus.corpus import Corpus
from textssl.data.corpus.shards import Shard
from textssl.data.text.documents import is_usable
from textssl.data.text.drops import MISSING_COLUMN, DropReport
from textssl.data.text.formats import table_records
from textssl.data.text.inputs import expand_inputs
from textssl.errors import listed
from textssl.sample_types import SENTENCE_START, WORD_START, cut_long_words

MIN_TOKENS = 5  # of each text of a pair: fewer do not show what it is about
PASSAGE_TOKENS = 64
HALF_CHARACTER = "\ufffd"  # what the bytes of an incomplete character decode to
TOO_SHORT = f"shorter than {MIN_TOKENS} tokens"
Item = TypeVar("Item")


@dataclass(frozen=True)
class Related:
    """Two texts that belong together. document: its number; pairs of one document are no negatives of each other."""

    text_a: str
    text_b: str
    document: int


@dataclass
class Reservoir(Generic[Item]):
    """A uniform random sample of at most `size` items of a stream, in stream order (Vitter 1985, algorithm R)."""

    size: int
    rng: np.random.Generator
    seen: int = 0
    kept: list[tuple[int, Item]] = field(default_factory=list)

    def add(self, item: Item) -> None:
        place = self.seen if self.seen < self.size else int(self.rng.integers(self.seen + 1))
        if place < len(self.kept):
            self.kept[place] = (self.seen, item)
        elif place < self.size:
            self.kept.append((self.seen, item))
        self.seen += 1

    def items(self) -> list[Item]:
        return [item for _, item in sorted(self.kept, key=lambda entry: entry[0])]


def corpus_pairs(
    corpus: Corpus, tokenizer: Tokenizer, unit: str, *, size: int, seed: int, report: DropReport
) -> tuple[list[Related], int]:
    """A sample of at most `size` pairs of a corpus, decoded, and the number of pairs that there are to draw from.

    unit: "sentences" pairs each sentence with the next, none of them twice; "passages" pairs the first PASSAGE_TOKENS
    of a document with as many that follow, both up to the last whole word. Pairs with a text below MIN_TOKENS are
    dropped and counted in `report`.
    """
    spans: Reservoir[tuple[int, int, int, int, int]] = Reservoir(size, np.random.default_rng(seed))
    for number, (index, first, last) in enumerate(corpus.document_bounds()):
        for start, middle, stop in document_spans(corpus.shard(index), first, last, unit):
            if min(middle - start, stop - middle) < MIN_TOKENS:
                report.add(TOO_SHORT, f"document {number + 1}")
            else:
                spans.add((index, start, middle, stop, number))
    drawn = spans.items()
    halves = [(index, span) for index, start, middle, stop, _ in drawn for span in ((start, middle), (middle, stop))]
    texts = decode(corpus, tokenizer, halves)
    pairs = [Related(texts[2 * place], texts[2 * place + 1], row[-1]) for place, row in enumerate(drawn)]
    return pairs, spans.seen


def document_spans(shard: Shard, first: int, last: int, unit: str) -> Iterator[tuple[int, int, int]]:
    """Token bounds (start, middle, stop) of each pair of the document at [first, last) of its shard."""
    if unit == "passages":
        opening = shard.marks[first : min(last, first + 2 * PASSAGE_TOKENS + 1)]
        words = first + np.flatnonzero(cut_long_words(opening & WORD_START > 0))
        length = min(PASSAGE_TOKENS, (last - first) // 2)
        middle = whole_words(words, first, first + length)
        stop = middle + length
        yield first, middle, stop if stop == last else whole_words(words, middle, stop)
        return
    starts = first + np.flatnonzero(shard.marks[first:last] & SENTENCE_START)
    bounds = [*starts.tolist(), last]
    for place in range(0, len(bounds) - 2, 2):
        yield bounds[place], bounds[place + 1], bounds[place + 2]


def whole_words(words: np.ndarray, start: int, stop: int) -> int:
    """The last place in (start, stop] at which a word begins; `stop` where there is none. words: where words begin."""
    inside = words[(words > start) & (words <= stop)]
    return int(inside[-1]) if len(inside) else stop


def decode(corpus: Corpus, tokenizer: Tokenizer, spans: Sequence[tuple[int, tuple[int, int]]]) -> list[str]:
    """The texts of (shard, (start, stop)) token spans, without incomplete characters at their ends."""
    ids = [corpus.shard(index).tokens[start:stop].tolist() for index, (start, stop) in spans]
    return [text.strip(HALF_CHARACTER).strip() for text in tokenizer.decode_batch(ids)]


def table_pairs(path: str, *, size: int, seed: int, report: DropReport) -> tuple[list[Related], int]:
    """A sample of the pairs (text_a, text_b) of a table, and the number of usable ones. Raises UserError."""
    drop = report.recorder(strict=False)
    pairs: Reservoir[Related] = Reservoir(size, np.random.default_rng(seed))
    columns = ("text_a", "text_b")
    for source in expand_inputs([path], report):
        for record in table_records(source, columns, drop):
            missing = next((column for column in columns if column not in record.fields), None)
            if missing:
                drop(MISSING_COLUMN, record.place, f"{missing}; there are {listed(record.columns)}")
            elif all(is_usable(record.fields[column], record.place, drop) for column in columns):
                pairs.add(Related(record.fields["text_a"], record.fields["text_b"], pairs.seen))
    return pairs.items(), pairs.seen
