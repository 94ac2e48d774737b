"""From raw text to a trained, exported, evaluated language model.

Every command is a function here, with the same name and arguments: `textssl prepare --input a.txt ...` is
`textssl.prepare(input=["a.txt"], ...)`. Functions are loaded when they are first asked for, so that importing
textssl (and `textssl --help`) does not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from textssl.errors import UserError
from textssl.system.call_arguments import checked

if TYPE_CHECKING:
    from textssl.commands.compare import compare
    from textssl.commands.configs import copy_config, list_configs, show_config
    from textssl.commands.doctor import doctor
    from textssl.commands.embed import embed
    from textssl.commands.evaluate import evaluate
    from textssl.commands.explore import explore
    from textssl.commands.fill_mask import fill_mask
    from textssl.commands.finetune import finetune
    from textssl.commands.generate import generate
    from textssl.commands.mine import mine
    from textssl.commands.predict import predict
    from textssl.commands.prepare import prepare
    from textssl.commands.pretrain import pretrain
    from textssl.commands.quickstart import quickstart
    from textssl.commands.samples import get as get_sample
    from textssl.commands.samples import list_samples
    from textssl.commands.schema import schema
    from textssl.commands.tokenizer import train_tokenizer

__version__ = "0.1.0"

__all__ = [
    "UserError",
    "__version__",
    "compare",
    "copy_config",
    "doctor",
    "embed",
    "evaluate",
    "explore",
    "fill_mask",
    "finetune",
    "generate",
    "get_sample",
    "list_configs",
    "list_samples",
    "mine",
    "predict",
    "prepare",
    "pretrain",
    "quickstart",
    "schema",
    "show_config",
    "train_tokenizer",
]

COMMANDS = {  # public name: (module of textssl.commands, name in it)
    "compare": ("compare", "compare"),
    "copy_config": ("configs", "copy_config"),
    "doctor": ("doctor", "doctor"),
    "embed": ("embed", "embed"),
    "evaluate": ("evaluate", "evaluate"),
    "explore": ("explore", "explore"),
    "fill_mask": ("fill_mask", "fill_mask"),
    "finetune": ("finetune", "finetune"),
    "generate": ("generate", "generate"),
    "get_sample": ("samples", "get"),
    "list_configs": ("configs", "list_configs"),
    "list_samples": ("samples", "list_samples"),
    "mine": ("mine", "mine"),
    "predict": ("predict", "predict"),
    "prepare": ("prepare", "prepare"),
    "pretrain": ("pretrain", "pretrain"),
    "quickstart": ("quickstart", "quickstart"),
    "schema": ("schema", "schema"),
    "show_config": ("configs", "show_config"),
    "train_tokenizer": ("tokenizer", "train_tokenizer"),
}


def __getattr__(name: str) -> Any:
    if name not in COMMANDS:
        raise AttributeError(f"module 'textssl' has no attribute {name!r}")
    module, function = COMMANDS[name]
    return checked(getattr(import_module(f"textssl.commands.{module}"), function), name)


def __dir__() -> list[str]:
    return list(__all__)
