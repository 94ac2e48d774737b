"""What encodes a stream of documents: a fast engine if it is known to give the same corpus, else the library."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer

from textssl.data.corpus.encoding import DocumentEncoder
from textssl.data.corpus.pieces import Stream, first_documents, text_of
from textssl.data.samples.cache import cache_folder
from textssl.tokenizer.engines import engine_name, library_name
from textssl.tokenizer.folder import tokenizer_hash
from textssl.tokenizer.hard_strings import hard_strings
from textssl.tokenizer.verdicts import fault

WORTH_CHARACTERS = 2**20  # the library has encoded shorter input before an engine has been tried
OWN_CHARACTERS = 2**18  # of the input, on which an engine is tried


class Choice(NamedTuple):
    """fast: whether an engine encodes. name: what encodes, with its version. note: why an engine is not used."""

    fast: bool
    name: str
    note: str = ""


def choose_engine(documents: Iterable[Stream], tokenizer: Tokenizer) -> tuple[Iterator[Stream], Choice]:
    """The whole stream, and what is to encode it. Its first WORTH_CHARACTERS have to be documents.

    The first time that a tokenizer is met, the engine and the library encode hard strings and the first documents; at
    a single difference in ids or marks the library is used, now and later; where an error ends the comparison, now.
    """
    stream = iter(documents)
    engine = engine_name(tokenizer)
    if engine is None:
        return stream, Choice(False, library_name())
    opening = list(first_documents(stream, WORTH_CHARACTERS))
    whole = chain(opening, stream)
    if sum(len(text_of(document)) for document in opening) < WORTH_CHARACTERS:
        return whole, Choice(False, library_name())

    def compare() -> str | None:
        own = [text_of(document) for document in first_documents(iter(opening), OWN_CHARACTERS)]
        return first_difference(tokenizer, [*hard_strings(), *(text[:OWN_CHARACTERS] for text in own)])

    found = fault(engine, tokenizer_hash(tokenizer), "marks", cache_folder() / "engines", compare)
    if found is not None:
        return whole, Choice(False, library_name(), f"{engine} {found}")
    return whole, Choice(True, engine)


def first_difference(tokenizer: Tokenizer, texts: Sequence[str]) -> str | None:
    """Where the engine and the library differ, the first such text; None where they agree."""
    slow, fast = DocumentEncoder(tokenizer), DocumentEncoder(tokenizer, fast=True)
    if same(slow, fast, texts):
        return None
    for text in texts:
        if not same(slow, fast, [text]):
            return f"on {text[:40]!r}"
    return "on several texts together"


def same(slow: DocumentEncoder, fast: DocumentEncoder, texts: Sequence[str]) -> bool:
    pairs = zip(slow.encode(texts)[:3], fast.encode(texts)[:3], strict=True)
    return all(np.array_equal(left, right) for left, right in pairs)
