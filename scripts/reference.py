"""Write docs/configuration.md (every key, with type, default and meaning) and docs/presets.md, from the code.

usage: python scripts/reference.py           says which page is out of date; exits 1 then
       python scripts/reference.py --write   writes both
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from pydantic import BaseModel  # noqa: E402
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM  # noqa: E402

from textssl.commands.finetune import DEFAULTS  # noqa: E402
from textssl.config import config_schema, options_model  # noqa: E402
from textssl.models.build import count_parameters  # noqa: E402
from textssl.models.configuration import ENCODER_DECODERS, position_capacity, preset_config  # noqa: E402
from textssl.models.presets import PRESETS, STATIC_PRESETS  # noqa: E402
from textssl.models.static import StaticConfig  # noqa: E402
from textssl.objectives import OBJECTIVES, SUPERVISED  # noqa: E402
from textssl.views.kinds import KINDS  # noqa: E402

VOCABULARY = 8192  # of the token embeddings that are counted
MEANINGS = {  # of options that no docstring explains by itself
    "temperature": "similarities are divided by it before the softmax",
    "span_mean": "mean length of a span, in words",
    "refresh_every": "steps between two clusterings of the corpus",
    "init_std": "with init random: standard deviation of the start; null: 1/sqrt(width)",
}
BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}

CONFIGURATION = """# Configuration keys

A YAML file of `configs/` sets some of these; any can follow it on the command line, as in
`textssl pretrain configs/mlm.yaml train.batch_size=64 data.corpus=corpus`. A value on the command line is YAML:
`objective.matryoshka=[64,128]`. A misspelt key stops the command and is answered with the nearest valid one.
`python scripts/reference.py --write` writes this page; `textssl schema` gives the same for editors.
"""
PRESETS_HEAD = f"""# Presets

Named sizes for `model.preset`. The body is everything but the token embeddings, which come on top (vocabulary x width,
shared with the output layer) and are given for a vocabulary of {VOCABULARY:,} tokens. Any other shape is a
`model.config`, as in `'model={{config: {{model_type: bert, hidden_size: 192, num_hidden_layers: 3}}}}'`. No preset has
dropout; set `model.dropout` for `simcse` and for fine-tuning. `python scripts/reference.py --write` writes this page.
"""
PRETEXT = """## `objective`

`objective.name` is one of the following, or `package.module:Class` for [an objective of your own](own-objective.md).
The options stand beside it. Default: `mlm`; finetune: `{finetune}`, by the columns of the labelled file."""
VIEWS = """## `objective.view`

What a method on two views is shown of a sample. Write a name alone, as in `objective.view=dropout`, or options with it,
as in `objective.view.max_tokens=32` or `'objective.view={name: deletion, rate: 0.1}'`."""
STATIC = """
`modernbert` and `bert` are encoders, for `mlm` and for sentence encoders; `llama` and `gpt2` are decoders, for `clm`;
`t5` and `bart` are encoder-decoders, for `infilling`, with so many layers on either side.
nano is for two CPU cores and minutes, micro for a laptop and an hour, mini for many cores or any GPU, small for one GPU
and hours, base for one GPU and days.

## Static encoders

A table of token vectors, whose weighted mean is the vector of a text ([sentence encoders](sentence-encoders.md)).
"""


def type_of(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """A JSON schema as a reader of YAML would say it."""
    if "$ref" in schema:
        inner = definitions[schema["$ref"].rpartition("/")[2]]
        return "{" + ", ".join(inner.get("properties", {})) + "}"
    if "oneOf" in schema:
        return "a [view](#objectiveview)"
    if "anyOf" in schema:
        return " or ".join(type_of(one, definitions) for one in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if "prefixItems" in schema:
        return "[" + ", ".join(type_of(one, definitions) for one in schema["prefixItems"]) + "]"
    kind: str = schema.get("type", "anything")
    if kind == "array":
        return f"list of {type_of(schema.get('items', {}), definitions)}"
    if kind == "object":
        return "mapping"
    if "minimum" in schema and "maximum" in schema:
        return f"{kind} from {shown(schema['minimum'])} to {shown(schema['maximum'])}"
    bounds = [f"{sign} {shown(schema[key])}" for key, sign in BOUNDS.items() if key in schema]
    return " ".join([{"string": "text", "boolean": "true or false"}.get(kind, kind), ", ".join(bounds)]).strip()


def shown(value: Any) -> str:
    """A value as YAML would have it, large powers of two as such."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 2**20 and value & (value - 1) == 0:
        return f"2^{value.bit_length() - 1}"
    if isinstance(value, int) and value == 2**63 - 1:
        return "2^63 - 1"
    if isinstance(value, float):  # bounds are 1e7 or 10000000, as the version of pydantic has it
        return str(int(value)) if value.is_integer() else f"{value:g}"
    return json.dumps(value).strip('"')


