"""Processes that read and encode documents: pieces of work go out, answers come back in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar, overload

from tokenizers import Tokenizer

from textssl.data.corpus.cleaning.filters import Cleaning, Fault
from textssl.data.corpus.cleaning.shingles import Shingled, rows_of, shingled
from textssl.data.corpus.dedup import digest
from textssl.data.corpus.encoding import DocumentEncoder, Encoded
from textssl.data.language.languages import AUTO, UNKNOWN
from textssl.data.text.documents import DropReport, line_texts
from textssl.data.text.formats import Lines, line_place
from textssl.system.freed_memory import thresholds
from textssl.system.subprocesses import Helper, Here, Pool, Workers, answer_requests
from textssl.system.threads import usable_cores

Extra = TypeVar("Extra")
IN_FLIGHT = 3  # pieces per worker: one being encoded, one waiting, one being written
IN_FLIGHT_CHARACTERS = 2**26
ONE_CORE = {
    "TOKENIZERS_PARALLELISM": "false",
    **dict.fromkeys(("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    **{name: str(value) for name, value in thresholds(2**27).items()},
}


@dataclass(frozen=True)
class LinePlaces(Sequence[str]):
    """Where lines of a file stand, in words that are put together when they are asked for. numbers: of the lines."""

    source: str
    numbers: list[int]

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> LinePlaces: ...
    def __getitem__(self, index: int | slice) -> str | LinePlaces:
        found = self.numbers[index]
        return LinePlaces(self.source, found) if isinstance(found, list) else line_place(self.source, found)


class Texts(NamedTuple):
    """Documents that have been read. sources: where each stands."""

    texts: list[str]
    sources: Sequence[str]


class Piece(NamedTuple):
    """What is known of documents that one worker encodes together. sizes: UTF-8 bytes.

    texts: they, if they are needed once more, to show what near-duplicates are like; else empty.
    """

    texts: list[str]
    sources: Sequence[str]
    digests: list[bytes]
    sizes: list[int]


class Worked(NamedTuple):
    """The result for a piece: which of its texts break a rule and why, and what is needed to write the others.

    faults: (texts,), None where no rule is broken. encoded, shingled: of the texts without a fault; shingled is None
    unless near-duplicates are looked for.
    """

    faults: list[Fault | None]
    encoded: Encoded
    shingled: Shingled | None


class Answer(NamedTuple):
    """dropped: records among the lines that hold no document."""

    piece: Piece
    worked: Worked
    dropped: DropReport


class Encoders(AbstractContextManager["Encoders"]):
    """`num_workers` processes that read and encode; they load what they need while the caller finds out what to do.

    On a single core it is this process, if an engine encodes (the library would start a thread for each core that the
    machine has).
    """

    def __init__(self, num_workers: int) -> None:
        self.num_workers, self.here = num_workers, num_workers == usable_cores() == 1
        self.opened = ExitStack()
        self.helpers = [] if self.here else self.start()

    def start(self) -> list[Helper]:
        helpers = list[Helper]()
        for _ in range(self.num_workers):
            helpers.append(Helper("an encoder process", __name__, ONE_CORE))
            self.opened.callback(helpers[-1].close)
        return helpers

    def prepared(
        self,
        tokenizer: Tokenizer,
        text_column: str = "text",
        language: str = AUTO,
        main_language: str = UNKNOWN,
        *,
        fast: bool = False,
        cleaning: Cleaning = Cleaning(),  # noqa: B008 (immutable)
    ) -> Workers:
        """The workers, ready for pieces; call it once.

        text_column: that holds the text, where lines are to be read. language, main_language and fast: as in
        DocumentEncoder. cleaning: the rules that texts must keep.
        """
        state = (text_column, tokenizer.to_str(), language, main_language, fast, cleaning)
        if self.here and fast:
            return Here(state, prepare)
        pool = Pool(self.helpers or self.start(), [state] * self.num_workers)
        return self.opened.enter_context(pool)

    def __exit__(self, *_: object) -> None:
        self.opened.close()


def in_order(workers: Workers, pieces: Iterable[tuple[Texts | Lines, Extra]]) -> Iterator[tuple[Extra, Answer]]:
    """The answer for each piece, in order, with what came with it; pieces and characters in flight are bounded."""
    flying: deque[tuple[Extra, int, Future[Answer]]] = deque()
    most, characters = IN_FLIGHT * workers.size, 0
    for piece, extra in pieces:
        size = sum(map(len, piece.lines if isinstance(piece, Lines) else piece.texts))
        while flying and (len(flying) >= most or characters + size > IN_FLIGHT_CHARACTERS):
            done, done_size, future = flying.popleft()
            characters -= done_size
            yield done, future.result()
        flying.append((extra, size, workers.submit(piece)))
        characters += size
    while flying:
        done, _, future = flying.popleft()
        yield done, future.result()


def prepare(state: tuple[Any, ...]) -> tuple[None, Callable[[Texts | Lines], Answer]]:
    """What a worker that was given this state answers, and how it answers pieces."""
    return None, reader(*state)


def serve() -> None:
    """In the subprocess: receives the arguments of `reader`, then pieces."""
    answer_requests(prepare)


def reader(text_column: str, *options: Any) -> Callable[[Texts | Lines], Answer]:
    """The function that reads a piece, if need be, and does the work on its texts. options: as in `worker`."""
    work = worker(*options)
    cleaning: Cleaning = options[-1]

    def answer(piece: Texts | Lines) -> Answer:
        report = DropReport()
        texts, sources = read_lines(piece, text_column, report) if isinstance(piece, Lines) else piece
        encoded = [text.encode() for text in texts]
        shown = [] if cleaning.near_duplicates is None else texts
        return Answer(Piece(shown, sources, list(map(digest, encoded)), list(map(len, encoded))), work(texts), report)

    return answer


def read_lines(lines: Lines, text_column: str, report: DropReport) -> Texts:
    texts, numbers = line_texts(lines, text_column, report.recorder(False))
    return Texts(texts, LinePlaces(lines.source, numbers))


def worker(
    tokenizer: str, language: str, main_language: str, fast: bool, cleaning: Cleaning
) -> Callable[[list[str]], Worked]:
    """The function that does the work on a piece's texts."""
    encoder = DocumentEncoder(Tokenizer.from_str(tokenizer), language, main_language, fast=fast)
    rows = None if cleaning.near_duplicates is None else rows_of(cleaning.near_duplicates)

    def work(texts: list[str]) -> Worked:
        faults = cleaning.faults(texts, main_language)
        kept = [text for text, fault in zip(texts, faults, strict=True) if fault is None]
        return Worked(faults, encoder.encode(kept), None if rows is None else shingled(kept, rows))

    return work
