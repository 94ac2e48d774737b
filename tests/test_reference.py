"""docs/configuration.md and docs/presets.md are what scripts/reference.py makes of the code, and leave nothing out."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from scripts import reference
from textssl.config import options_model
from textssl.models.presets import PRESETS, STATIC_PRESETS
from textssl.objectives import OBJECTIVES, SUPERVISED
from textssl.section_base import Section
from textssl.sections import Config
from textssl.views.kinds import KINDS, CropsView

DOCS = Path(__file__).resolve().parent.parent / "docs"
ROW = re.compile(r"^\| `([\w.]+)` \| (.+?) \| (.+?) \| (.*?) \|$", re.MULTILINE)


@pytest.fixture(scope="module")
def configuration() -> str:
    return reference.configuration()


@pytest.mark.parametrize("name", reference.PAGES)
def test_the_page_is_up_to_date(name: str):
    text = reference.PAGES[name]()
    assert (DOCS / name).read_text(encoding="utf-8") == text, "run python scripts/reference.py --write"


def test_every_row_has_four_cells(configuration: str):
    rows = [line for line in configuration.splitlines() if line.startswith("| ")]
    assert len(rows) > len(Config.model_fields)
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in rows} == {5}


def test_every_key_stands_there_with_its_meaning(configuration: str):
    rows = {key: meaning for key, _, _, meaning in ROW.findall(configuration)}
    for name, field in Config.model_fields.items():
        kind = field.annotation
        nested = inspect.isclass(kind) and issubclass(kind, Section)
        for key in [f"{name}.{inner}" for inner in kind.model_fields] if nested else [name]:  # type: ignore[union-attr]
            assert rows.get(key) or key == "objective", f"{key} has no meaning: give its field a description"


def test_every_option_of_every_objective_stands_there_with_its_meaning(configuration: str):
    for name, objective in {**OBJECTIVES, **SUPERVISED}.items():
        rows = table(configuration, f"`{name}`")
        assert set(rows) == set(options_model(objective).model_fields)
        missing = [option for option, meaning in rows.items() if not meaning]
        assert not missing, (
            f"the docstring of {objective.__name__} does not say what {missing} mean: write `option: ...`"
        )


def test_every_option_of_every_view_stands_there_with_its_meaning(configuration: str):
    for name, view in KINDS.items():
        rows = table(configuration, f"`view: {{name: {name}}}`")
        assert set(rows) == set(view.model_fields) - {"name"}
        assert all(rows.values()), f"the docstring of {view.__name__} does not say what each option means"
    assert reference.shown_view(CropsView(max_tokens=9).model_dump()) == "{name: crops, max_tokens: 9}"


def table(configuration: str, title: str) -> dict[str, str]:
    """The options below a heading, with their meanings."""
    part = configuration.split(f"\n### {title}\n")[1].split("\n##")[0]
    return {key.rpartition(".")[2]: meaning for key, _, _, meaning in ROW.findall(part)}


def test_every_preset_stands_there_with_its_shape():
    rows = dict(re.findall(r"^\| `([\w-]+)` \| (.*) \|$", reference.presets(), re.MULTILINE))
    assert set(rows) == {*PRESETS, *STATIC_PRESETS}
    layers, width, heads, _, body, _ = rows["modernbert-base"].split(" | ")
    assert (layers, width, heads) == ("22", "768", "12")
    assert float(body.rstrip("M")) == pytest.approx(149.0 - 50_368 * 768 / 1e6, abs=1)  # arXiv:2412.13663


class Documented:
    """Something.

    first, second: two of them (see eq. 1: there). third: as in other. The others: as in other.
    """

    def __init__(self, first: int, second: int, third: int, fourth: int):
        pass


class Other:
    """Something else.

    third: of another kind. fourth: the last.
    """

    def __init__(self, third: int, fourth: int):
        pass


def test_meanings_are_read_from_docstrings():
    found = reference.explained(Documented, ["first", "second", "third", "fourth"], {"other": Other})
    assert found == {
        **dict.fromkeys(("first", "second"), "two of them (see eq. 1: there)"),
        **{"third": "of another kind", "fourth": "the last"},
    }