def shown_view(view: dict[str, Any]) -> str:
    """A view by its name, with the options that differ from the view's own defaults."""
    own = KINDS[view["name"]](name=view["name"]).model_dump(mode="json")
    options = {key: value for key, value in view.items() if value != own[key]}
    return f"{{name: {view['name']}{''.join(f', {key}: {shown(value)}' for key, value in options.items())}}}"


def row(key: str, schema: dict[str, Any], definitions: dict[str, Any], meaning: str, finetune: Any = ...) -> str:
    default = f"`{shown(schema['default'])}`" if "default" in schema else "required"
    if "oneOf" in schema:
        default = f"`{shown_view(schema['default'])}`"
    if finetune is not ...:
        default += f"; finetune: `{shown(finetune)}`"
    cells = (f"`{key}`", type_of(schema, definitions), default, meaning)
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def table(rows: list[str]) -> str:
    return "\n".join(["| key | type | default | meaning |", "|---|---|---|---|", *rows])


def sections() -> list[str]:
    """The tables of all sections of the configuration but `objective`."""
    whole = config_schema()
    definitions, parts = whole["$defs"], []
    top = {key: schema for key, schema in whole["properties"].items() if "$ref" not in schema and key != "objective"}
    parts.append(section("Top level", "", top, definitions))
    for name, schema in whole["properties"].items():
        if "$ref" in schema:
            inner = definitions[schema["$ref"].rpartition("/")[2]]
            said = f"{inner['description']}\n\n" if "description" in inner else ""
            parts.append(section(f"`{name}`", f"{name}.", inner["properties"], definitions, DEFAULTS.get(name), said))
            parts += [constructor("`model.config` of a static encoder", "model.config.", StaticConfig, {})] * (
                name == "model"
            )
    return parts


def section(
    title: str,
    prefix: str,
    properties: dict[str, Any],
    definitions: dict[str, Any],
    finetune: dict[str, Any] | None = None,
    said: str = "",
) -> str:
    rows = [
        row(f"{prefix}{key}", schema, definitions, schema.get("description", ""), (finetune or {}).get(key, ...))
        for key, schema in properties.items()
    ]
    return f"## {title}\n\n{said}{table(rows)}"


def paragraphs(target: Callable) -> list[str]:
    return [" ".join(part.split()) for part in (inspect.getdoc(target) or "").split("\n\n")]


def explained(target: Callable, options: list[str], others: dict[str, Callable]) -> dict[str, str]:
    """What a docstring says about each option: `option: ...` or `one, another: ...`; `as in OTHER` looks there."""
    text = " ".join(paragraphs(target)[1:])
    names = "|".join(sorted(map(re.escape, options), key=len, reverse=True)) or "(?!)"
    start = re.compile(rf"(?:^|(?<=\s))((?:{names})(?:, (?:{names}))*|The others): ")
    marks, found = list(start.finditer(text)), {}
    for mark, following in zip(marks, [*marks, None][1:], strict=True):
        meaning = text[mark.end() : following.start() if following else None].strip().rstrip(".")
        given = mark[1].split(", ") if mark[1] != "The others" else [name for name in options if name not in found]
        elsewhere = re.fullmatch(r"as in (\w+)", meaning)
        there = others.get(elsewhere[1]) if elsewhere else None
        inherited = explained(there, list(options_model(there).model_fields), others) if there else {}
        found |= {name: inherited.get(name, "" if there else meaning) for name in given}
    return {name: found.get(name) or MEANINGS.get(name, "") for name in options}


