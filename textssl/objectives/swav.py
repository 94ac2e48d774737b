"""Clustering online: swapped prediction of assignments to prototypes."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from textssl.losses.contrast import sinkhorn
from textssl.losses.unit import unit
from textssl.objectives.base import Facts
from textssl.objectives.two_views import Temperature, TwoViews, Width
from textssl.views.kinds import AnyView, CropsView


class SwAV(TwoViews):
    """From one view, predict which prototypes the other is assigned to (arXiv:2006.09882, eq. 1 to 5).

    Assignments use all prototypes equally, over the global batch and a queue of earlier vectors (section 3.1). view:
    crops, or any other. num_prototypes: number of learned prototypes. epsilon: the smaller, the harder the assignment.
    rounds: iterations of Sinkhorn-Knopp; 0: a plain softmax, with which assignments collapse. temperature: of the
    prediction. queue_size: earlier samples that take part in the assignment; batch and queue should hold several per
    prototype. frozen_steps: first steps, in which prototypes do not learn. projector_width, projector_out: of the
    projector; null: none.
    """

    against_collapse = "raise objective.rounds, queue_size or frozen_steps, lower optimizer.lr, or lengthen the warmup"
    queue: Tensor
    filled: Tensor
    steps: Tensor

    def __init__(
        self,
        view: AnyView = CropsView(),  # noqa: B008 (frozen)
        num_prototypes: Annotated[int, Field(ge=2)] = 256,
        epsilon: Annotated[float, Field(gt=0)] = 0.05,
        rounds: Annotated[int, Field(ge=0)] = 3,
        temperature: Temperature = 0.1,
        queue_size: Annotated[int, Field(ge=0)] = 1024,
        frozen_steps: Annotated[int, Field(ge=0)] = 20,
        projector_width: Width = None,
        projector_out: Width = None,
    ):
        super().__init__(view, projector_width, "layer", projector_out)
        self.num_prototypes, self.epsilon, self.rounds = num_prototypes, epsilon, rounds
        self.temperature, self.queue_size, self.frozen_steps = temperature, queue_size, frozen_steps

    def build(self, backbone: nn.Module, facts: Facts) -> None:
        super().build(backbone, facts)
        self.prototypes = nn.Linear(self.width, self.num_prototypes, bias=False)
        self.register_buffer("queue", torch.zeros(2, self.queue_size, self.width))  # by view, newest first
        self.register_buffer("filled", torch.zeros(1, dtype=torch.int64))
        self.register_buffer("steps", torch.zeros(1, dtype=torch.int64))

    def output_layers(self) -> list[nn.Linear]:
        return [self.prototypes]

    def scores(self, vectors: Tensor) -> Tensor:
        """(rows, prototypes) cosines; prototypes get no gradient in the first steps."""
        weight = self.prototypes.weight
        weight = torch.where(self.steps < self.frozen_steps, weight.detach(), weight)
        return unit(vectors) @ F.normalize(weight, dim=1).T

    @torch.no_grad()
    def assignments(self, scores: Tensor, view: int) -> Tensor:
        """(samples, prototypes) of a view of the batch, balanced over batch and queue."""
        count = len(scores)
        joined = torch.cat([scores, self.scores(self.queue[view].to(scores.dtype))])
        present = torch.arange(len(joined), device=scores.device) < count + self.filled
        return sinkhorn(joined, self.epsilon, self.rounds, present=present)[:count]

    def batch_loss(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Cross entropy of a view's prediction and the other view's assignment, the mean of both directions."""
        scores = [self.scores(view) for view in self.projected(features)]
        losses = [
            -(self.assignments(scores[1 - view], 1 - view) * (scores[view] / self.temperature).log_softmax(1)).sum(1)
            for view in (0, 1)
        ]
        return {"swav": torch.stack(losses).mean()}

    @torch.no_grad()
    def figures(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Entropy of the nearest prototypes of the first views as a share of its maximum, which says whether they are
        spread; and the share of samples whose views have the same nearest prototype."""
        first, second = (self.scores(view).argmax(1) for view in self.projected(features))
        shares = torch.bincount(first, minlength=self.num_prototypes) / len(first)
        most = torch.tensor(float(min(len(first), self.num_prototypes))).log()
        return {
            "swav/entropy": torch.special.entr(shares).sum() / most,
            "swav/agreement": (first == second).double().mean(),
        }

    @torch.no_grad()
    def commit(self, features: dict[str, Tensor], progress: float) -> None:
        views = torch.stack([unit(view) for view in self.projected(features)]).to(self.queue.dtype)
        self.queue.copy_(torch.cat([views, self.queue], dim=1)[:, : self.queue_size])
        self.filled.add_(views.shape[1]).clamp_(max=self.queue_size)
        self.steps.add_(1)
