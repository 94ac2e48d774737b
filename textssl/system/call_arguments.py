"""The arguments of a command called from Python, against the types that its signature names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from contextlib import suppress
from functools import cache, wraps
from inspect import signature
from pathlib import Path
from types import NoneType, SimpleNamespace, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from textssl.errors import UserError, excerpt


class Unfit(Exception):
    """A value is not of the type."""


@cache
def checked(function: Callable, name: str) -> Callable:
    """The function as `textssl.NAME`: it raises UserError for an argument of a type that its signature does not name.

    What means the same is converted: numbers of numpy, paths of other libraries, a generator for a list, and one text
    where several may stand.
    """

    @wraps(function)
    def call(*given: Any, **named: Any) -> Any:
        bound = None
        with suppress(TypeError):
            bound = signature(function).bind(*given, **named)
        if bound is None:
            return function(*given, **named)  # Python's own words for an argument that is missing or unknown
        hints = parameter_types(function)
        for key in bound.arguments.keys() & hints.keys():
            value = bound.arguments[key]
            try:
                bound.arguments[key] = fitted(value, hints[key])
            except Unfit:
                words = function.__annotations__[key]
                raise UserError(f"textssl.{name}: {key} is {excerpt(value)}, it must be {words}") from None
        return function(*bound.args, **bound.kwargs)

    call.__module__, call.__name__, call.__qualname__ = "textssl", name, name  # where pickle finds it
    return call


@cache
def parameter_types(function: Callable) -> dict[str, Any]:
    """The types of a function's parameters, by name; that of what it returns may be known to type checkers alone."""
    written = {key: words for key, words in function.__annotations__.items() if key != "return"}
    return get_type_hints(SimpleNamespace(__annotations__=written), globalns=function.__globals__)


def fitted(value: Any, wanted: Any) -> Any:
    """The value as one of the wanted type. Raises Unfit."""
    if get_origin(wanted) in (Union, UnionType):
        return fitted_to_any(value, get_args(wanted))
    if get_origin(wanted) is Sequence:
        return fitted_items(value, get_args(wanted)[0])
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        value = value.item()
    if wanted in (int, float):
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole and not (wanted is float and isinstance(value, float)):
            raise Unfit
    elif wanted is Path and isinstance(value, os.PathLike):
        value = value if isinstance(value, Path) else Path(value)
    elif not isinstance(value, wanted):
        raise Unfit
    return value


def fitted_to_any(value: Any, kinds: Sequence[Any]) -> Any:
    """The value as one of several types: lists last, so that a text remains a text. Raises Unfit."""
    for wanted in sorted(kinds, key=lambda kind: get_origin(kind) is Sequence):
        try:
            return fitted(value, wanted)
        except Unfit:
            continue
    raise Unfit


def fitted_items(value: Any, wanted: Any) -> list[Any]:
    """A list of values of the wanted type; a text or a path is a list of one. Raises Unfit."""
    if isinstance(value, str | os.PathLike):
        return [fitted(value, wanted)]
    if isinstance(value, bytes | Mapping | Set | NoneType) or not isinstance(value, Iterable):
        raise Unfit  # a set has no order
    return [fitted(item, wanted) for item in value]
