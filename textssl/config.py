"""The configuration of a run: YAML files, dotted overrides, validation, and the errors that name the key.

A YAML key is a field name is a constructor argument. Nothing heavy is imported here.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, field_validator, model_validator

from textssl.errors import UserError


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class CorpusShare(Section):
    """One corpus of a mixture: a prepared folder and its share of the samples (relative to the other weights)."""

    path: str
    weight: float = Field(default=1.0, gt=0)


class DataConfig(Section):
    corpus: list[CorpusShare] = Field(default=[], description="prepared folder, or a list of {path, weight}")
    held_out: str | None = Field(default=None, description="prepared folder to evaluate on; default: CORPUS/held-out")
    pairs: str | None = Field(
        default=None, description="file of text_a, text_b, and where known negative(_N), label or score"
    )
    sequence_length: int = Field(default=128, ge=8, description="tokens in a row, special tokens included")
    window_tokens: int = Field(default=2**22, gt=0, description="tokens that are shuffled and packed together")

    @field_validator("corpus", mode="before")
    @classmethod
    def one_or_many(cls, value: Any) -> Any:
        return [{"path": value}] if isinstance(value, str) else value


class ModelConfig(Section):
    """Exactly one of preset, config and pretrained says what the backbone is."""

    preset: str | None = Field(default=None, description="a named size, e.g. modernbert-nano or llama-nano")
    config: dict[str, Any] | None = Field(
        default=None, description="any transformers configuration, e.g. {model_type: bert}"
    )
    pretrained: str | None = Field(default=None, description="a model folder to start from")
    attention: Literal["auto", "sdpa", "eager", "flash_attention_2"] = "auto"
    dropout: float | None = Field(default=None, ge=0, lt=1, description="null keeps the configuration's own")
    pooling: Literal["mean", "cls", "lasttoken", "weightedmean", "max"] | None = Field(
        default=None, description="sentence encoders: tokens to one vector; null: the folder's own, else mean"
    )
    dense_width: int | None = Field(
        default=None, gt=0, description="sentence encoders: a linear layer behind the pooling, of this width"
    )
    normalize: bool | None = Field(
        default=None, description="sentence encoders: vectors of length 1; null: the folder's own, else true"
    )

    @model_validator(mode="after")
    def one_source(self):
        given = [key for key in ("preset", "config", "pretrained") if getattr(self, key) is not None]
        if len(given) > 1:
            raise ValueError(f"give one of preset, config and pretrained, not {' and '.join(given)}")
        if not given:
            self.preset = "modernbert-nano"
        return self


class OptimizerConfig(Section):
    name: Literal["adamw", "muon"] = "muon"
    lr: float = Field(
        default=3e-3, gt=0, description="peak learning rate of the matrices (muon) or of everything (adamw)"
    )
    adamw_lr: float | None = Field(
        default=None, gt=0, description="muon: peak rate of embeddings, norms and heads; null: lr"
    )
    weight_decay: float = Field(default=0.01, ge=0)
    momentum: float = Field(default=0.95, ge=0, lt=1, description="muon's Nesterov momentum")
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = Field(default=1e-8, gt=0)


class ScheduleConfig(Section):
    name: Literal["constant", "linear", "cosine", "wsd"] = "wsd"
    warmup_steps: int | None = Field(
        default=None, ge=0, description="steps of linear warmup; null: warmup_fraction instead"
    )
    warmup_fraction: float = Field(default=0.05, ge=0, le=1, description="share of the run's length spent on warmup")
    decay_fraction: float = Field(
        default=0.4, gt=0, le=1, description="wsd: share of the run's length spent on the decay"
    )
    final_ratio: float = Field(default=0.0, ge=0, le=1, description="learning rate at the end, as a share of the peak")


class TrainConfig(Section):
    max_steps: int | None = Field(default=None, gt=0)
    max_tokens: int | None = Field(default=None, gt=0, description="non-padding tokens through the backbone")
    max_seconds: float | None = Field(default=None, gt=0, description="seconds of training, evaluation apart")
    batch_size: int = Field(default=32, gt=0, description="rows, sentences or documents of one global step")
    micro_batch_size: int | None = Field(
        default=None, gt=0, description="samples of one forward on one process; null: all"
    )
    micro_batch_tokens: int | None = Field(
        default=None, gt=0, description="sentences: tokens of one forward on one process, padding included; null: all"
    )
    max_grad_norm: float | None = Field(default=1.0, gt=0)
    precision: Literal["auto", "float32", "bfloat16", "float64"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    compile: bool = False
    gradient_checkpointing: bool = False
    workers: int | None = Field(default=None, ge=0, description="loader processes; null: 0 on CPU, 2 on a GPU")
    log_every: int = Field(default=10, gt=0, description="steps")
    checkpoint_every: int | None = Field(default=500, gt=0, description="steps; null: only at the end")
    keep_checkpoints: int = Field(default=2, ge=1)
    resume: Literal["auto", "never", "restart"] = "auto"
    stop_on_collapse: bool = Field(default=False, description="end the run where features collapse, not only warn")
    max_skipped_steps: int = Field(default=5, ge=1, description="non-finite steps in a row before the run stops")
    tensorboard: bool = False

    @model_validator(mode="after")
    def some_end(self):
        if self.max_steps is None and self.max_tokens is None and self.max_seconds is None:
            self.max_steps = 1000
        return self


class EvaluationConfig(Section):
    every: int | None = Field(
        default=200, gt=0, description="steps between held-out evaluations; null: only at the end"
    )
    max_rows: int = Field(default=512, gt=0, description="samples of one held-out evaluation")


class Config(Section):
    """A whole run."""

    name: str = "run"
    out: str = Field(default="runs/run", description="the run folder")
    seed: int = Field(default=0, ge=0, lt=2**63)
    tokenizer: str | None = Field(
        default=None, description="tokenizer folder; with model.pretrained its own is the default"
    )
    data: DataConfig = Field(default_factory=DataConfig)
    model: ModelConfig = Field(default_factory=ModelConfig)
    objective: dict[str, Any] = Field(default_factory=lambda: {"name": "mlm"})
    optimizer: OptimizerConfig = Field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = Field(default_factory=ScheduleConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig)

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


class _Loader(yaml.SafeLoader):
    """Safe YAML that reads 1e-3 as a number (YAML 1.2) and refuses a key written twice."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict:
    loader.flatten_mapping(node)
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]  # type: ignore[no-untyped-call]
    for place, key in enumerate(keys):
        if key in keys[:place]:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is written twice", node.start_mark)
    return {key: loader.construct_object(value, deep=True) for key, (_, value) in zip(keys, node.value, strict=True)}  # type: ignore[no-untyped-call]


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"),
    list("-+0123456789."),
)


