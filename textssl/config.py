"""The configuration of a run: YAML files, dotted overrides, validation, and the errors that name the key.

A YAML key is a field name is a constructor argument. Nothing heavy is imported here.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ValidationError, create_model

from textssl.errors import UserError, shortened
from textssl.explanations import explain, section_of
from textssl.named_configs import find_config
from textssl.section_base import INTEGERS, Section
from textssl.sections import Config
from textssl.yaml_reader import MAX_DEPTH, parse_yaml, read_yaml

# Lengths of a run: a given one removes those of the layer below (file over defaults, overrides over file).
ENDS = ("max_steps", "max_tokens", "max_seconds", "max_epochs")
# Keys that a resumed run may have otherwise: what they lead to has fingerprints, as corpora have, or lies elsewhere.
BY_CONTENT = ("data.pairs", "data.train", "data.validation", "data.test")
BY_PLACE = ("model.pretrained", "data.held_out")
OF_A_HOST = ("train.threads", "train.workers")  # keys that each host of a run may have otherwise


def load_config(
    path: str | Path, overrides: Sequence[str] = (), defaults: dict[str, dict[str, Any]] | None = None
) -> Config:
    """Read a YAML file, apply `key.sub=value` overrides in order, and validate.

    path: a file, or the name of a configuration that comes with textssl, such as `crops`.

    A length of the run among the overrides takes the file's lengths out; of several overrides the first to be reached
    ends the run. defaults: {section: {key: value}} of a command whose defaults are not those of pretraining.

    Raises UserError for a missing file, YAML that does not parse, an unknown key (with the nearest valid one),
    or a value of the wrong kind.
    """
    path = find_config(path)
    values = read_yaml(path)
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise UserError(f"{path} must hold sections such as `train:` at its top level, not a {type(values).__name__}")
    for override in sorted(overrides, key=lambda one: name_depth(one.partition("=")[0])):  # else in order
        apply_override(values, override)
    drop_other_ends(values, overrides)
    for section, keys in (defaults or {}).items():
        given = values.get(section)
        if section == "train" and isinstance(given, dict) and any(given.get(end) is not None for end in ENDS):
            keys = {key: value for key, value in keys.items() if key not in ENDS}
        elif section == "train" and isinstance(given, dict):  # null is a length that was not given
            given = {key: value for key, value in given.items() if key not in ENDS}
        if given is None or isinstance(given, dict):
            values[section] = {**keys, **(given or {})}
    return parse_config(values, str(path), overrides)


ALTERNATIVES = ({"preset", "config", "pretrained"},)  # of model: setting one by override takes the others out


def apply_override(values: dict, override: str) -> None:
    """Set one dotted key of a nested dictionary in place; the value is YAML, or plain text for a key that holds text.

    Another name for the objective, or for a section in it, takes out the options of the former one. Raises UserError.
    """
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise UserError(
            f"cannot read the override {shortened(repr(override))}: write key.sub=value, e.g. train.max_steps=200"
        )
    *parents, last = key.strip().split(".")
    if len(parents) >= MAX_DEPTH:
        raise UserError(f"cannot set {shortened(key)}: no key has so many parts")
    target = values
    for place, parent in enumerate(parents):
        if target.get(parent) is None:
            target[parent] = {}
        target = target[parent]
        if not isinstance(target, dict):
            raise UserError(f"cannot set {key}: {'.'.join(parents[: place + 1])} is not a section")
    if parents[:1] == ["objective"] and last == "name" and target.get("name") != text:
        target.clear()  # options of another method, or of another view
    target[last] = as_text(key.strip(), text) if takes_text(key.strip()) else parse_yaml(text, f"the value of {key}")
    for group in ALTERNATIVES:
        if parents == ["model"] and last in group and target[last] is not None:
            for other in group - {last}:
                target.pop(other, None)


def name_depth(key: str) -> float:
    """By which overrides are sorted: names of the objective come first, outer ones before inner ones, as they take out
    the options of another method or view."""
    parts = key.strip().split(".")
    return len(parts) if parts[0] == "objective" and parts[-1] == "name" else math.inf


def takes_text(key: str) -> bool:
    """Whether a dotted key holds a name or a path, whose value on the command line is not YAML: `run #2` is a name."""
    return str in _kinds(key) or key == "data.corpus"


def as_text(key: str, text: str) -> Any:
    """The value of a key that holds text: empty is None, as is null where it may be; a list of corpora is YAML."""
    if not text or (text == "null" and type(None) in _kinds(key)):
        return None
    if key == "data.corpus" and text.lstrip().startswith("["):
        return parse_yaml(text, f"the value of {key}")
    return text


def _kinds(key: str) -> tuple[Any, ...]:
    """The types that a dotted key of the configuration may have; none where there is no such key."""
    *parents, last = key.split(".")
    model: type[BaseModel] | None = Config
    for part in parents:
        model = section_of(model, part) if model else None
    if model is None or last not in model.model_fields:
        return ()
    annotation = model.model_fields[last].annotation
    kinds = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return tuple(get_args(kind)[0] if get_origin(kind) is Annotated else kind for kind in kinds)


def drop_other_ends(values: dict, overrides: Sequence[str]) -> None:
    """Take the file's lengths out where an override gives one, in place."""
    train = values.get("train")
    named = {end for end in ENDS for override in overrides if override.partition("=")[0].strip() == f"train.{end}"}
    if isinstance(train, dict) and any(train.get(end) is not None for end in named):
        for end in set(ENDS) - named:
            train.pop(end, None)


