"""Labels as the training signal: what pretraining was for, behind the same contract as the pretext tasks."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BeforeValidator, Field
from torch import Tensor, nn

from textssl.batch import Batch, Examples, stack_examples
from textssl.errors import UserError
from textssl.models.linear_head import softmax
from textssl.objectives.base import Encoded, Facts, Objective, Term
from textssl.sample_types import Example, LabelFacts

SMALLEST_DEVIATION = 1e-30  # of scores: weights of float32 end at 1e-38
FARTHEST_MEAN = 1e5  # deviations from 0: scores of float32 are then exact to a hundredth of a deviation
Share = Annotated[float, Field(ge=0, lt=1)]


def by_label(weights: Any) -> Any:
    """Class weights whose keys are strings as labels are: YAML reads 0 as a number and true as a truth value."""
    if isinstance(weights, dict):
        return {str(key).lower() if isinstance(key, bool) else str(key): weight for key, weight in weights.items()}
    if weights not in (None, "balanced"):
        raise ValueError("write balanced, or a weight for each label, e.g. {spam: 2, ham: 1}")
    return weights


Weights = Annotated[Literal["balanced"] | dict[str, float] | None, BeforeValidator(by_label)]


class Supervised(Objective):
    """What classification and regression share; the backbone is a TextClassifier, the samples are Examples."""

    draws = "labelled"
    backbone_kind = "bare"
    label_facts: LabelFacts

    def __init__(self, mask_rate: Share):
        super().__init__()
        self.mask_rate = mask_rate

    def build(self, backbone: nn.Module, facts: Facts) -> None:
        super().build(backbone, facts)
        if self.mask_rate and self.vocabulary.mask is None:
            raise UserError("objective.mask_rate hides tokens behind the mask token, which this tokenizer lacks")

    def take_labels(self, facts: LabelFacts) -> None:
        """Learn what there is to predict, before `build`. Raises UserError where it does not suit the method."""
        self.label_facts = facts

    def predictions(self, logits: np.ndarray) -> np.ndarray:
        """What users get for (examples, outputs) logits: (examples, classes) probabilities, or (examples,) scores."""
        raise NotImplementedError

    def make_view(self, sample: Example, rng: np.random.Generator, progress: float) -> Example:
        """The sample with a share of its tokens hidden, special ones apart (token cutoff, arXiv:2009.13818).

        Only in training: what is read to be measured is seen whole.
        """
        if not self.mask_rate:
            return sample
        hidden = (rng.random(len(sample.ids)) < self.mask_rate) & ~np.isin(sample.ids, self.vocabulary.special)
        mask: Any = self.vocabulary.mask
        return replace(sample, ids=np.where(hidden, mask, sample.ids))

    def collate(self, views: Any, samples: Any) -> Batch:
        return stack_examples(samples, views)


class Classification(Supervised):
    """Cross entropy of the class of a text, or of a pair of texts (ULMFiT, arXiv:1801.06146; BERT, arXiv:1810.04805).

    class_weights: balanced weighs each class by examples / (classes * examples of the class), as scikit-learn does; or
    the weight of each label by name. label_smoothing: the share of probability that is spread over all classes
    (arXiv:1512.00567, section 7). mask_rate: the share of the tokens that training hides, so that a small training set
    is not memorised.
    """

    def __init__(
        self,
        class_weights: Weights = None,
        label_smoothing: Share = 0.0,
        mask_rate: Share = 0.0,
    ):
        super().__init__(mask_rate)
        self.class_weights, self.label_smoothing = class_weights, label_smoothing

    def take_labels(self, facts: LabelFacts) -> None:
        if not facts.classes:
            raise UserError("objective.name is classification, but data.train has scores: choose regression")
        if isinstance(self.class_weights, dict) and set(self.class_weights) != set(facts.classes):
            wrong = sorted(set(self.class_weights) ^ set(facts.classes))
            raise UserError(
                f"objective.class_weights must name every label once; the labels are {', '.join(facts.classes)}, "
                f"and {wrong[0]!r} appears in only one of the two"
            )
        if isinstance(self.class_weights, dict) and not all(weight > 0 for weight in self.class_weights.values()):
            raise UserError("objective.class_weights must be above 0")
        super().take_labels(facts)

    def build(self, backbone: nn.Module, facts: Facts) -> None:
        super().build(backbone, facts)
        self.register_buffer("weights", torch.tensor(self.weight_of_classes()), persistent=False)

    def weight_of_classes(self) -> list[float]:
        if self.class_weights is None:
            return [1.0] * len(self.label_facts.classes)
        if isinstance(self.class_weights, dict):
            return [self.class_weights[name] for name in self.label_facts.classes]
        mean = sum(self.label_facts.counts) / len(self.label_facts.counts)
        return [mean / count for count in self.label_facts.counts]

    def counts(self, batch: Examples) -> dict[str, float]:
        """The sum of the examples' weights, by which torch's weighted mean divides."""
        kind: Any = self.weights.dtype
        weights = torch.tensor(self.weight_of_classes()).to(kind)  # on the CPU, as the batch still is
        return {"classification": float(weights[batch.targets.long()].sum())}

    def forward(self, batch: Examples) -> Encoded:
        weights: Any = self.weights
        logits = self.backbone(batch).to(weights.dtype)
        total = F.cross_entropy(
            logits, batch.targets.long(), weight=weights, reduction="sum", label_smoothing=self.label_smoothing
        )
        return Encoded({"classification": Term(total)}, {"logits": logits})

    def predictions(self, logits: np.ndarray) -> np.ndarray:
        return softmax(logits)


class Regression(Supervised):
    """Squared error of the score of a text, or of a pair of texts, divided by the variance of the training scores.

    mask_rate: the share of the tokens that training hides.
    """

    def __init__(self, mask_rate: Share = 0.0):
        super().__init__(mask_rate)

    def take_labels(self, facts: LabelFacts) -> None:
        if facts.classes:
            raise UserError("objective.name is regression, which needs data.train with a column score")
        if facts.deviation < SMALLEST_DEVIATION or abs(facts.mean) > FARTHEST_MEAN * facts.deviation:
            raise UserError(
                f"the scores in data.train have the mean {facts.mean:.6g} and the standard deviation "
                f"{facts.deviation:.3g}, which differ too little for float32 numbers: subtract {facts.mean:.6g} from "
                "every score, or multiply them all, before training"
            )
        super().take_labels(facts)

    def counts(self, batch: Examples) -> dict[str, int]:
        return {"regression": len(batch)}

    def forward(self, batch: Examples) -> Encoded:
        logits: Tensor = self.backbone(batch)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        wanted = self.backbone.unit.standardised(batch.targets.double()).to(logits.dtype)
        return Encoded({"regression": Term(((logits.squeeze(-1) - wanted) ** 2).sum())}, {"logits": logits})

    def predictions(self, logits: np.ndarray) -> np.ndarray:
        return self.backbone.unit.raw(logits[:, 0].astype(np.float64))
