"""Minimal pairs as a task: does a language model find the right one of two sentences more probable?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from textssl.data.text.documents import is_usable
from textssl.data.text.drops import MISSING_COLUMN, DropReport
from textssl.data.text.formats import table_records
from textssl.data.text.inputs import expand_inputs
from textssl.errors import UserError
from textssl.evaluation.figures.figure import Figure, exact, measured
from textssl.evaluation.figures.intervals import Score, bootstrap
from textssl.evaluation.figures.outcomes import Outcomes
from textssl.evaluation.figures.resampling import mean_of
from textssl.evaluation.tasks.agreement import Pair, agreement_pairs
from textssl.inference.language.scorer import LANGUAGE_MODEL, Scorer

ALL = "accuracy"
COLUMNS = ("good", "bad", "phenomenon")


class MinimalPairs:
    """Figure `accuracy`: the share of pairs whose good sentence has the higher log-probability, summed over its tokens;
    then the same of each phenomenon, under its name, where there are several. Ties count half.

    name: the task's. path: a .jsonl, .csv or .parquet file with the columns good, bad and, if wanted, phenomenon;
    without it the agreement set that the package makes. max_pairs: only the first so many. hide_rest: masked
    models score a token with the rest of its word hidden as well (arXiv:2305.10588); false: the token alone
    (arXiv:1910.14659, eq. 2).
    """

    kind = "minimal_pairs"
    reads = LANGUAGE_MODEL
    models: ClassVar[tuple[str, ...]] = ("causal", "masked")
    floor = "chance"
    tfidf = None

    def __init__(
        self,
        name: str,
        path: str | None = None,
        *,
        max_pairs: int | None = None,
        hide_rest: bool = True,
        seed: int = 0,
    ) -> None:
        self.name, self.path, self.max_pairs = name, path, max_pairs
        self.hide_rest, self.seed = hide_rest, seed

    @cached_property
    def pairs(self) -> list[Pair]:
        return self._read[0][: self.max_pairs]

    @cached_property
    def _read(self) -> tuple[list[Pair], DropReport]:
        """All pairs, and what was dropped."""
        return (agreement_pairs(), DropReport()) if self.path is None else read_minimal_pairs(self.path)

    @property
    def phenomena(self) -> dict[str, list[int]]:
        """The places of the pairs of each phenomenon, where there are several."""
        names = list(dict.fromkeys(pair.phenomenon for pair in self.pairs))
        if len(names) < 2:
            return {}
        return {name: [place for place, pair in enumerate(self.pairs) if pair.phenomenon == name] for name in names}

    def facts(self) -> dict[str, Any]:
        """How many pairs stand behind the figures."""
        return {
            "kind": self.kind,
            "source": self.path or "agreement",
            "pairs": len(self.pairs),
            "available_pairs": len(self._read[0]),
            "phenomena": dict(Counter(pair.phenomenon for pair in self.pairs)),
            "dropped": self._read[1].as_dict(),
        }

    def run(self, scorer: Scorer, progress: str | None = None) -> Iterator[tuple[str, Figure]]:
        """(name, figure) of a language model; intervals over pairs."""
        good, bad, _ = zip(*self.pairs, strict=True)
        nats = scorer.likelihood([*good, *bad], hide_rest=self.hide_rest, progress=progress).nats
        gaps = nats[len(bad) :] - nats[: len(good)]
        right = np.where(gaps == 0, 0.5, gaps > 0)
        yield ALL, self._share(right)
        for name, places in self.phenomena.items():
            yield name, self._share(right[places])

    def _share(self, right: np.ndarray) -> Figure:
        """The mean of `right`, (pairs,) 1, 0, or 1/2 for a tie, with its interval."""
        low, high = bootstrap(mean_of(right), len(right), self.seed)
        outcomes = Outcomes.of("mean", right if (right == 0.5).any() else right == 1)
        return measured(Score(float(right.mean()), low, high), "pairs", len(right), outcomes=outcomes)

    def run_floor(self) -> Iterator[tuple[str, Figure]]:
        """The same names for a coin toss."""
        yield ALL, exact(0.5, len(self.pairs))
        for name, places in self.phenomena.items():
            yield name, exact(0.5, len(places))


def read_minimal_pairs(path: str) -> tuple[list[Pair], DropReport]:
    """The columns good, bad and phenomenon of one table. Records without a sentence, or with the same one twice, are
    dropped and counted. Raises UserError."""
    report = DropReport()
    sources = expand_inputs([path], report)
    if len(sources) > 1:
        raise UserError(f"{path} stands for {len(sources)} files, a set of minimal pairs is one file: name it")
    drop = report.recorder(False)
    found: dict[Pair, None] = {}
    columns: dict[str, None] = {}
    for record in table_records(sources[0], COLUMNS, drop):
        columns |= dict.fromkeys(record.columns)
        sentences = [record.fields.get(column) for column in COLUMNS[:2]]
        missing = [column for column in COLUMNS[:2] if column not in record.fields]
        if missing:
            drop(MISSING_COLUMN, record.place, missing[0])
        elif sentences[0] == sentences[1]:
            drop("good and bad are the same", record.place, "")
        elif all([is_usable(sentence, record.place, drop) for sentence in sentences]):
            phenomenon = str(record.fields.get("phenomenon") or "other")
            if phenomenon == ALL:
                raise UserError(f"{record.place}: a phenomenon cannot be called {ALL}: that is the figure of all pairs")
            pair = Pair(str(sentences[0]), str(sentences[1]), phenomenon)
            if pair in found:
                drop("repeated pair", record.place, "")
            found[pair] = None
    for column in COLUMNS[:2]:
        if columns and column not in columns:
            raise UserError(
                f"{path}: there is no column {column}; there are {', '.join(columns)}; minimal pairs have the columns "
                "good, bad and, if wanted, phenomenon"
            )
    if not found:
        because = f"; dropped: {report.summary()}" if report.total else ""
        raise UserError(f"{path} holds no minimal pair{because}")
    return list(found), report
