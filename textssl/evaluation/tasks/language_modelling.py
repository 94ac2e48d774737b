"""Language modelling as a task: how well a model predicts the text of a source, in or out of its domain."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar, Literal

from textssl.data.text.documents import DropReport, expand_inputs
from textssl.errors import UserError
from textssl.evaluation.figures.figure import Figure, measured
from textssl.evaluation.figures.intervals import Score, bootstrap
from textssl.evaluation.figures.outcomes import Outcomes
from textssl.evaluation.figures.resampling import on_all, ratio_of
from textssl.evaluation.running_text import drawn_bytes, is_corpus, pieces, running_texts, share_of
from textssl.evaluation.tasks.bits_per_byte import bytes_of
from textssl.inference.language.scorer import LANGUAGE_MODEL, Scorer
from textssl.tokenizer import keeps_text

FEWEST_TEXTS = 16  # behind an interval, where the source has so many


class Language:
    """One figure: `bits_per_byte` of a causal model, `bound_bits_per_byte` of a diffusion model (at most so many,
    arXiv:2502.09992, eq. 14), `pseudo_bits_per_byte` of another masked one (each token hidden in turn,
    arXiv:1910.14659, eq. 2). Where the tokenizer does not keep all of a text, `nats_per_token` in their place, which
    compare only between models with the same tokenizer.

    name: the task's. path: any input of documents, or a prepared corpus (its held-out split). max_bytes: a causal model
    reads so many UTF-8 bytes of it, of texts drawn by their hash (of a few long ones, of their parts), a diffusion
    model, which reads it several times, a quarter; max_masked_bytes: a masked model, which needs a row for each token.
    domain: "in" or "out" of what the model has learned from, for the table.
    """

    kind = "language"
    reads = LANGUAGE_MODEL
    models: ClassVar[tuple[str, ...]] = ("causal", "masked")
    floor = None
    tfidf = None

    def __init__(
        self,
        name: str,
        path: str,
        *,
        max_bytes: int = 500_000,
        max_masked_bytes: int = 8_000,
        domain: Literal["in", "out"] | None = None,
        seed: int = 0,
    ) -> None:
        self.name, self.path, self.domain, self.seed = name, path, domain, seed
        self.limits = {"causal": max_bytes, "bound": max(1, max_bytes // 4), "masked": max_masked_bytes}

    def facts(self) -> dict[str, Any]:
        """Where the text is from. What was read of it depends on the model and stands with the figure."""
        if not is_corpus(self.path):
            expand_inputs([self.path], DropReport())  # a missing file is reported before any work
        return {"kind": self.kind, "source": self.path, "domain": self.domain}

    def texts(self, scorer: Scorer, report: DropReport | None = None) -> list[str]:
        """The texts that a model of this kind reads. Raises UserError where there are none."""
        limit = self.limits[scorer.measure]
        texts = drawn_bytes(running_texts(self.path, scorer.tokenizer, report), limit, FEWEST_TEXTS)
        if not texts:
            raise UserError(f"{self.name}: there is no text in {self.path} to score")
        if len(texts) < FEWEST_TEXTS:  # a few long ones: parts of them are drawn instead
            parts = pieces(running_texts(self.path, scorer.tokenizer), share_of(limit, FEWEST_TEXTS))
            texts = drawn_bytes(parts, limit, FEWEST_TEXTS)
        return texts

    def run(self, scorer: Scorer, progress: str | None = None) -> Iterator[tuple[str, Figure]]:
        """(name, figure) of a language model; the interval is over texts."""
        report = DropReport()
        texts = self.texts(scorer, report)
        found = scorer.code_length(texts, progress=progress)
        keeps = keeps_text(scorer.tokenizer)
        size = bytes_of(texts)
        nats = found.nats / math.log(2) if keeps else found.nats
        units = size if keeps else found.tokens

        ratio = ratio_of(nats, units)
        value = on_all(ratio, len(texts))
        low, high = bootstrap(ratio, len(texts), self.seed) if len(texts) > 1 else (value, value)
        settings = {
            "texts": len(texts),
            "tokens": int(found.tokens.sum()),
            "bytes": int(size.sum()),
            "context": found.context,
            "dropped": report.as_dict(),
        }
        name = ("" if found.kind == "causal" else f"{found.kind}_") + ("bits_per_byte" if keeps else "nats_per_token")
        # nats a token do not compare between two tokenizers: no paired comparison
        outcomes = Outcomes.of("ratio", nats, units) if keeps else None
        figure = measured(Score(value, low, high), "texts", len(texts), outcomes=outcomes)
        yield name, replace(figure, settings=settings)

    def run_floor(self) -> Iterator[tuple[str, Figure]]:
        """Nothing."""
        yield from ()
