"""What is wrong with a configuration, in words: the full dotted key, where it was given, and the nearest valid one."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from textssl.errors import shortened

SHOWN = 10  # mistakes that one message reports


def explain(
    error: ValidationError, model: type[BaseModel], source: str, prefix: str = "", overrides: Sequence[str] = ()
) -> str:
    """Pydantic's findings as one message with full dotted names and the nearest valid keys.

    Each is attributed to where it comes from: the override that gave the key, else `source`.
    """
    lines: dict[str, list[str]] = {}
    for finding in error.errors(include_url=False)[:SHOWN]:
        place = [shortened(str(part)) for part in without_tags(model, finding["loc"])]
        name = ".".join(([prefix] if prefix else []) + place)
        if finding["type"] == "extra_forbidden":
            valid = valid_keys(model, finding["loc"][:-1])
            inside = [field for field in model.model_fields if place[-1] in valid_keys(model, [field])]
            if len(place) == 1 and inside:
                line = f"unknown key {name}; did you mean {prefix}.{inside[0]}.{place[-1]}?"
            else:
                line = f"unknown key {name}{nearest(place[-1], valid, name.rpartition('.')[0])}"
        elif finding["type"] == "union_tag_invalid":
            context = finding.get("ctx", {})
            valid = [tag.strip(" '") for tag in context["expected_tags"].split(",")]
            line = f"unknown {name}.name {shortened(repr(context['tag']))}{nearest(context['tag'], valid)}"
        elif finding["type"] == "union_tag_not_found":
            line = f"{name} must be a name, or keys with a name (got {shortened(repr(finding['input']))})"
        elif finding["type"] == "missing":
            line = f"{name} is missing"
        else:
            message = finding["msg"].removeprefix("Value error, ")
            got = "" if isinstance(finding["input"], dict) else f" (got {shortened(repr(finding['input']))})"
            line = f"{name}: {message[0].lower()}{message[1:]}{got}"
        lines.setdefault(origin(name, source, overrides), []).append(line)
    text = "; ".join(f"{where}: {'; '.join(dict.fromkeys(found))}" for where, found in lines.items())
    more = error.error_count() - SHOWN
    return f"{text}; and {more:,} more" if more > 0 else text


def origin(name: str, source: str, overrides: Sequence[str]) -> str:
    """Where the value of a dotted key comes from: the last override that set it, or the source and what changed it."""
    within = []
    for override in reversed(overrides):
        key = override.partition("=")[0].strip()
        if f"{name}.".startswith(f"{key}."):
            return f"the override {shortened(override)}"
        if key.startswith(f"{name}."):
            within.insert(0, shortened(override))
    return f"{source} with {' '.join(within)}" if within else source


def nearest(key: str, valid: Sequence[str], prefix: str = "") -> str:
    """The tail of a message: the valid key closest to a misspelt one, or all of them."""
    close = difflib.get_close_matches(key, valid, n=1, cutoff=0.6)
    dot = f"{prefix}." if prefix else ""
    return f"; did you mean {dot}{close[0]}?" if close else f"; valid here: {', '.join(sorted(valid))}"


def without_tags(model: type[BaseModel], place: Sequence[Any]) -> list[Any]:
    """A path of keys as the user writes it: pydantic puts the name of a chosen kind of section into it."""
    kept: list[Any] = []
    for number, part in enumerate(place):
        if not number or len(sections_of(model, str(place[number - 1]))) < 2:
            kept.append(part)
    return kept


def valid_keys(model: type[BaseModel], place: Sequence[Any]) -> list[str]:
    """Field names of the section that a path of keys leads to; several kinds of one section together."""
    models = [model]
    for part in place:
        inner = [section for one in models for section in sections_of(one, str(part))]
        chosen = [one for one in models if getattr(one.model_fields.get("name"), "default", None) == part]
        models = inner or chosen or models
    return list(dict.fromkeys(name for one in models for name in one.model_fields))


def section_of(model: type[BaseModel], key: str) -> type[BaseModel] | None:
    """The section, or the list of sections, that a field holds."""
    return next(iter(sections_of(model, key)), None)


def sections_of(model: type[BaseModel], key: str) -> list[type[BaseModel]]:
    """The kinds of section that a field, or a list in it, may hold."""
    if key not in model.model_fields:
        return []
    annotation = model.model_fields[key].annotation
    options = [annotation, *get_args(annotation), *(a for o in get_args(annotation) for a in get_args(o))]
    options = dict.fromkeys(options)
    return [one for one in options if inspect.isclass(one) and issubclass(one, BaseModel)]
