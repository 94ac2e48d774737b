"""The contract between a self-supervised objective and the trainer.

The life of a step:
1. `make_view` makes the view of each sample of the global step, in the loader's workers; `deals` says how views
   become micro-batches.
2. `counts` says on the CPU how many items each term predicts; the trainer sums them over micro-batches and ranks. A
   count that belongs to no term is logged as a figure of its own: what was cut, for example.
3. `forward` gives, for a micro-batch, terms (sums over items) and features (a row for each of `batch.samples`).
4. Each term is divided by its global count, so that micro-batches and ranks just add up.
5. Features of all micro-batches and ranks are gathered and ordered by sample; on every rank `batch_loss` sees them all,
   and its gradient with respect to the features goes back through the forward (gradient caching, in micro-batches).
6. Gradients are summed over ranks and clipped, and the optimizer updates the weights; if anything is not finite,
   nothing changes, and step 7 is skipped.
7. `commit` updates what follows the weights: teacher, queue, prototypes, running statistics. Nothing else may.
8. `watched` shows the features to the collapse monitor, and `figures` gives the method's own figures, at the steps
   that are logged.
9. `refresh` recomputes what depends on the whole corpus, every `refresh_every` steps, before that step's checkpoint.

An objective knows nothing of processes, accumulation, or the files of a corpus.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from textssl.batch import Batch, NumberedRows, Rows
from textssl.errors import UserError
from textssl.models.configuration import Pretext, write_pretext
from textssl.models.heads import LanguageModel
from textssl.sample_types import Draws, ManyDocuments, PairFacts, Row, RowFormat
from textssl.tokenizer.vocabulary import Vocabulary

BackboneKind = Literal["masked", "causal", "bare", "seq2seq", "sentence"]
Deals = Literal["rows", "texts", "samples"]
FORWARDS = ("batch_loss", "watched", "figures", "trainable_vectors")  # besides `forward`: they may use parameters
Embed = Callable[[], tuple[Tensor, Tensor]]


class Term(NamedTuple):
    """One part of a loss: the sum over its items (a scalar, in nats where it is a likelihood), and its weight."""

    total: Tensor
    weight: float = 1.0


class Encoded(NamedTuple):
    """What an objective makes of a micro-batch.

    terms: sums over items; the trainer divides each by its own global count. features: tensors with a row for each of
    batch.samples, in its order, for a loss that sees the whole global batch; those that are not floating-point (keys,
    view numbers) get no gradient.
    """

    terms: dict[str, Term]
    features: dict[str, Tensor]


class PartOf(NamedTuple):
    """An objective as part of a mixture. batch_size: its samples per step; None: train.batch_size."""

    objective: Objective
    weight: float
    batch_size: int | None


class Watched(NamedTuple):
    """Features of a step for the collapse monitor: (samples, width) each.

    encoder: what the model gives for the first view of each sample. projector: what the loss sees of it, where there is
    a projector. anchors, positives: what attract each other, row by row; None where nothing does. ranked: whether a low
    rank is a collapse.
    """

    encoder: Tensor
    projector: Tensor | None = None
    anchors: Tensor | None = None
    positives: Tensor | None = None
    ranked: bool = True


@dataclass(frozen=True)
class Facts:
    """What an objective may know of its run when it makes its heads and buffers.

    sequence_length: tokens in a row, or the length at which a text is cut. num_documents: in the training corpora (or
    given pairs, or labelled texts). num_steps: length of the run; None where it is given in tokens, seconds or epochs.
    batch_size: samples per global step. frequencies: (vocabulary,) the share of each token in the training corpora,
    None where they are not known.
    """

    vocabulary: Vocabulary
    sequence_length: int
    num_documents: int
    num_steps: int | None = None
    batch_size: int = 1
    frequencies: np.ndarray | None = None


class Objective(nn.Module):
    """A pretext task: how text becomes a training signal. The constructor takes the options of `objective:`.

    draws: what a sample is. deals: how views become micro-batches: "rows" as they come, stacked by `collate`; "texts":
    `make_view` gives Views, and each of their texts is batched by itself, with others of similar length; "samples": the
    same, but all texts of a sample stay together. backbone_kind: a language model with a "masked" or "causal" output
    layer, the "bare" transformer, a "seq2seq" encoder-decoder, or a "sentence" model (texts -> vectors). least_samples:
    the fewest samples per step; a method that compares samples needs two. codes_text: the loss is the code length of a
    token of text, so that bits per byte are defined; or the name of the term that is. sets_direction: forward chooses
    the direction of attention, which only attention masks can do. pretext: for a language model, what its exported
    configuration says about how to read it. refresh_every: steps between two calls of `refresh`; None: never.
    whole_steps: what a sample is shown follows from its place among all of the step: held-out steps have to be whole.
    against_collapse: advice for when the features collapse. table_only: it trains a static table and no transformer.
    """

    draws: Draws = "rows"
    deals: ClassVar[Deals] = "rows"
    backbone_kind: BackboneKind = "masked"
    least_samples: int = 1
    codes_text: ClassVar[bool | str] = False
    sets_direction: ClassVar[bool] = False
    pretext: ClassVar[Pretext | None] = None
    refresh_every: int | None = None
    whole_steps: ClassVar[bool] = False
    against_collapse: ClassVar[str] = "lower optimizer.lr, or lengthen the warmup"
    table_only: ClassVar[bool] = False
    vocabulary: Vocabulary
    backbone: Any  # LanguageModel, SentenceModel or Seq2SeqModel of textssl.models
    parts: dict[str, PartOf]  # of a mixture

    def __init__(self) -> None:
        super().__init__()
        self.parts = {}

    @property
    def leaves(self) -> list[Objective]:
        """The parts of a mixture, or the objective itself."""
        return [part.objective for part in self.parts.values()] or [self]

    def has_own(self, method: str) -> bool:
        """Whether the objective, or a part of the mixture, has this method of its own: `batch_loss`, `commit`, ..."""
        return any(getattr(type(part), method) is not getattr(Objective, method) for part in self.leaves)

    @property
    def has_batch_loss(self) -> bool:
        """Whether there is a loss over the whole global batch: whether `batch_loss` is overridden."""
        return self.has_own("batch_loss")

    @property
    def takes_pairs(self) -> bool:
        """Whether given pairs (data.pairs) can be its samples."""
        return False

    def take_pairs(self, facts: PairFacts) -> None:
        """Use given pairs as samples, before `build`. Raises UserError where the method has no use for them."""
        raise UserError("data.pairs is for objective.name=pairs, and for objective.view=pairs of two-view methods")

    def build(self, backbone: nn.Module, facts: Facts) -> None:
        """Take the backbone and make every head, teacher, queue and buffer, so that a restore finds them.

        Raises UserError where the tokenizer or the backbone does not suit the method.
        """
        self.vocabulary = facts.vocabulary
        self.backbone = backbone
        if self.backbone_kind in ("masked", "causal") and self.pretext and isinstance(backbone, LanguageModel):
            write_pretext(backbone.model.config, self.pretext)

    def output_layers(self) -> list[nn.Linear]:
        """The objective's own layers whose outputs are logits or scores: their weights go to AdamW, not to Muon."""
        return []

    def row_format(self) -> RowFormat:
        """The special tokens around the pieces of a row, or around a text to be embedded."""
        assert self.backbone_kind == "sentence", f"{type(self).__name__} needs a row_format"
        if self.backbone.static:
            return RowFormat(pad=self.vocabulary.pad)
        return RowFormat(self.vocabulary.prefix, self.vocabulary.suffix, pad=self.vocabulary.pad)

    def make_view(self, sample: Any, rng: np.random.Generator, progress: float) -> Any:
        """What the model is shown of one sample. Runs in the loader's workers: numpy only.

        rng belongs to the sample. progress: how far the run is, in [0, 1]. Where texts are dealt, it gives Views of
        texts without special tokens.
        """
        raise NotImplementedError

    @property
    def views_at_once(self) -> Callable[[ManyDocuments], list[Any]] | None:
        """What makes the views of all documents of a step together, the same as make_view one by one, where there is
        such a quicker way."""
        return None

    def collate(self, views: Sequence[Any], samples: Sequence[int]) -> Batch:
        """Views of the samples of a micro-batch as one batch, where `deals` is "rows"."""
        return stack_rows(views, samples)

    def trainable_vectors(self, batch: Any) -> Tensor:
        """The sentence model's vectors of texts, for `refresh`: (texts, width)."""
        return self.backbone.trainable_vectors(batch)

    def counts(self, batch: Any) -> Mapping[str, float]:
        """Items of each term (or the sum of their weights), known from the batch alone, while it is on the CPU."""
        return {}

    def padded_tokens(self, batch: Any) -> int:
        """Tokens that the backbone works on, padding included."""
        return self.backbone.padded_tokens(batch) if self.backbone_kind == "sentence" else batch.padded_tokens

    def forward(self, batch: Any) -> Encoded:
        """Terms and features of a micro-batch, which may hold no samples. It changes no buffer."""
        raise NotImplementedError

    def batch_loss(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Scalars to add to the loss, from the features of the whole global batch, ordered by sample.

        Computed and differentiated on every rank, from the same features; the place of everything that looks at the
        whole batch, batch normalisation included. It changes no buffer.
        """
        raise NotImplementedError

    def check_length(self, tokens: int) -> None:
        """Raise UserError where the options ask for more than `tokens`, at which texts are cut (special ones apart)."""

    def has_features(self, batch: Any) -> bool:
        """Whether `batch_loss` reads features of this batch (in a mixture, not every part has them)."""
        return self.has_batch_loss

    def keeps_dropout(self, batch: Any) -> bool:
        """Whether dropout stays on for this batch where the held-out loss is measured: where it makes the views."""
        return False

    def watched(self, features: dict[str, Tensor]) -> Watched | None:
        """What the monitor looks at, from the gathered features of a step; None where there is nothing."""
        return None

    def figures(self, features: dict[str, Tensor]) -> Mapping[str, float | Tensor]:
        """The method's own scalars for the log, by name: `NAME` is written as `train/NAME` (accuracies, entropies).

        features: gathered, of the step that is logged; weights and buffers are those after it. It changes no buffer;
        what it reports about a refresh is kept in one.
        """
        return {}

    def commit(self, features: dict[str, Tensor], progress: float) -> None:
        """After the optimizer's step, and only then: move the teacher, the queue, the prototypes, running statistics.

        With several processes, each has only its own rows of a parameter (textssl.sharding.local), so no forward can
        run here. features: gathered, of the whole global batch. progress: in [0, 1], of the run after this step.
        """

    def refresh(self, embed: Embed) -> None:
        """Recompute what depends on the whole corpus: before the first step, and after every `refresh_every` steps.

        embed() gives (document keys, vectors) of the training corpora: (documents,) int64, the same as `Texts.source`
        of the document's views, and (documents, width); the same on every rank. What is kept must be buffers. A
        parameter that is written here (textssl.sharding.overwrite) starts afresh: its optimizer state is reset.
        """

    def export(self, path: Path, tokenizer: Any) -> None:
        """Write the stock folder that users load."""
        self.backbone.export(path, tokenizer)

    def export_others(self, run: Path, tokenizer: Any) -> list[Path]:
        """Write the run's further results, each into a folder of its own in RUN; returns these folders."""
        return []


def stack_rows(rows: Sequence[Row], samples: Sequence[int]) -> Rows:
    """Views of rows as a batch; NumberedRows where they have numbers."""

    def stacked(name: str) -> Tensor:
        return torch.from_numpy(np.stack([getattr(row, name) for row in rows]))

    columns: dict[str, Any] = {name: stacked(name) for name in ("ids", "documents", "positions", "labels")}
    columns["samples"] = torch.tensor(samples, dtype=torch.int64)
    return Rows(**columns) if rows[0].numbers is None else NumberedRows(**columns, numbers=stacked("numbers"))


def predicted(hidden: Tensor, batch: Rows) -> tuple[Tensor, Tensor]:
    """Hidden states (items, width) and labels (items,) at the positions that are predicted.

    hidden: (rows, length, width).
    """
    positions = batch.facts.predicted
    return hidden.flatten(0, 1).index_select(0, positions), batch.labels.flatten().index_select(0, positions)
