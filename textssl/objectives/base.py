"""The contract between a self-supervised objective and the trainer.

An objective says what it draws, how a sample is corrupted, how many items it predicts, and gives either terms (sums
over items, divided by the trainer by their global count) or features (on which one loss over the whole global batch is
computed), or both. Nothing here or in a method knows about processes, accumulation or files of a corpus.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from textssl.batch import Batch, Rows
from textssl.errors import UserError
from textssl.sample_types import PairFacts, Row, RowFormat
from textssl.tokenizer.vocabulary import Vocabulary


class Term(NamedTuple):
    """One part of a loss: the sum over its items (a scalar, in nats where it is a likelihood), and its weight."""

    total: Tensor
    weight: float = 1.0


class Encoded(NamedTuple):
    """What an objective makes of a micro-batch.

    terms: sums over items; the trainer divides each by its own global count. features: tensors with a row for each of
    batch.samples, in its order, for a loss that sees the whole global batch; those that are not of floating point
    (keys, places) get no gradient.
    """

    terms: dict[str, Term]
    features: dict[str, Tensor]


class PartOf(NamedTuple):
    """An objective as part of a mixture. batch_size: samples of a step; None: train.batch_size."""

    objective: Objective
    weight: float
    batch_size: int | None


class Watched(NamedTuple):
    """Features of a step for the monitor: (samples, width) each.

    encoder: what the model gives for the first view of each sample. projector: what the loss sees of it, where there is
    a projector. anchors, positives: what attract each other, row by row.
    """

    encoder: Tensor
    projector: Tensor | None
    anchors: Tensor
    positives: Tensor


Sample = Literal["rows", "documents", "sentences", "adjacent", "pairs", "labelled"]


class Objective(nn.Module):
    """A pretext task: how text becomes a training signal. The constructor takes the options of `objective:`."""

    sample: Sample = "rows"
    causal: ClassVar[bool] = False  # the backbone must be a decoder
    embeds: bool = False  # works on vectors of texts: `corrupt` gives Views, the backbone is a SentenceModel
    gathers: bool = False  # encode returns features, and batch_loss is wanted
    least_samples: int = 1  # of a step: a contrast needs another sample to repel
    codes_text: ClassVar[bool] = False  # its loss is the code length of all text, so bits per byte are defined
    vocabulary: Vocabulary
    backbone: Any  # textssl.models.heads.LanguageModel or textssl.models.sentence.SentenceModel
    parts: dict[str, PartOf]  # of a mixture

    def __init__(self) -> None:
        super().__init__()
        self.parts = {}

    @property
    def head(self) -> bool | None:
        """The output layer that it needs on the backbone: True causal, False masked, None for none."""
        return None if self.embeds else self.causal

    def take_pairs(self, facts: PairFacts) -> None:
        """Use given pairs (data.pairs) as samples; UserError where the method has no use for them."""
        raise UserError("data.pairs is for objective.name=pairs")

    def build(self, backbone: nn.Module, vocabulary: Vocabulary) -> None:
        """Take the backbone and make every head, teacher, queue and buffer, so that a restore finds them.

        Raises UserError where tokenizer or backbone do not suit the method.
        """
        self.vocabulary = vocabulary
        self.backbone = backbone

    def output_layers(self) -> list[nn.Linear]:
        """The objective's own layers whose outputs are logits or scores: their weights are AdamW's, not Muon's."""
        return []

    def row_format(self) -> RowFormat:
        """The special tokens around the pieces of a row, or around a text to be embedded."""
        assert self.embeds
        if self.backbone.static:
            return RowFormat(pad=self.vocabulary.pad)
        return RowFormat(self.vocabulary.prefix, self.vocabulary.suffix, pad=self.vocabulary.pad)

    def corrupt(self, sample: Any, rng: np.random.Generator, progress: float) -> Any:
        """What the model is shown of one sample. Runs in the loader's workers: numpy only.

        rng belongs to the sample. progress: how far the run is, in [0, 1]. Where the objective embeds, it gives Views
        of texts without special tokens.
        """
        raise NotImplementedError

    def collate(self, views: Sequence[Any], samples: Sequence[int]) -> Batch:
        """Views of the samples of a micro-batch as one batch."""
        return stack_rows(views, samples)

    def counts(self, batch: Any) -> Mapping[str, float]:
        """Items of each term (or the sum of their weights), known from the batch alone."""
        return {}

    def places(self, batch: Any) -> int:
        """Tokens that the backbone works on, padding included."""
        return self.backbone.places(batch) if self.embeds else batch.places

    def encode(self, batch: Any) -> Encoded:
        """The forward of a micro-batch, which may hold no samples. In eval mode it changes nothing."""
        raise NotImplementedError

    def batch_loss(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Scalars to add to the loss, from the features of the whole global batch, ordered by sample."""
        return {}

    def check_length(self, tokens: int) -> None:
        """UserError where a text is cut at so many tokens (special ones apart) and the options ask for more."""

    def has_features(self, batch: Any) -> bool:
        """Whether encode gives features for this batch (in a mixture, not every part does)."""
        return self.gathers

    def watched(self, features: dict[str, Tensor]) -> Watched | None:
        """What the monitor looks at, from the gathered features of a step; None where there is nothing."""
        return None

    def commit(self, features: dict[str, Tensor]) -> None:
        """After the optimizer's step: move the teacher, the queue, the prototypes."""

    def refresh(self, embed_corpus: Callable[[], Tensor]) -> None:
        """Every `refresh_steps`, where something is recomputed over the corpus."""

    def export(self, path: Path, tokenizer: Any) -> None:
        """Write the stock folder that users load."""
        self.backbone.export(path, tokenizer)

    def forward(self, batch: Any) -> Encoded:
        return self.encode(batch)


def stack_rows(rows: Sequence[Row], samples: Sequence[int]) -> Rows:
    """Corrupted rows as a batch."""
    return Rows(
        ids=torch.from_numpy(np.stack([row.ids for row in rows])),
        documents=torch.from_numpy(np.stack([row.documents for row in rows])),
        positions=torch.from_numpy(np.stack([row.positions for row in rows])),
        labels=torch.from_numpy(np.stack([row.labels for row in rows])),  # type: ignore[arg-type]
        samples=torch.tensor(samples, dtype=torch.int64),
    )


def predicted(hidden: Tensor, batch: Rows) -> tuple[Tensor, Tensor]:
    """What stands at the places that are predicted: hidden states (items, width) and labels (items,).

    hidden: (rows, length, width).
    """
    places = batch.facts.predicted
    return hidden.flatten(0, 1).index_select(0, places), batch.labels.flatten().index_select(0, places)
