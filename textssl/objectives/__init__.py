"""The self-supervised objectives, one file a method, behind the contract of `base`. No files of data, no processes."""

from __future__ import annotations

import importlib
from typing import Any

from textssl.config import validate_options
from textssl.errors import UserError, excerpt
from textssl.explanations import nearest
from textssl.objectives.barlow import Barlow
from textssl.objectives.base import Objective
from textssl.objectives.byol import BYOL
from textssl.objectives.clm import CausalLM
from textssl.objectives.cpc import CPC
from textssl.objectives.crops import Crops
from textssl.objectives.data2vec import Data2Vec
from textssl.objectives.deepcluster import DeepCluster
from textssl.objectives.diffusion import Diffusion
from textssl.objectives.hybrid import Hybrid
from textssl.objectives.infilling import Infilling
from textssl.objectives.mlm import MaskedLM
from textssl.objectives.moco import MoCo
from textssl.objectives.order import Order
from textssl.objectives.pairs import Pairs
from textssl.objectives.replaced_token import ReplacedToken
from textssl.objectives.sigreg import SIGReg
from textssl.objectives.simcse import SimCSE
from textssl.objectives.simsiam import SimSiam
from textssl.objectives.skipgram import SkipGram
from textssl.objectives.sum import Sum
from textssl.objectives.supervised import Classification, Regression, Supervised
from textssl.objectives.swav import SwAV
from textssl.objectives.tsdae import Tsdae
from textssl.objectives.vicreg import VICReg
from textssl.objectives.whitening import Whitening

OBJECTIVES: dict[str, type[Objective]] = {
    "mlm": MaskedLM,
    "clm": CausalLM,
    "infilling": Infilling,
    "simcse": SimCSE,
    "crops": Crops,
    "moco": MoCo,
    "byol": BYOL,
    "simsiam": SimSiam,
    "barlow": Barlow,
    "vicreg": VICReg,
    "whitening": Whitening,
    "sigreg": SIGReg,
    "swav": SwAV,
    "deepcluster": DeepCluster,
    "cpc": CPC,
    "order": Order,
    "pairs": Pairs,
    "replaced_token": ReplacedToken,
    "diffusion": Diffusion,
    "tsdae": Tsdae,
    "data2vec": Data2Vec,
    "hybrid": Hybrid,
    "skipgram": SkipGram,
    "sum": Sum,
}
SUPERVISED: dict[str, type[Supervised]] = {"classification": Classification, "regression": Regression}


def find_objective(name: str) -> type[Objective]:
    """The class behind a name of OBJECTIVES or SUPERVISED, or behind `package.module:Class`. Raises UserError."""
    if name in OBJECTIVES or name in SUPERVISED:
        return {**OBJECTIVES, **SUPERVISED}[name]
    module, colon, attribute = name.partition(":")
    if not colon:
        raise UserError(
            f"unknown objective.name {excerpt(name)}{nearest(name, [*OBJECTIVES, *SUPERVISED])} "
            "(or package.module:Class)"
        )
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UserError(f"objective.name {excerpt(name)} cannot be imported: {error}") from None
    if not (isinstance(found, type) and issubclass(found, Objective)):
        raise UserError(f"objective.name {excerpt(name)} is not a subclass of textssl.objectives.base.Objective")
    return found


def resolve_objective(section: dict[str, Any], key: str = "objective") -> tuple[Objective, dict[str, Any]]:
    """The objective that a configuration's section describes, and the section with every default filled in.

    key: the section's dotted name, for messages. Raises UserError for an unknown name or option, or a bad value.
    """
    if "name" not in section:
        raise UserError(f"{key}.name is missing; valid: {', '.join(OBJECTIVES)}")
    if not isinstance(section["name"], str):
        raise UserError(f"{key}.name is {excerpt(section['name'])}; it must be a name, such as {', '.join(OBJECTIVES)}")
    found = find_objective(section["name"])
    options = validate_options(found, {k: v for k, v in section.items() if k != "name"}, key)
    objective = found(**options)
    if isinstance(objective, Sum):
        options["parts"] = objective.resolve(resolve_objective)
    return objective, {"name": section["name"], **options}
