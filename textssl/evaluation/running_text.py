"""Running text to score: which texts of a source, and how much of them."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from textssl.data.corpus.corpus import Corpus
from textssl.data.text.documents import DropReport, read_documents
from textssl.errors import UserError
from textssl.evaluation.split import text_hash
from textssl.tokenizer import tokenizer_hash

SHORTEST_CUT = 64  # bytes


def is_corpus(source: str | Path) -> bool:
    """Whether it is the folder of a prepared corpus."""
    return (Path(source) / "corpus.json").is_file()


def running_texts(
    source: str | Path, tokenizer: PreTrainedTokenizerBase, report: DropReport | None = None
) -> Iterator[str]:
    """Texts of a prepared corpus (its held-out split, decoded) or of any document input.

    report: counts the records that cannot be used. Raises UserError, also for a corpus of another tokenizer.
    """
    if not is_corpus(source):
        report = DropReport() if report is None else report
        yield from (document.text for document in read_documents([source], report=report))
        return
    corpus = Corpus.open(source)
    if corpus.held_out.is_dir():
        corpus = Corpus.open(corpus.held_out)
    corpus.check()
    if corpus.tokenizer_hash != tokenizer_hash(tokenizer):  # type: ignore[arg-type]
        raise UserError(f"{source} was prepared with another tokenizer than the model's: give the text itself")
    for shard, start, stop in corpus.document_bounds():
        yield str(tokenizer.decode(corpus.shard(shard).tokens[start:stop].tolist())).strip()


def first_bytes(texts: Iterable[str], limit: int) -> list[str]:
    """Whole texts from the start, until they hold `limit` UTF-8 bytes; at least one, which is cut if it is longer."""
    kept, total = [], 0
    for text in texts:
        size = len(text.encode())
        if kept and total + size > limit:
            break
        if size > limit:
            text = text.encode()[:limit].decode("utf-8", "ignore")
            size = limit
        kept.append(text)
        total += size
    return kept


def drawn_bytes(texts: Iterable[str], limit: int, fewest: int) -> list[str]:
    """Beginnings of distinct texts of lowest hash, until they hold `limit` UTF-8 bytes.

    Every text is cut, between words where it has spaces, to a share of the limit, so that there are `fewest` texts at
    least where the source has them. Only those that are kept stay in memory.
    """
    kept: list[tuple[int, str]] = []  # a heap, the highest hash first
    known: set[int] = set()
    total = 0
    for text in texts:
        text = beginning(text, share_of(limit, fewest))
        key = text_hash(text)
        if not text or key in known or (total >= limit and key > -kept[0][0]):
            continue
        heapq.heappush(kept, (-key, text))
        known.add(key)
        total += len(text.encode())
        while total - len(kept[0][1].encode()) >= limit:
            dropped, last = heapq.heappop(kept)
            known.remove(-dropped)
            total -= len(last.encode())
    return first_bytes((text for _, text in sorted(kept, reverse=True)), limit)


def share_of(limit: int, fewest: int) -> int:
    """UTF-8 bytes of one text, where `fewest` of them are to hold `limit`."""
    return max(limit // fewest, SHORTEST_CUT)


def pieces(texts: Iterable[str], size: int) -> Iterator[str]:
    """Texts cut into parts of at most `size` UTF-8 bytes, between words where there are spaces."""
    for text in texts:
        while text:
            part = beginning(text, size)
            yield part
            text = text[len(part) :].lstrip()


def beginning(text: str, limit: int) -> str:
    """The words of a text that fit into `limit` UTF-8 bytes; of a longer word without spaces, its beginning."""
    raw = text.encode()
    if len(raw) <= limit:
        return text
    cut = raw[:limit].decode("utf-8", "ignore")
    if not text[len(cut)].isspace():
        words = cut.rsplit(maxsplit=1)
        cut = cut[: len(cut) - len(words[-1])] if len(words) > 1 else cut
    return cut.rstrip() or cut
