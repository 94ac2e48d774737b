"""A weighted sum of objectives on one backbone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from textssl.batch import Part
from textssl.errors import UserError
from textssl.objectives.base import Encoded, Facts, Objective, PartOf, Term, Watched
from textssl.sample_types import PairFacts

Resolve = Callable[[dict[str, Any], str], tuple[Objective, dict[str, Any]]]


class PartOptions(BaseModel):
    """name: an objective's, at most once. weight: of its loss. batch_size: samples per step. Others: its options."""

    model_config = ConfigDict(extra="allow")

    name: str
    weight: Annotated[float, Field(gt=0)] = 1.0
    batch_size: Annotated[int, Field(gt=0)] | None = None


class Sum(Objective):
    """Several objectives on one backbone, in every step, each with its own samples and its weight.

    parts: for example [{name: crops}, {name: mlm, weight: 0.2, batch_size: 16}]. batch_size is train.batch_size where a
    part has none.
    """

    def __init__(self, parts: Annotated[list[PartOptions], Field(min_length=1)]):
        super().__init__()
        self.options = [part if isinstance(part, dict) else part.model_dump() for part in parts]
        self.owners: dict[str, str] = {}  # term -> the part that it is of

    def resolve(self, resolve: Resolve) -> list[dict[str, Any]]:
        """Make the parts, and return their options with every default filled in."""
        resolved = []
        for number, part in enumerate(self.options):
            section = dict(part)
            weight, batch_size = section.pop("weight", 1.0), section.pop("batch_size", None)
            if section["name"] in self.parts or section["name"] == "sum":
                raise UserError(f"objective.parts names {section['name']} twice, or a sum in a sum")
            objective, options = resolve(section, f"objective.parts.{number}")
            self.parts[options["name"]] = PartOf(objective, weight, batch_size)
            resolved.append({**options, "weight": weight, "batch_size": batch_size})
        self.members = nn.ModuleList(part.objective for part in self.parts.values())
        kinds = {part.backbone_kind for part in self.leaves}
        if {"causal", "masked"} <= kinds:
            raise UserError("objective.parts mixes a causal and a masked language model, which one backbone cannot be")
        masked = [part for part in self.leaves if part.backbone_kind == "masked"]
        if len({0 if part.pretext is None else part.pretext.prediction_offset for part in masked}) > 1:
            raise UserError("objective.parts mixes hybrid, which predicts the next place, with another masked model")
        self.backbone_kind = next(kind for kind in ("sentence", "causal", "masked", "bare", "seq2seq") if kind in kinds)
        return resolved

    @property
    def takes_pairs(self) -> bool:
        return any(part.takes_pairs for part in self.leaves)

    def take_pairs(self, facts: PairFacts) -> None:
        if not self.takes_pairs:
            raise UserError("data.pairs is for the objective pairs, which objective.parts does not name")
        for part in self.leaves:
            if part.takes_pairs:
                part.take_pairs(facts)

    def build(self, backbone: nn.Module, facts: Facts) -> None:
        super().build(backbone, facts)
        for part, _, batch_size in self.parts.values():
            on_tokens = self.backbone_kind == "sentence" and part.backbone_kind != "sentence"
            own = replace(facts, batch_size=batch_size or facts.batch_size)
            part.build(backbone.backbone if on_tokens else backbone, own)  # type: ignore[arg-type]

    def make_view(self, sample: Any, rng: np.random.Generator, progress: float) -> Any:
        raise AssertionError("every part makes its own views")

    def counts(self, batch: Part) -> Mapping[str, float]:
        return self.parts[batch.name].objective.counts(batch.batch)

    def padded_tokens(self, batch: Part) -> int:
        return self.parts[batch.name].objective.padded_tokens(batch.batch)

    def has_features(self, batch: Part) -> bool:
        return self.parts[batch.name].objective.has_batch_loss

    def keeps_dropout(self, batch: Part) -> bool:
        return self.parts[batch.name].objective.keeps_dropout(batch.batch)

    def forward(self, batch: Part) -> Encoded:
        part = self.parts[batch.name]
        terms, features = part.objective(batch.batch)
        self.check_terms(batch.name, terms)
        weighed = {name: Term(term.total, part.weight * term.weight) for name, term in terms.items()}
        return Encoded(weighed, {f"{batch.name}/{name}": value for name, value in features.items()})

    def batch_loss(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        losses = {}
        for name, part in self.parts.items():
            own = own_features(features, name)
            if own and part.objective.has_batch_loss:
                found = part.objective.batch_loss(own)
                self.check_terms(name, found)
                losses |= {key: part.weight * loss for key, loss in found.items()}
        return losses

    def check_terms(self, part: str, terms: Mapping[str, Any]) -> None:
        """Raise UserError where another part has a term of the same name: one of the two would be lost."""
        for term in terms:
            owner = self.owners.setdefault(term, part)
            if owner != part:
                raise UserError(
                    f"objective.parts: {owner} and {part} both call a term of their loss {term}: rename one of them"
                )

    def export_others(self, run: Path, tokenizer: Any) -> list[Path]:
        return [path for part in self.leaves for path in part.export_others(run, tokenizer)]

    def watched(self, features: dict[str, Tensor]) -> Watched | None:
        """What the first part shows; first of all one whose loss compares vectors."""
        for name, part in sorted(self.parts.items(), key=lambda item: not item[1].objective.has_batch_loss):
            own = own_features(features, name)
            found = part.objective.watched(own) if own else None
            if found is not None:
                return found
        return None

    def figures(self, features: dict[str, Tensor]) -> Mapping[str, float | Tensor]:
        found: dict[str, float | Tensor] = {}
        for name, part in self.parts.items():
            own = own_features(features, name)
            found |= part.objective.figures(own) if own else {}
        return found

    def commit(self, features: dict[str, Tensor], progress: float) -> None:
        for name, part in self.parts.items():
            part.objective.commit(own_features(features, name), progress)


def own_features(features: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    """The features of one part of the mixture, under the names that the part gave them."""
    prefix = f"{part}/"
    return {name.removeprefix(prefix): value for name, value in features.items() if name.startswith(prefix)}