def parse_yaml(text: str, source: str) -> Any:
    """YAML text as Python values; UserError with the place when it is not YAML."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise UserError(f"{source} is not valid YAML: {' '.join(str(error).split())}") from None


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML file, apply `key.sub=value` overrides in order, and validate.

    Raises UserError for a missing file, YAML that does not parse, an unknown key (with the nearest valid one),
    or a value of the wrong kind.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"the configuration {path} does not exist; see configs/ for examples")
    values = parse_yaml(path.read_text(encoding="utf-8"), str(path))
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise UserError(f"{path} must hold sections such as `train:` at its top level, not a {type(values).__name__}")
    for override in overrides:
        apply_override(values, override)
    return parse_config(values, str(path))


ALTERNATIVES = ({"preset", "config", "pretrained"},)  # of model: setting one by override takes the others out


def apply_override(values: dict, override: str) -> None:
    """Set one dotted key of a nested dictionary in place; the value is YAML."""
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise UserError(f"cannot read the override {override!r}: write key.sub=value, e.g. train.max_steps=200")
    *parents, last = key.strip().split(".")
    target = values
    for place, parent in enumerate(parents):
        if target.get(parent) is None:
            target[parent] = {}
        target = target[parent]
        if not isinstance(target, dict):
            raise UserError(f"cannot set {key}: {'.'.join(parents[: place + 1])} is not a section")
    target[last] = parse_yaml(text, f"the value of {key}")
    for group in ALTERNATIVES:
        if parents == ["model"] and last in group:
            for other in group - {last}:
                target.pop(other, None)


def parse_config(values: dict, source: str = "the configuration") -> Config:
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise UserError(explain(error, Config, source)) from None


def validate_options(target: Callable, options: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Check options against the keyword arguments of a constructor; returns them with the defaults filled in.

    target: a class or function whose annotated arguments are the valid keys. prefix: dotted name for messages.
    """
    model = options_model(target)
    try:
        return model.model_validate(options).model_dump()
    except ValidationError as error:
        raise UserError(explain(error, model, "the configuration", prefix)) from None


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


