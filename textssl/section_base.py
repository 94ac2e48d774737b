"""What every section of a configuration is: no unknown keys, finite numbers of 64 bits, frozen once it is resolved."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any, Self, get_args

from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationInfo, field_validator

INTEGERS = 2**63  # what fits into 64 bits with its sign, as torch and the corpora want


class Section(BaseModel):
    """Keys of a configuration or options of a class: none beyond those named, every number finite and of 64 bits."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=(), allow_inf_nan=False)
    _frozen: bool = PrivateAttr(default=False)

    def freeze(self) -> Self:
        """Let nothing change from here on, sections inside it included; returns itself."""
        for value in vars(self).values():
            if isinstance(value, Section):
                value.freeze()
        self._frozen = True
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        assert not self._frozen, f"the configuration is resolved, {name} cannot change: change a copy (`unfrozen`)"
        super().__setattr__(name, value)

    def unfrozen(self) -> Self:
        """A copy of all of it that can be changed."""
        copied = self.model_copy(deep=True)
        sections: list[Section] = [copied]
        while sections:
            section = sections.pop()
            object.__setattr__(section, "__pydantic_private__", {"_frozen": False})
            sections += [value for value in vars(section).values() if isinstance(value, Section)]
        return copied

    def with_values(self, values: Mapping[str, Any]) -> Self:
        """A frozen copy with other values, by dotted keys."""
        copied = self.unfrozen()
        for key, value in values.items():
            *sections, name = key.split(".")
            setattr(reduce(getattr, sections, copied), name, value)
        return copied.freeze()

    @field_validator("*", mode="before")
    @classmethod
    def truth_values_are_no_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        """Pydantic takes true for 1, and YAML takes `yes` and `on` for true."""
        kind = cls.model_fields[str(info.field_name)].annotation
        values = value if isinstance(value, list | tuple) else [value]
        if any(isinstance(one, bool) for one in values) and not takes_truth(kind):
            raise ValueError("true and false (yes, no, on, off) are no numbers")
        return value

    @field_validator("*", mode="after")
    @classmethod
    def integers_fit(cls, value: Any) -> Any:
        if too_large(value):
            raise ValueError("integers must be from -2^63 to 2^63 - 1")
        return value


def takes_truth(kind: Any) -> bool:
    """Whether a type has a place for true and false, or is left open."""
    return kind in (bool, Any) or any(takes_truth(part) for part in get_args(kind))


def too_large(value: Any) -> bool:
    """Whether an integer in a value, at any depth, has more than 64 bits."""
    if isinstance(value, dict):
        return any(too_large(one) for one in value.values())
    if isinstance(value, list | tuple):
        return any(too_large(one) for one in value)
    return isinstance(value, int) and not -INTEGERS <= value < INTEGERS
