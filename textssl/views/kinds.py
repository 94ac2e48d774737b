"""The views that two-view methods choose from: each a section of `objective.view`, and a function of one sample."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator

from textssl.errors import UserError
from textssl.sample_types import (
    WORD_START,
    Adjacent,
    Document,
    Draws,
    ManyDocuments,
    Pair,
    Views,
    content_key,
    cut_long_words,
)
from textssl.section_base import Section
from textssl.views.crops import Overlap, two_spans
from textssl.views.many_crops import many_spans

Rate = Annotated[float, Field(ge=0, lt=1)]


class View(Section):
    """What a two-view method is shown of one sample. Equal samples get equal sources, so that they never repel.

    draws: what a sample is. Called with a sample, the sample's own generator and the progress of the run in [0, 1], it
    gives two texts without special tokens. makes_many: whether it has a quicker way for all documents of a step.
    """

    model_config = ConfigDict(frozen=True)  # in addition to Section's own
    draws: ClassVar[Draws]
    makes_many: ClassVar[bool] = False
    name: Any

    def check_length(self, tokens: int, key: str) -> None:
        """Raise UserError where the options ask for more than `tokens`, at which texts are cut. key: of the section."""

    def __call__(self, sample: Any, rng: np.random.Generator, progress: float) -> Views:
        """The views of one sample; numpy only, since it runs in the loader's workers."""
        raise NotImplementedError

    def at_once(self, documents: ManyDocuments) -> list[Views]:
        """The same views of all documents of a step; only with `makes_many`."""
        raise NotImplementedError


class CropsView(View):
    """Two spans of a document (arXiv:2006.03659, section 3.1).

    min_tokens, max_tokens: range from which the length of a span is drawn, special tokens not counted. overlap:
    disjoint spans, or any. max_gap: most tokens between disjoint spans; null: they lie anywhere.
    """

    name: Literal["crops"] = "crops"
    draws: ClassVar[Draws] = "documents"
    makes_many: ClassVar[bool] = True
    min_tokens: Annotated[int, Field(ge=1)] = 8
    max_tokens: Annotated[int, Field(ge=1)] = 48
    overlap: Overlap = "disjoint"
    max_gap: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def in_order(self) -> CropsView:
        if self.min_tokens > self.max_tokens:
            raise ValueError(f"min_tokens is {self.min_tokens} and max_tokens {self.max_tokens}: it must not be less")
        return self

    def check_length(self, tokens: int, key: str) -> None:
        if self.max_tokens > tokens:
            raise UserError(
                f"{key}.max_tokens is {self.max_tokens}, but texts are cut at {tokens} tokens: raise "
                "data.sequence_length"
            )

    def __call__(self, sample: Document, rng: np.random.Generator, progress: float) -> Views:
        spans = two_spans(sample.marks, self.min_tokens, self.max_tokens, self.overlap, rng, self.max_gap)
        source = content_key(sample.ids) if sample.source is None else sample.source
        return Views([sample.ids[begin:end].copy() for begin, end in spans], source)  # copied, so that the rest can go

    def at_once(self, documents: ManyDocuments) -> list[Views]:
        spans, unread = many_spans(documents, self.min_tokens, self.max_tokens, self.overlap, self.max_gap)
        shown = zip(documents.texts(spans), documents.sources(), strict=True)
        views = [Views([*texts], source) for texts, source in shown]
        for number in unread.tolist():
            views[number] = self(*documents.one(number), 0.0)
        return views


class DropoutView(View):
    """A sentence twice: the views differ by the encoder's dropout alone (arXiv:2104.08821, section 3)."""

    name: Literal["dropout"] = "dropout"
    draws: ClassVar[Draws] = "sentences"

    def __call__(self, sample: Document, rng: np.random.Generator, progress: float) -> Views:
        return Views([sample.ids, sample.ids], source=content_key(sample.ids))


class DeletionView(View):
    """A sentence twice, each time without some of its words (arXiv:2012.15466, section 3.3).

    rate: the probability that a word is deleted; one word always stays.
    """

    name: Literal["deletion"] = "deletion"
    draws: ClassVar[Draws] = "sentences"
    rate: Rate = 0.2

    def __call__(self, sample: Document, rng: np.random.Generator, progress: float) -> Views:
        return Views([self.shortened(sample, rng) for _ in range(2)], source=content_key(sample.ids))

    def shortened(self, sample: Document, rng: np.random.Generator) -> np.ndarray:
        words = word_numbers(sample)  # (tokens,)
        kept = rng.random(words[-1] + 1) >= self.rate
        if not kept.any():
            kept[rng.integers(len(kept))] = True
        return sample.ids[kept[words]]


class ShuffleView(View):
    """A sentence, and the same sentence with its words in another order (arXiv:2105.11741, section 3.2).

    distance: about how many places a word may move; null: any order is equally likely.
    """

    name: Literal["shuffle"] = "shuffle"
    draws: ClassVar[Draws] = "sentences"
    distance: Annotated[int, Field(ge=1)] | None = None

    def __call__(self, sample: Document, rng: np.random.Generator, progress: float) -> Views:
        words = word_numbers(sample)
        count = int(words[-1]) + 1
        noise = rng.random(count) * (count if self.distance is None else self.distance + 1)
        order = np.argsort(noise if self.distance is None else np.arange(count) + noise, kind="stable")
        rank = np.empty(count, np.int64)
        rank[order] = np.arange(count)
        return Views([sample.ids, sample.ids[np.argsort(rank[words], kind="stable")]], source=content_key(sample.ids))


class PairsView(View):
    """The two texts of a given pair (data.pairs); without given pairs, two neighbouring sentences of the corpus."""

    name: Literal["pairs"] = "pairs"
    draws: ClassVar[Draws] = "adjacent"

    def __call__(self, sample: Adjacent | Pair, rng: np.random.Generator, progress: float) -> Views:
        if isinstance(sample, Adjacent):
            return Views([sample.left.ids, sample.right.ids], source=content_key(sample.left.ids))
        target = float("nan") if sample.target is None else sample.target
        source = content_key(sample.left) if sample.source is None else sample.source
        return Views([sample.left, sample.right], source=source, target=target)


def kind_of(view: Any) -> Any:
    """The name of a view's kind, from the view or from its options."""
    return view.get("name") if isinstance(view, dict) else getattr(view, "name", None)


AnyView = Annotated[
    Annotated[CropsView, Tag("crops")]
    | Annotated[DropoutView, Tag("dropout")]
    | Annotated[DeletionView, Tag("deletion")]
    | Annotated[ShuffleView, Tag("shuffle")]
    | Annotated[PairsView, Tag("pairs")],
    Discriminator(kind_of),
]  # the type of an option `view`, whose default says which one is meant where no name is given
KINDS: dict[str, type[View]] = {
    "crops": CropsView,
    "dropout": DropoutView,
    "deletion": DeletionView,
    "shuffle": ShuffleView,
    "pairs": PairsView,
}


def word_numbers(sample: Document) -> np.ndarray:
    """(tokens,) the number of the word, or piece of a long one, that each token belongs to, from 0."""
    starts = (sample.marks & WORD_START) > 0
    starts[0] = True
    return np.cumsum(cut_long_words(starts)) - 1


def as_view(view: View | dict[str, Any]) -> View:
    """The view itself, or one made from its options, which must be valid."""
    if isinstance(view, View):
        return view
    options = dict(view)
    return KINDS[options["name"]](**options)
