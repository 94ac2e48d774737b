"""Clustering of the whole corpus: predict the cluster of a view's document, and cluster anew."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from sklearn.metrics import normalized_mutual_info_score
from torch import Tensor, nn

from textssl.errors import UserError
from textssl.losses.unit import unit
from textssl.models.pretext.clusters import entropy_of, matched, spherical_k_means
from textssl.objectives.base import Embed, Facts
from textssl.objectives.two_views import Temperature, TwoViews, Width
from textssl.sharding import overwrite
from textssl.views.kinds import AnyView, CropsView


class DeepCluster(TwoViews):
    """A view predicts the cluster that its document had when the corpus was last clustered (arXiv:1807.05520, eq. 1).

    view: crops, or any other that draws documents. num_clusters: of spherical k-means (eq. 2). refresh_every: steps
    between two clusterings. head: matched renumbers the new clusters so that as many documents as possible keep their
    number; anew draws the classifier's weights again and resets their optimizer state. balanced: each cluster weighs
    the same, however many documents it has (section 3.3). temperature: of the prediction. projector_width: of a
    projector before the classifier; null: none.
    """

    against_collapse = "raise objective.num_clusters, lower optimizer.lr, or lengthen the warmup"
    keys: Tensor
    clusters: Tensor
    centroids: Tensor
    weights: Tensor
    clustered: Tensor
    quality: Tensor

    def __init__(
        self,
        view: AnyView = CropsView(),  # noqa: B008 (frozen)
        num_clusters: Annotated[int, Field(ge=1)] = 128,
        refresh_every: Annotated[int, Field(ge=1)] = 50,
        head: Literal["matched", "anew"] = "matched",
        balanced: bool = True,
        temperature: Temperature = 0.1,
        projector_width: Width = None,
    ):
        super().__init__(view, projector_width, "layer")
        if self.draws != "documents":
            raise UserError(
                f"objective.view is {self.view.name}, which draws {self.draws}; deepcluster clusters documents: take "
                "crops"
            )
        self.num_clusters, self.refresh_every, self.head = num_clusters, refresh_every, head
        self.balanced, self.temperature = balanced, temperature

    def build(self, backbone: nn.Module, facts: Facts) -> None:
        super().build(backbone, facts)
        if self.num_clusters > facts.num_documents:
            raise UserError(
                f"objective.num_clusters is {self.num_clusters}, but there are {facts.num_documents} documents: take "
                "fewer clusters"
            )
        self.classifier = nn.Linear(self.width, self.num_clusters)
        self.register_buffer("keys", torch.zeros(facts.num_documents, dtype=torch.int64))  # sorted
        self.register_buffer("clusters", torch.zeros(facts.num_documents, dtype=torch.int64))
        self.register_buffer("centroids", torch.zeros(self.num_clusters, self.backbone.trainable_width))
        self.register_buffer("weights", torch.ones(self.num_clusters))
        self.register_buffer("clustered", torch.zeros(1, dtype=torch.int64))  # how many times so far
        self.register_buffer("quality", torch.zeros(2))  # entropy, agreement

    def output_layers(self) -> list[nn.Linear]:
        return [self.classifier]

    def targets(self, features: dict[str, Tensor]) -> Tensor:
        """(texts,) cluster of each text's document; for a held-out document, the one with the nearest centroid."""
        sources = features["content"][:, 1].contiguous()
        place = torch.searchsorted(self.keys, sources).clamp(max=len(self.keys) - 1)
        vectors = features.get("encoder", features["text"]).detach()
        nearest = (unit(vectors) @ self.centroids.to(vectors.dtype).T).argmax(1)
        return torch.where(self.keys[place] == sources, self.clusters[place], nearest)

    def batch_loss(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        targets = self.targets(features)
        logits = self.classifier(unit(features["text"])) / self.temperature
        losses = F.cross_entropy(logits, targets, reduction="none")
        return {"deepcluster": (losses * self.weights[targets]).mean()}

    def figures(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Entropy of the clusters' sizes as a share of its maximum, and normalised mutual information with the
        clustering before (section 4.1), once there is one."""
        names = ("clusters/entropy", "clusters/agreement")[: min(int(self.clustered), 2)]
        return dict(zip(names, self.quality, strict=False))

    @torch.no_grad()
    def refresh(self, embed: Embed) -> None:
        keys, vectors = embed()
        keys, order = keys.sort()
        rows = unit(vectors[order]).double().cpu().numpy()
        again, before = int(self.clustered), self.clusters.cpu().numpy()
        found, centroids = spherical_k_means(rows, self.num_clusters, seed=again)
        if again and self.head == "matched":
            found, centroids = matched(before, found, centroids)
        elif again:
            drawn = torch.randn(self.classifier.weight.shape, generator=torch.Generator().manual_seed(again))
            overwrite(self.classifier.weight, drawn / self.width**0.5)
            self.classifier.bias.zero_()
        sizes = np.bincount(found, minlength=self.num_clusters)
        agreement = normalized_mutual_info_score(before, found) if again else 0.0
        self.keys.copy_(keys)
        self.clusters.copy_(torch.from_numpy(found))
        self.centroids.copy_(torch.from_numpy(centroids))
        if self.balanced:
            self.weights.copy_(torch.from_numpy(len(found) / ((sizes > 0).sum() * np.maximum(sizes, 1))))
        self.quality.copy_(torch.tensor([entropy_of(sizes), agreement]))
        self.clustered.add_(1)
