"""Texts -> token ids as a model reads them: by a fast engine where it is known to agree, else by the library."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from textssl.data.batches.id_readers import EngineReader, Frame, LibraryReader, Read, Reader, SlowReader
from textssl.data.samples.cache import cache_folder
from textssl.errors import UserError
from textssl.system.progress import say_once
from textssl.tokenizer.engines import Engine, engine_name, library_name, load_engine
from textssl.tokenizer.folder import tokenizer_hash
from textssl.tokenizer.hard_strings import around_special, hard_strings
from textssl.tokenizer.verdicts import Fault, compared, fault

WORTH_CHARACTERS = 2**20  # below this the library is used: it is done before an engine is ready
OWN_CHARACTERS = 2**18  # of the texts read, on which an engine is tried
FRAMED_TEXTS = 256  # of those texts, on which special tokens and truncation are tried


class TokenReader:
    """Texts -> ids by a tokenizer of transformers, which may be in use elsewhere, or by one of the tokenizers library.

    max_tokens: where texts are cut, special tokens counted; None: not at all. A tokenizer of the library
    cuts as it is set. special_tokens: whether they are put around a text. An engine takes over once there is enough
    text and if it gives the same ids: the first time that a tokenizer is met, both encode hard strings and some of the
    texts. `engine` names what encodes. Raises UserError where max_tokens leaves no room for text.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase | Tokenizer,
        max_tokens: int | None = None,
        *,
        special_tokens: bool = True,
    ) -> None:
        self.engine = library_name()
        self.slow: SlowReader | None = None
        self.library: LibraryReader | None = None
        self.fast: EngineReader | None = None
        self.characters: int | None = 0  # read so far; None once it is decided what encodes
        if isinstance(tokenizer, Tokenizer):
            self.library = LibraryReader(tokenizer, tokenizer.truncation, special_tokens)
            return
        around = tokenizer.num_special_tokens_to_add() if special_tokens else 0
        if max_tokens is not None and max_tokens <= around:
            raise UserError(
                f"max_tokens is {max_tokens}, but {around} special tokens stand around a text, which count too: "
                f"give {around + 1} or more"
            )
        self.slow = SlowReader(tokenizer, max_tokens, special_tokens)
        backend = getattr(tokenizer, "backend_tokenizer", None) if tokenizer.is_fast else None
        if backend is not None:
            cuts = (
                {"max_length": max_tokens, "direction": tokenizer.truncation_side} if max_tokens is not None else None
            )
            self.library = LibraryReader(backend, cuts, special_tokens, tokenizer.split_special_tokens)

    def read(self, texts: Sequence[str]) -> Read:
        if self.characters is not None:
            self._choose(texts)
        if self.fast is not None and self.library is not None:
            self.library.set(self.library.cuts)  # tokenizers are saved with their settings, which must not differ
        reader: Reader | None = self.fast or self.library or self.slow
        assert reader is not None
        return reader.read(texts)

    @cached_property
    def frame(self) -> Frame | None:
        """What is put around every text; None where that is not known."""
        return None if self.library is None else self.library.frame()

    def _choose(self, texts: Sequence[str]) -> None:
        assert self.characters is not None
        self.characters += sum(map(len, texts))
        if self.characters < WORTH_CHARACTERS:
            return
        self.characters = None
        name = None if self.library is None else engine_name(self.library.backend)
        if self.library is not None and name is not None and self.frame is not None:
            self.fast, found = proof(self.library, self.frame, name, texts)
            if self.fast is not None:
                self.engine = name
            else:
                say_once(f"{name} {found}")
        say_once(f"tokenizing with {self.engine}")


def proof(
    library: LibraryReader, frame: Frame, name: str, texts: Sequence[str]
) -> tuple[EngineReader, None] | tuple[None, Fault]:
    """A reader by the engine of that name that can replace `library`, or why there is none.

    Verdicts on ids are remembered; special tokens and truncation are tried every time, on a few texts.
    """
    backend, split, own = library.backend, library.split_special, opening(texts, OWN_CHARACTERS)
    readers: list[EngineReader] = []

    @cache
    def engine() -> Engine:
        return load_engine(backend, special_in_text=not split)

    def compare_ids() -> str | None:
        bare = LibraryReader(backend, None, False, split)
        fast = EngineReader(engine(), Frame([], [], True), None)
        return first_difference(bare, fast, [*hard_strings(), *around_special(backend), *own])

    def compare_framed() -> str | None:
        readers.append(EngineReader(engine(), frame, library.cuts))
        return first_difference(library, readers[0], ["", *own[:FRAMED_TEXTS]])

    purpose = "ids, special tokens split" if split else "ids"
    found = fault(name, tokenizer_hash(backend), purpose, cache_folder() / "engines", compare_ids)
    found = compared(compare_framed) if found is None else found
    return (readers[0], None) if found is None else (None, found)


def opening(texts: Sequence[str], characters: int) -> list[str]:
    """The first texts, up to so many characters in all; the last one is cut."""
    found: list[str] = []
    for text in texts:
        if characters <= 0:
            break
        found.append(text[:characters])
        characters -= len(text)
    return found


def first_difference(slow: Reader, fast: Reader, texts: Sequence[str]) -> str | None:
    """Where two readers differ: the first such text, or the number of texts cut; None where they agree."""
    left, right = slow.read(texts), fast.read(texts)
    for text, one, other in zip(texts, left.rows, right.rows, strict=True):
        if one.tolist() != other.tolist():
            return f"on {text[:40]!r}"
    return None if left.cut == right.cut else "in the number of texts that are cut"
