"""The denoising autoencoder of sentences."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from textssl.batch import Texts
from textssl.models.denoising.sentence_decoder import SentenceDecoder
from textssl.models.static import StaticTable
from textssl.objectives.base import Deals, Encoded, Facts, Objective, Term, Watched
from textssl.sample_types import Document, Views, content_key
from textssl.views.kinds import DeletionView


class Tsdae(Objective):
    """Rebuild a sentence from the vector of what is left when most of its words are deleted (TSDAE, arXiv:2104.06979).

    The decoder has the encoder's token embeddings and sees nothing else of it but the vector; it is not exported.
    deletion_rate: the probability that a word is deleted; one word always stays. decoder_layers: a strong decoder needs
    the vector less.
    """

    draws = "sentences"
    deals: ClassVar[Deals] = "samples"
    backbone_kind = "sentence"
    against_collapse = (
        "the decoder does without the vector: take fewer objective.decoder_layers, lower optimizer.lr, or lengthen the "
        "warmup"
    )

    def __init__(
        self,
        deletion_rate: Annotated[float, Field(ge=0, lt=1)] = 0.6,
        decoder_layers: Annotated[int, Field(ge=1)] = 1,
    ):
        super().__init__()
        self.deletion = DeletionView(rate=deletion_rate)
        self.decoder_layers = decoder_layers

    def build(self, backbone: nn.Module, facts: Facts) -> None:
        super().build(backbone, facts)
        inner = self.backbone.backbone
        table = inner.embedding if isinstance(inner, StaticTable) else inner.model.get_input_embeddings()
        width = self.backbone.trainable_width
        self.decoder = SentenceDecoder(
            *(table, width, self.decoder_layers, facts.sequence_length), frequencies=facts.frequencies
        )

    def make_view(self, sample: Document, rng: np.random.Generator, progress: float) -> Views:
        """What is left of the sentence, and the sentence."""
        return Views([self.deletion.shortened(sample, rng), sample.ids], source=content_key(sample.ids))

    def counts(self, batch: Texts) -> dict[str, int]:
        whole = batch.lengths[1::2]
        return {"tsdae": int(whole.sum()) - len(self.row_format().prefix) * len(whole)}

    def forward(self, batch: Texts) -> Encoded:
        vectors = self.backbone.trainable_vectors(of_view(batch, 0))  # (samples, width)
        features = {"text": vectors.detach().repeat_interleave(2, dim=0)}  # a row for each text
        return Encoded({"tsdae": Term(self.rebuilt(vectors, of_view(batch, 1)))}, features)

    def rebuilt(self, vectors: Tensor, whole: Texts) -> Tensor:
        """Summed cross entropy, in nats, of the sentences' tokens but the leading special ones, given their vectors."""
        ids, mask = whole.padded(self.vocabulary.pad), whole.mask.clone()
        if not len(whole):  # a token stands in: where layers are sharded, all ranks gather them at the same time
            ids, mask = ids.new_full((1, 1), self.vocabulary.pad), mask.new_zeros(1, 1)
            vectors = F.pad(vectors, (0, 0, 0, 1))
        mask[:, : len(self.row_format().prefix)] = False
        return self.decoder.cross_entropy(self.decoder(vectors, ids)[mask], ids[mask])

    def watched(self, features: dict[str, Tensor]) -> Watched:
        return Watched(features["text"][0::2])


def of_view(batch: Texts, view: int) -> Texts:
    """The first (0) or second (1) text of every sample of a micro-batch that holds both, one after another."""
    numbers = torch.arange(len(batch), device=batch.ids.device) % 2 == view
    tokens = numbers.repeat_interleave(batch.lengths, output_size=batch.tokens)
    own = {name: getattr(batch, name)[view::2] for name in ("lengths", "samples", "targets", "text", "source")}
    return replace(batch, ids=batch.ids[tokens], longest=-1, **own)
