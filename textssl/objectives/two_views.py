"""What all methods on two views of a sample share: the view, the forward, heads, the monitor, equal contents.

Features have a row for each text, ordered by sample and in it by view, so the first views are rows 0, 2, 4, ... and the
second ones 1, 3, 5, ... A method adds `batch_loss`, and what is its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from textssl.batch import Texts
from textssl.errors import UserError
from textssl.losses.unit import unit
from textssl.models.attention.varlen import attention_dropout
from textssl.objectives.base import Deals, Encoded, Facts, Objective, Watched
from textssl.sample_types import ManyDocuments, PairFacts, Views
from textssl.views.kinds import PairsView, View, as_view

Temperature = Annotated[float, Field(gt=0)]
Widths = list[Annotated[int, Field(gt=0)]]
Width = Annotated[int, Field(gt=0)] | None
Norm = Literal["none", "batch", "layer"]
EPSILON = 1e-8  # of batch normalisation: unit vectors of an untrained model vary by 1e-5 in a dimension, or less
Rate = Annotated[float, Field(ge=0, le=1)]
Momentum = Rate | tuple[Rate, Rate]  # constant, or at the beginning and at the end of the run


class TwoViews(Objective):
    """Two views of a sample, their vectors, and a projector between the vectors and the loss, which is not exported.

    view: what the views are (textssl.views.kinds). projector_width: of the projector's layers; None: there is none.
    projector_norm: of its hidden layers. projector_out: of its output; None: projector_width. last_norm: whether its
    output is normalised over the batch too. Batch normalisation has to see the whole global batch, each view by itself,
    so such a projector works in `batch_loss` and any other in `forward`; `projected` gives the vectors either way.
    """

    backbone_kind = "sentence"
    deals: ClassVar[Deals] = "texts"
    least_samples = 2
    needs_dropout: ClassVar[bool] = True  # else the two forwards of the view `dropout` are equal
    last_norm: ClassVar[bool] = False
    against_collapse = (
        "look at what keeps vectors apart in this method, lower optimizer.lr, lengthen the warmup, or make the views "
        "harder to tell from other samples'"
    )

    def __init__(
        self,
        view: View | dict[str, Any],
        projector_width: int | None = None,
        projector_norm: Norm = "none",
        projector_out: int | None = None,
    ):
        super().__init__()
        if projector_out is not None and projector_width is None:
            raise UserError(
                f"objective.projector_out is {projector_out}, but objective.projector_width is null, so that there is "
                "no projector: set both, or neither"
            )
        self.view = as_view(view)
        self.draws = self.view.draws
        self.projector_width, self.projector_out = projector_width, projector_out
        self.projector_norm: Norm = projector_norm
        self.pair_facts = PairFacts()

    @property
    def takes_pairs(self) -> bool:
        return isinstance(self.view, PairsView)

    def take_pairs(self, facts: PairFacts) -> None:
        if not self.takes_pairs:
            super().take_pairs(facts)
        self.pair_facts, self.draws = facts, "pairs"

    def build(self, backbone: nn.Module, facts: Facts) -> None:
        super().build(backbone, facts)
        if self.view.name == "dropout" and self.needs_dropout:
            check_dropout(self.backbone)
        shape = self.backbone.trainable_width, self.projector_width, self.projector_out
        self.projector = build_head(*shape, norm=self.projector_norm, last_norm=self.last_norm)

    @property
    def width(self) -> int:
        """Size of the vectors that the loss sees."""
        return self.projector_out or self.projector_width or self.backbone.trainable_width

    def make_view(self, sample: Any, rng: np.random.Generator, progress: float) -> Views:
        return self.view(sample, rng, progress)

    @property
    def views_at_once(self) -> Callable[[ManyDocuments], list[Views]] | None:
        """That of the view, where `make_view` is the view and nothing else."""
        unchanged = type(self).make_view is TwoViews.make_view
        return self.view.at_once if unchanged and self.view.makes_many else None

    def check_length(self, tokens: int) -> None:
        self.view.check_length(tokens, "objective.view")

    def keeps_dropout(self, batch: Any) -> bool:
        return self.view.name == "dropout"  # else the two views would be equal

    def forward(self, batch: Texts) -> Encoded:
        """The features "text", vectors of the model or its projector; "encoder", those of the model where a projector
        stands between; "content", (texts, 2) keys, equal for equal texts and for samples of equal content."""
        vectors = self.backbone.trainable_vectors(batch)  # (texts, width)
        content = torch.stack([batch.text, batch.source], dim=1)
        if self.projector_width is None or self.projector_norm == "batch":
            return Encoded({}, {"text": vectors, "content": content})
        return Encoded({}, {"text": self.projector(vectors), "content": content, "encoder": vectors.detach()})

    def projected(self, features: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The vectors of the first and of the second views that the loss sees, (samples, width) each."""
        first, second = by_view(features["text"])
        if self.projector_norm == "batch":
            return self.projector(first), self.projector(second)
        return first, second

    def scaled(self, features: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The projected vectors, for losses that want a variance of 1 in each dimension: without a projector at the
        length sqrt(width), at which isotropic vectors have it."""
        first, second = self.projected(features)
        if self.projector_width is None:
            first, second = (unit(view) * view.shape[1] ** 0.5 for view in (first, second))
        return first, second

    @torch.no_grad()
    def watched(self, features: dict[str, Tensor]) -> Watched:
        anchors, positives = self.projected(features)
        if self.projector_width is None:
            return Watched(anchors, None, anchors, positives)
        return Watched(by_view(features.get("encoder", features["text"]))[0], anchors, anchors, positives)


def by_view(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of the first and of the second view of every sample."""
    first, second = rows.unflatten(0, (-1, 2)).unbind(1)  # whose gradient is made at once
    return first, second


def build_head(
    width: int, hidden: int | None, out: int | None = None, *, norm: Norm = "none", last_norm: bool = False
) -> nn.Module:
    """A projector or predictor: layer, norm, ReLU, layer (arXiv:2002.05709, section 2.1; 2006.07733, section 3.3).

    hidden: None gives the identity. out: as wide as hidden by default. last_norm: batch normalisation of the output,
    without affine (arXiv:2011.10566, section 3). The norms keep no running statistics: such a head is no part of the
    result, and always sees whole batches.
    """
    if hidden is None:
        return nn.Identity()
    norms: dict[str, list[nn.Module]] = {
        "none": [],
        "batch": [nn.BatchNorm1d(hidden, EPSILON, track_running_stats=False)],
        "layer": [nn.LayerNorm(hidden)],
    }
    last: list[nn.Module] = [nn.Linear(hidden, out or hidden, bias=False)]
    if last_norm:
        last.append(nn.BatchNorm1d(out or hidden, EPSILON, affine=False, track_running_stats=False))
    return nn.Sequential(nn.Linear(width, hidden), *norms[norm], nn.ReLU(), *last)


def scheduled(momentum: float | Sequence[float], progress: float) -> float:
    """The momentum of a teacher at a given progress in [0, 1]: constant, or from the first to the second value along
    half a cosine (arXiv:2006.07733, section 3.3)."""
    if isinstance(momentum, int | float):
        return float(momentum)
    first, last = momentum
    return last - (last - first) * (math.cos(math.pi * progress) + 1) / 2


def equal_contents(first: Tensor, second: Tensor) -> Tensor:
    """(rows of first, rows of second) bool: equal text, or samples of equal content. first, second: (rows, 2) keys."""
    (text, source), (other_text, other_source) = first.unbind(1), second.unbind(1)
    return (text[:, None] == other_text) | (source[:, None] == other_source)


def check_widths(matryoshka: Sequence[int], width: int) -> None:
    """Raise UserError where one of the shorter widths is not below `width`."""
    for short in matryoshka:
        if short >= width:
            raise UserError(
                f"objective.matryoshka names {short}, but the vectors are {width} wide: name smaller widths"
            )


def over_widths(matryoshka: Sequence[int], loss: Callable[[Callable[[Tensor], Tensor]], Tensor]) -> Tensor:
    """Mean of a loss on the whole vectors and on their first dimensions (arXiv:2205.13147, eq. 1, equal weights).

    loss: takes the function that shortens a vector.
    """
    losses = [loss(lambda vectors: vectors)]
    for width in matryoshka:
        losses.append(loss(lambda vectors, width=width: vectors[:, :width]))
    return torch.stack(losses).mean()


def cosines(first: Tensor, second: Tensor) -> Tensor:
    """(rows,) cosine of row i with row i."""
    return (unit(first) * unit(second)).sum(1)


def check_dropout(model: Any) -> None:
    """Raise UserError where two forwards in training mode do not differ."""
    if model.static:
        raise UserError(
            "objective.view dropout makes its views by dropout, which a static encoder does not have: take crops"
        )
    if not has_dropout(model):
        raise UserError(
            "objective.view dropout makes its views by dropout and this model has none: set model.dropout=0.1"
        )


def has_dropout(model: nn.Module) -> bool:
    """Whether there is a Dropout layer with a rate above 0, or attention dropout in a configuration."""
    if any(isinstance(module, nn.Dropout) and module.p > 0 for module in model.modules()):
        return True
    return any(attention_dropout(getattr(module, "config", None)) > 0 for module in model.modules())