def explain(error: ValidationError, model: type[BaseModel], source: str, prefix: str = "") -> str:
    """Pydantic's findings as one message with full dotted names and the nearest valid keys."""
    lines = []
    for finding in error.errors():
        place = [str(part) for part in finding["loc"]]
        name = ".".join(([prefix] if prefix else []) + place)
        if finding["type"] == "extra_forbidden":
            valid = valid_keys(model, place[:-1])
            lines.append(f"unknown key {name}{nearest(place[-1], valid, name.rpartition('.')[0])}")
        elif finding["type"] == "missing":
            lines.append(f"{name} is missing")
        else:
            message = finding["msg"].removeprefix("Value error, ")
            got = "" if isinstance(finding["input"], dict) else f" (got {finding['input']!r})"
            lines.append(f"{name}: {message[0].lower()}{message[1:]}{got}")
    return f"{source}: " + "; ".join(dict.fromkeys(lines))


def nearest(key: str, valid: Sequence[str], prefix: str = "") -> str:
    """The tail of a message: the valid key closest to a misspelt one, or all of them."""
    close = difflib.get_close_matches(key, valid, n=1, cutoff=0.6)
    dot = f"{prefix}." if prefix else ""
    return f"; did you mean {dot}{close[0]}?" if close else f"; valid here: {', '.join(sorted(valid))}"


def valid_keys(model: type[BaseModel], place: Sequence[str]) -> list[str]:
    """Field names of the section that a path of keys leads to."""
    for part in place:
        if part in model.model_fields:
            annotation = model.model_fields[part].annotation
            options = [annotation, *get_args(annotation), *(a for o in get_args(annotation) for a in get_args(o))]
            model = next((o for o in options if inspect.isclass(o) and issubclass(o, BaseModel)), model)
    return list(model.model_fields)


FREE_ON_RESUME = (  # keys that change nothing in the mathematics of the steps already made
    *("name", "out", "evaluation"),
    *(f"train.{key}" for key in ("max_steps", "max_tokens", "max_seconds", "device", "workers", "stop_on_collapse")),
    *(f"train.{key}" for key in ("micro_batch_size", "micro_batch_tokens")),
    *(f"train.{key}" for key in ("log_every", "checkpoint_every", "keep_checkpoints", "resume", "tensorboard")),
)


def differing_keys(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Dotted keys, other than those free to change on resume, in which two dumped configurations differ."""
    flat_old, flat_new = flatten(old), flatten(new)
    changed = [key for key in {**flat_old, **flat_new} if flat_old.get(key) != flat_new.get(key)]
    return [key for key in changed if not any(key == free or key.startswith(f"{free}.") for free in FREE_ON_RESUME)]


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} as {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat.update(flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return flat


def config_schema() -> dict[str, Any]:
    """JSON schema of the configuration, for editors."""
    return Config.model_json_schema()
