"""Which model an objective is compared on: one size of transformer for all, a static table, or its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from textssl.errors import UserError, excerpt
from textssl.models.presets import PRESETS, STATIC_PRESETS
from textssl.models.static import is_static
from textssl.objectives import resolve_objective
from textssl.sections import Config, ModelConfig

OWN = "config"  # each configuration's own model section
SIZES = tuple(dict.fromkeys(name.rpartition("-")[2] for name in PRESETS))
SWITCHED = {  # what suits the kind of backbone that a configuration was not written for
    True: ("optimizer={name: adamw, lr: 3e-3, betas: [0.9, 0.99]}", "train.batch_size=1024"),  # static
    False: ("optimizer={name: muon, lr: 1e-3}", "train.batch_size=128"),
}


class Placed(NamedTuple):
    """The overrides that put a configuration on a model, or the reason why it is left out."""

    overrides: tuple[str, ...] = ()
    reason: str | None = None


def placed(config: Config, wanted: str, others: Sequence[Config] = ()) -> Placed:
    """How to put a configuration on the model that is wanted, or why it is left out.

    wanted: a size such as nano, of the configuration's own family of transformers (else ModernBERT, or Llama for causal
    objectives); a preset, static ones too; or "config". others: the configurations that it is compared with.
    A configuration for another size is left out where one for this size has the same objective section. Where it was
    written for a static table and goes on a transformer, or the other way round, optimizer and batch size change too.
    Raises UserError for a model that does not exist.
    """
    if wanted == OWN:
        return Placed()
    objective, section = resolve_objective(config.objective)
    kinds = {part.backbone_kind for part in objective.leaves}
    static = wanted in STATIC_PRESETS
    if static and kinds != {"sentence"}:
        return Placed(reason="a static table has no layers for it")
    if static and config.model.dropout is not None:
        return Placed(reason="a static table has no dropout for its views")
    if not static and any(part.table_only for part in objective.leaves):
        return Placed(reason="it trains a static table")
    preset = wanted if static or wanted in PRESETS else transformer(config.model, wanted, causal="causal" in kinds)
    if config.model.preset == preset:
        return Placed()
    same = (other for other in others if other.model.preset == preset)
    if any(resolve_objective(other.objective)[1] == section for other in same):
        return Placed(reason="another configuration has this objective for this model")
    switched = SWITCHED[static] if static != is_static(config.model) else ()
    return Placed((f"model.preset={preset}", *switched))


def transformer(model: ModelConfig, size: str, *, causal: bool) -> str:
    """The preset of a size in the family that a configuration names."""
    own = model.preset or ""
    if own.endswith(f"-{size}") and own not in STATIC_PRESETS:
        return own
    family = own.rpartition("-")[0] if own and own not in STATIC_PRESETS else "llama" if causal else "modernbert"
    preset = f"{family}-{size}"
    if preset not in PRESETS:
        raise UserError(
            f"--model is {excerpt(size)}: it takes a size ({', '.join(SIZES)}), a preset such as "
            f"{next(iter(STATIC_PRESETS))}, or {OWN} for each configuration's own model"
        )
    return preset


def model_words(model: ModelConfig) -> str:
    """What a model section is called in a table."""
    if model.preset is not None:
        return model.preset
    if model.config is not None:
        return str(model.config.get("model_type", "a configuration"))
    assert model.pretrained is not None
    return f"from {model.pretrained}"
