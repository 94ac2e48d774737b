"""YAML as users write it, configurations and suites: one reader, whose time and memory have bounds.

YAML 1.2's numbers; no key twice; nothing but names, numbers and truth values as keys.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError

from textssl.errors import UserError

MAX_VALUES = 50_000  # keys among them, and every copy that an alias makes
MAX_DEPTH = 50
MAX_DIGITS = 100  # of an integer
MERGE = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    """Safe YAML that reads 1e-3 as a number (YAML 1.2), refuses a key written twice, and counts what it reads."""

    def __init__(self, stream: str):
        super().__init__(stream)
        self.values = self.depth = 0
        self.sizes: dict[str, int] = {}  # values below each anchor that is complete

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            if event.anchor in self.anchors and event.anchor not in self.sizes:
                raise ComposerError(None, None, f"*{event.anchor} holds itself", event.start_mark)
            self.count(self.sizes.get(event.anchor, 0), event)
            return super().compose_node(parent, index)  # type: ignore[arg-type]
        before = self.values
        self.count(1, event)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ComposerError(None, None, f"more than {MAX_DEPTH} levels", event.start_mark)
        node = super().compose_node(parent, index)  # type: ignore[arg-type]
        self.depth -= 1
        if event.anchor is not None:
            self.sizes[event.anchor] = self.values - before
        return node

    def count(self, values: int, event: Any) -> None:
        self.values += values
        if self.values > MAX_VALUES:
            raise ComposerError(None, None, f"more than {MAX_VALUES:,} values", event.start_mark)

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        kind = str(node.tag).rpartition(":")[2]
        if kind == "int" and isinstance(node, yaml.ScalarNode) and len(node.value) > MAX_DIGITS:
            message = f"an integer of more than {MAX_DIGITS} digits"
            raise ConstructorError(None, None, message, node.start_mark)
        try:
            return super().construct_object(node, deep)  # type: ignore[no-untyped-call]
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError):  # as 2026-02-31, or !!bool x
            wrong = repr(node.value)[:80] if isinstance(node, yaml.ScalarNode) else "this"
            raise ConstructorError(None, None, f"{wrong} is no {kind}", node.start_mark) from None


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict:
    """A map whose own keys are written once; `<<: *other` gives the keys that it does not have."""
    own = set()
    for key_node, _ in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            message = "a key must be a name or a number, not a list or a map"
            raise ConstructorError(None, None, message, key_node.start_mark)
        key = key_node.value if key_node.tag == MERGE else loader.construct_object(key_node, deep=True)
        if key in own:
            message = f"the key {key!r:.80} is written twice"
            raise ConstructorError(None, None, message, node.start_mark)
        own.add(key)
    loader.flatten_mapping(node)
    pairs = ((loader.construct_object(key, deep=True), value) for key, value in node.value)
    return {key: loader.construct_object(value, deep=True) for key, value in pairs}


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"),
    list("-+0123456789."),
)


def parse_yaml(text: str, source: str) -> Any:
    """YAML text as Python values; UserError with the place when it is not YAML, too large, or too deeply nested."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise UserError(f"{source} is not valid YAML: {' '.join(str(error).split())[:300]}") from None


def read_yaml(path: Path) -> Any:
    """The values of a YAML file. Raises UserError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start}): save it as UTF-8") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    return parse_yaml(text, str(path))
