"""`textssl schema`: the configuration as JSON schema, so that an editor completes and checks its keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from textssl.config import config_schema, options_model
from textssl.objectives import OBJECTIVES, SUPERVISED
from textssl.system.files import check_output, write_text


def schema(out: str | Path | None = None) -> dict[str, Any]:
    """Write the JSON schema of a run's configuration to a file, or print it; returns it.

    `objective` becomes one branch for each name in OBJECTIVES and SUPERVISED with the arguments of its constructor, and
    one branch for a `package.module:Class` of the user's own, whose options are not known here.
    """
    whole = config_schema()
    definitions = whole.setdefault("$defs", {})
    branches = []
    for name, objective in {**OBJECTIVES, **SUPERVISED}.items():
        definitions[f"objective_{name}"] = objective_schema(name, objective, definitions)
        branches.append({"$ref": f"#/$defs/objective_{name}"})
    whole["properties"]["objective"] = {
        "description": "the pretext task (for finetune what labels teach): its name and the options of its constructor",
        "anyOf": [*branches, OWN_OBJECTIVE],
    }
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "textssl run", **whole}
    text = json.dumps(whole, indent=2)
    if out is None:
        print(text)
    else:
        write_text(check_output(out), text + "\n")
    return whole


OWN_OBJECTIVE = {
    "type": "object",
    "title": "package.module:Class",
    "properties": {"name": {"type": "string", "pattern": r"^[\w.]+:\w+$"}},
    "required": ["name"],
}


def objective_schema(name: str, objective: type, definitions: dict[str, Any]) -> dict[str, Any]:
    """One objective's options; nested definitions are moved to the schema's own."""
    options = options_model(objective).model_json_schema()
    definitions.update(options.pop("$defs", {}))
    described = (objective.__doc__ or "").strip().partition("\n")[0]
    return {
        "type": "object",
        "title": name,
        "description": described,
        "properties": {"name": {"const": name}, **options.get("properties", {})},
        "required": ["name", *options.get("required", [])],
        "additionalProperties": False,
    }
