"""The contract between a self-supervised objective and the trainer.

An objective says what it draws, how a sample is corrupted, how many items it predicts, and gives either terms (sums
over items, divided by the trainer by their global count) or features (on which one loss over the whole global batch is
computed), or both. Nothing here or in a method knows about processes, accumulation or files of a corpus.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from textssl.batch import IGNORE, Batch, Document, Row, RowFormat, Rows, Vocabulary


class Term(NamedTuple):
    """One part of a loss: the sum over its items (a scalar, in nats where it is a likelihood), and its weight."""

    total: Tensor
    weight: float = 1.0


class Encoded(NamedTuple):
    """What an objective makes of a micro-batch.

    terms: sums over items; the trainer divides each by its own global count. features: (samples, width) tensors, in the
    order of the batch, for a loss that sees the whole global batch.
    """

    terms: dict[str, Term]
    features: dict[str, Tensor]


class Objective(nn.Module):
    """A pretext task: how text becomes a training signal. The constructor takes the options of `objective:`."""

    sample: ClassVar[Literal["rows", "documents"]] = "rows"
    causal: ClassVar[bool] = False  # the backbone must be a decoder
    gathers: ClassVar[bool] = False  # encode returns features, and batch_loss is wanted
    codes_text: ClassVar[bool] = False  # its loss is the code length of all text, so bits per byte are defined
    vocabulary: Vocabulary
    backbone: Any  # textssl.models.heads.LanguageModel, or whatever the workflow puts below

    def build(self, backbone: nn.Module, vocabulary: Vocabulary) -> None:
        """Take the backbone and make every head, teacher, queue and buffer, so that a restore finds them.

        Raises UserError where tokenizer or backbone do not suit the method.
        """
        self.vocabulary = vocabulary
        self.backbone = backbone

    def row_format(self) -> RowFormat:
        """The special tokens around the pieces of a row."""
        raise NotImplementedError

    def corrupt(self, sample: Row | Document, rng: np.random.Generator, progress: float) -> Any:
        """What the model is shown of one sample. Runs in the loader's workers: numpy only.

        rng belongs to the sample. progress: how far the run is, in [0, 1].
        """
        raise NotImplementedError

    def collate(self, views: Sequence[Any], samples: Sequence[int]) -> Batch:
        """Views of the samples of a micro-batch as one batch."""
        return stack_rows(views, samples)

    def counts(self, batch: Any) -> dict[str, int]:
        """Items of each term, known from the batch alone."""
        return {}

    def encode(self, batch: Any) -> Encoded:
        """The forward of a micro-batch, which may hold no samples. In eval mode it changes nothing."""
        raise NotImplementedError

    def batch_loss(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Scalars to add to the loss, from the features of the whole global batch, ordered by sample."""
        return {}

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


def predicted(batch: Rows) -> Tensor:
    """(rows, length) bool, places that are predicted."""
    return batch.labels != IGNORE
