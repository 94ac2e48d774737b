"""What objectives on vectors of texts share: features, equal contents, shorter widths, a projector."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from textssl.batch import Texts
from textssl.errors import UserError
from textssl.losses import info_nce, nt_xent
from textssl.objectives.base import Encoded, Watched

Temperature = Annotated[float, Field(gt=0)]
Widths = list[Annotated[int, Field(gt=0)]]
ProjectorWidth = Annotated[int, Field(gt=0)] | None


def build_projector(width: int, projector_width: int | None) -> nn.Module:
    """Layer, ReLU, layer, between the encoder and the loss (arXiv:2002.05709, section 2.1); never exported."""
    if projector_width is None:
        return nn.Identity()
    return nn.Sequential(
        nn.Linear(width, projector_width), nn.ReLU(), nn.Linear(projector_width, projector_width, bias=False)
    )


def encode_texts(encoder: Any, projector: nn.Module, batch: Texts) -> Encoded:
    """Features of a micro-batch: "text", the vectors that the loss sees; "encoder", those of the model where a
    projector stands between; and "content", the keys of equal contents.
    """
    vectors = encoder.learned(batch)  # (texts, width)
    features = {"text": projector(vectors), "content": torch.stack([batch.text, batch.source], dim=1)}
    if not isinstance(projector, nn.Identity):
        features["encoder"] = vectors.detach()
    return Encoded({}, features)


def two_views(features: dict[str, Tensor], name: str = "text") -> tuple[Tensor, Tensor]:
    """The first and the second view of every sample, (samples, width) each."""
    return features[name][0::2], features[name][1::2]


def equal_contents(first: Tensor, second: Tensor) -> Tensor:
    """(rows of first, rows of second) bool: equal text, or samples of equal content. first, second: (rows, 2) keys."""
    return (first[:, None, :] == second[None, :, :]).any(dim=2)


def watch_views(features: dict[str, Tensor]) -> Watched:
    anchors, positives = two_views(features)
    if "encoder" not in features:
        return Watched(anchors, None, anchors, positives)
    return Watched(two_views(features, "encoder")[0], anchors, anchors, positives)


def check_widths(matryoshka: Sequence[int], width: int) -> None:
    """UserError where a shorter width is none."""
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
    return (F.normalize(first, dim=1) * F.normalize(second, dim=1)).sum(1)


def two_view_loss(features: dict[str, Tensor], temperature: float, symmetric: bool, matryoshka: list[int]) -> Tensor:
    """InfoNCE from the first views to the second, or NT-Xent; equal contents never repel each other."""
    first, second = two_views(features)
    keys = two_views(features, "content")
    if symmetric:
        both = torch.cat(keys)
        same = equal_contents(both, both)
        return over_widths(matryoshka, lambda short: nt_xent(short(first), short(second), temperature, same=same))
    same = equal_contents(*keys)
    return over_widths(matryoshka, lambda short: info_nce(short(first), short(second), temperature, same=same))
