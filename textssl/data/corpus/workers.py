"""Encoder processes: pieces of work go out, results come back in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import NamedTuple, TypeVar

from tokenizers import Tokenizer

from textssl.data.corpus.cleaning.filters import Cleaning, Fault
from textssl.data.corpus.cleaning.shingles import Shingled, rows_of, shingled
from textssl.data.corpus.encoding import DocumentEncoder, Encoded
from textssl.data.language.languages import AUTO, UNKNOWN
from textssl.system.subprocesses import Helper, Pool, answer_requests

Piece = TypeVar("Piece")
IN_FLIGHT = 3  # pieces per worker: one being encoded, one waiting, one being written
IN_FLIGHT_CHARACTERS = 2**26
ONE_CORE = {
    "TOKENIZERS_PARALLELISM": "false",
    **dict.fromkeys(("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    # glibc would give the arrays of a piece back to the kernel, and get the pages of the next one zeroed
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
    "MALLOC_TRIM_THRESHOLD_": str(2**27),
}


class Worked(NamedTuple):
    """The result for a piece: which of its texts break a rule and why, and what is needed to write the others.

    faults: (texts,), None where no rule is broken. encoded, shingled: of the texts without a fault; shingled is None
    unless near-duplicates are looked for.
    """

    faults: list[Fault | None]
    encoded: Encoded
    shingled: Shingled | None


class EncoderPool(Pool):
    """`num_workers` encoder processes. Results come in the order of the pieces, however many processes there are.

    language, main_language and fast: as in DocumentEncoder. cleaning: the rules that texts must keep.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        num_workers: int,
        language: str = AUTO,
        main_language: str = UNKNOWN,
        *,
        fast: bool = False,
        cleaning: Cleaning = Cleaning(),  # noqa: B008 (immutable)
    ) -> None:
        state = (tokenizer.to_str(), language, main_language, fast, cleaning)
        super().__init__([Helper("an encoder process", __name__, state, ONE_CORE) for _ in range(num_workers)])

    def map(self, pieces: Iterable[Piece], texts: Callable[[Piece], Sequence[str]]) -> Iterator[tuple[Piece, Worked]]:
        """Each piece with the result for its texts, in order; pieces and characters in flight are bounded."""
        flying: deque[tuple[Piece, int, Future[Worked]]] = deque()
        most, characters = IN_FLIGHT * len(self.helpers), 0
        for piece in pieces:
            work = list(texts(piece))
            size = sum(map(len, work))
            while flying and (len(flying) >= most or characters + size > IN_FLIGHT_CHARACTERS):
                done, done_size, future = flying.popleft()
                characters -= done_size
                yield done, future.result()
            flying.append((piece, size, self.submit(work)))
            characters += size
        while flying:
            done, _, future = flying.popleft()
            yield done, future.result()


def serve() -> None:
    """In the subprocess: receives the arguments of `worker`, then lists of texts."""
    answer_requests(lambda state: (None, worker(*state)))


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