def parse_config(values: dict, source: str = "the configuration", overrides: Sequence[str] = ()) -> Config:
    """The configuration that values make. overrides: those in the values, for messages to name. Raises UserError."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise UserError(explain(error, Config, source, overrides=overrides)) from None


def validate_options(
    target: Callable, options: dict[str, Any], prefix: str, source: str = "the configuration"
) -> dict[str, Any]:
    """Check options against the keyword arguments of a constructor; returns them with the defaults filled in.

    target: a class or function whose annotated arguments are the valid keys. prefix: dotted name for messages. source:
    where the options stand. Raises UserError.
    """
    model = options_model(target)
    try:
        return model.model_validate(completed(model, options)).model_dump()
    except ValidationError as error:
        raise UserError(explain(error, model, source, prefix)) from None


def completed(model: type[BaseModel], options: dict[str, Any]) -> dict[str, Any]:
    """Options with complete nested sections: a name alone becomes a section, and a missing name the default's."""
    whole = dict(options)
    for key, field in model.model_fields.items():
        if key in whole and isinstance(field.default, BaseModel) and "name" in type(field.default).model_fields:
            given = {"name": whole[key]} if isinstance(whole[key], str) else whole[key]
            whole[key] = {"name": field.default.name, **given} if isinstance(given, dict) else given  # type: ignore[attr-defined]
    return whole


def check_seed(seed: int) -> None:
    """UserError for the seed of a command that is out of its range."""
    if not 0 <= seed < INTEGERS:
        raise UserError(f"seed is {shortened(str(seed))}, it must be from 0 to {INTEGERS - 1}")


def options_model(target: Callable) -> type[BaseModel]:
    """A pydantic model with one field for each keyword argument of a constructor."""
    function = target.__init__ if inspect.isclass(target) else target
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if name == "self" or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[name] = (hints.get(name, Any), default)
    return create_model(getattr(target, "__name__", "Options"), __base__=Section, **fields)


FREE_ON_RESUME = (  # keys that change nothing in the mathematics of the steps already made
    *("name", "out", "evaluation"),
    *(f"train.{key}" for key in ("max_steps", "max_tokens", "max_seconds", "max_epochs", "device", "workers")),
    *("train.threads", "train.shard"),
    *(f"train.{key}" for key in ("micro_batch_size", "micro_batch_tokens", "stop_on_collapse", "deterministic")),
    *(
        f"train.{key}"
        for key in ("log_every", "checkpoint_every", "keep_checkpoints", "resume", "tensorboard", "timeout_seconds")
    ),
)


def differing_keys(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Dotted keys, other than those free to change on resume, in which two dumped configurations differ.

    A key that `old` does not have, since an older version wrote it, has its default there.
    """
    flat_old, flat_new = flatten(old), flatten(new)
    defaults = flatten(Config().model_dump(mode="json"))
    keys = {**flat_old, **flat_new}
    changed = [key for key in keys if flat_old.get(key, defaults.get(key)) != flat_new.get(key)]
    return [key for key in changed if not any(key == free or key.startswith(f"{free}.") for free in FREE_ON_RESUME)]


def absolute_paths(config: Config) -> dict[str, str]:
    """The absolute paths that the keys of BY_PLACE lead to; names that are no paths are left out."""
    given = {"model.pretrained": config.model.pretrained, "data.held_out": config.data.held_out}
    return {key: str(Path(path).resolve()) for key, path in given.items() if path is not None and Path(path).exists()}


def changed_keys(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Keys that differ between two identities and may not on resume. Older versions noted no tokenizer and no paths."""
    old, new = ({**one["config"], "data": {**one["config"]["data"]}} for one in (before, now))
    for data in (old["data"], new["data"]):
        data["corpus"] = [share["weight"] for share in data["corpus"]]
    places = before.get("paths", {})
    equal = {key for key in BY_PLACE if key in places and places[key] == now["paths"].get(key)}
    equal |= set(BY_CONTENT) | ({"tokenizer"} if "tokenizer" in before else set())
    changed = [key for key in differing_keys(old, new) if key not in equal]
    if before.get("tokenizer", now["tokenizer"]) != now["tokenizer"]:
        changed.append("tokenizer" if new["tokenizer"] else "tokenizer (that of model.pretrained)")
    return changed


def shared_values(values: dict[str, Any]) -> dict[str, Any]:
    """What a dumped configuration says, by dotted keys, that all processes of a run must share. Hosts may have files at
    other places: what they hold is compared where they are read (`choose_run`, `held_out_corpus`), and a suite is the
    first rank's."""
    weights = [share["weight"] for share in values["data"]["corpus"]]
    flat = flatten({**values, "data": {**values["data"], "corpus": weights}})
    there = {key: flat[key] is not None for key in ("out", "tokenizer", "evaluation.suite", *BY_CONTENT, *BY_PLACE)}
    return {key: value for key, value in {**flat, **there}.items() if key not in OF_A_HOST}


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} as {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat.update(flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return flat


def config_schema() -> dict[str, Any]:
    """JSON schema of the configuration, for editors."""
    return Config.model_json_schema()
