from __future__ import annotations

import inspect
import json

import textssl
from textssl.objectives import OBJECTIVES, SUPERVISED
from textssl.sections import Config


def test_schema_has_every_section_and_every_option_of_every_objective(tmp_path):
    whole = textssl.schema(out=tmp_path / "schema.json")
    assert set(whole["properties"]) == set(Config.model_fields)
    assert not whole["additionalProperties"]
    branches = whole["properties"]["objective"]["anyOf"]
    assert len(branches) == len(OBJECTIVES) + len(SUPERVISED) + 1
    for name, objective in {**OBJECTIVES, **SUPERVISED}.items():
        definition = whole["$defs"][f"objective_{name}"]
        parameters = inspect.signature(objective.__init__).parameters.values()
        arguments = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)} - {"self"}
        assert set(definition["properties"]) == arguments | {"name"}
        assert definition["properties"]["name"] == {"const": name}
        assert definition["description"]


def test_every_reference_leads_somewhere(tmp_path):
    whole = textssl.schema(out=tmp_path / "schema.json")

    def references(value):
        if isinstance(value, dict):
            yield from ([value["$ref"]] if "$ref" in value else [])
            value = list(value.values())
        if isinstance(value, list):
            for inner in value:
                yield from references(inner)

    found = set(references(whole))
    assert found
    assert found <= {f"#/$defs/{name}" for name in whole["$defs"]}


def test_schema_goes_to_a_file_or_to_standard_output(tmp_path, capsys):
    out = tmp_path / "new" / "schema.json"
    returned = textssl.schema(out=out)
    assert json.loads(out.read_text()) == returned
    assert capsys.readouterr().out == ""
    textssl.schema()
    assert json.loads(capsys.readouterr().out) == returned