def constructor(title: str, prefix: str, target: Callable, others: dict[str, Callable]) -> str:
    """A table of the options that a class takes, under what its docstring begins with."""
    model = target if isinstance(target, type) and issubclass(target, BaseModel) else options_model(target)
    schema = model.model_json_schema()
    definitions, properties = schema.get("$defs", {}), schema.get("properties", {})
    meanings = explained(target, list(properties), others)
    rows = [
        row(f"{prefix}{key}", inner, definitions, inner.get("description") or meanings[key])
        for key, inner in properties.items()
        if "const" not in inner and key != "model_type"
    ]
    entries = [one for one in definitions.values() if "const" not in one["properties"].get("name", {})]
    nested = [f"Keys of an entry: {one['description']}" for one in entries]
    body = table(rows) if rows else "No options."
    return "\n\n".join([f"### {title}", paragraphs(target)[0], body, *nested])


def configuration() -> str:
    known: dict[str, Callable] = {**OBJECTIVES, **SUPERVISED}
    objectives = [constructor(f"`{name}`", "objective.", target, known) for name, target in known.items()]
    pretext = PRETEXT.format(finetune=DEFAULTS["objective"]["name"])
    views = [constructor(f"`view: {{name: {name}}}`", "objective.view.", kind, {}) for name, kind in KINDS.items()]
    return "\n\n".join([CONFIGURATION.strip(), *sections(), pretext, *objectives, VIEWS, *views]) + "\n"


def transformer_row(name: str) -> str:
    config = preset_config(name)
    config.vocab_size, config.pad_token_id = VOCABULARY, 0
    factory = AutoModelForCausalLM if config.model_type in ("llama", "gpt2") else AutoModelForMaskedLM
    factory = AutoModelForSeq2SeqLM if config.model_type in ENCODER_DECODERS else factory
    with torch.device("meta"):
        model = factory.from_config(config)
    model.tie_weights()
    embeddings = VOCABULARY * config.hidden_size
    positions = position_capacity(config) or "any"
    shape = (config.num_hidden_layers, config.hidden_size, config.num_attention_heads, positions)
    counted = (millions(count_parameters(model) - embeddings), millions(embeddings))
    return f"| `{name}` | " + " | ".join([*map(str, shape), *counted]) + " |"


def static_row(name: str) -> str:
    config = StaticConfig(**STATIC_PRESETS[name])
    learned = config.hidden_size - config.identity_size
    return (
        f"| `{name}` | {config.hidden_size} | {learned} | {config.identity_size} | {millions(VOCABULARY * learned)} |"
    )


def millions(number: int) -> str:
    return f"{number / 1e6:.1f}M"


def presets() -> str:
    transformers = [
        "| preset | layers | width | heads | positions | body | embeddings |",
        "|---|---:|---:|---:|---:|---:|---:|",
        *map(transformer_row, PRESETS),
    ]
    tables = [
        "| preset | width | of that learned | of that identity | learned table |",
        "|---|---:|---:|---:|---:|",
        *map(static_row, STATIC_PRESETS),
    ]
    return "\n".join([PRESETS_HEAD, "## Transformers\n", *transformers, STATIC, *tables]) + "\n"


PAGES: dict[str, Callable[[], str]] = {"configuration.md": configuration, "presets.md": presets}


def outdated() -> list[str]:
    """The pages that differ from what the code gives now."""
    texts = {name: page() for name, page in PAGES.items()}
    files = {name: ROOT / "docs" / name for name in texts}
    return [name for name, text in texts.items() if not files[name].is_file() or files[name].read_text("utf-8") != text]


def main() -> None:
    if "--write" in sys.argv:
        for name, page in PAGES.items():
            (ROOT / "docs" / name).write_text(page(), encoding="utf-8")
    elif stale := outdated():
        sys.exit(f"out of date: {', '.join(stale)}; run python scripts/reference.py --write")


if __name__ == "__main__":
    main()
