"""The README is true: its commands run, its map and the tree of docs/ name what is there, links lead somewhere."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from scripts import tree
from tests.forked import run
from tests.test_floors import DATA_FLOORS, EVALUATION_FLOORS, FLOORS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
MOST_LINES = 120
SHORTER = {  # so that two cores walk it in a minute; everything else runs as written
    "tokenizer train": ["--vocab-size", "400"],
    "pretrain": [
        *("model={config: {model_type: MODEL, num_hidden_layers: 1, hidden_size: 64, num_attention_heads: 2}}",),
        *("train.max_seconds=null", "train.max_steps=3", "train.batch_size=4", "evaluation.max_rows=8"),
    ],
    "finetune": ["train.max_steps=3", "data.sequence_length=32"],
    "evaluate": ["--suite", "small.yaml"],
    "generate": ["--max-new-tokens", "3"],
}
SUITE = "tasks: [{name: mine, kind: classification, path: labelled.csv, draws: 2, shots: [8]}]"
STATIC = "model={config: {model_type: static, hidden_size: 32}}"
WORDS = [
    "the",
    "a",
    "minister",
    "market",
    "river",
    "said",
    "sold",
    "crossed",
    "near",
    "after",
    "council",
    "of",
    "people",
    "boat",
    "school",
    "new",
    "old",
    "green",
]


def section(title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    assert found, f"the README has no section {title!r}"
    return found.group(1)


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[str]:
    """The textssl commands of all bash blocks, continued lines joined."""
    joined = "\n".join(blocks(text, "bash")).replace("\\\n", " ")
    return [" ".join(line.split()) for line in joined.splitlines() if line.strip().startswith("textssl ")]


WALK = commands(section("Three jobs"))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with somebody's texts and the repository's configs; the commands build on each other in it."""
    folder = tmp_path_factory.mktemp("walk")
    shutil.copytree(ROOT / "configs", folder / "configs")
    texts = folder / "my-texts"
    texts.mkdir()
    for file in range(3):
        documents = [
            " ".join(WORDS[(7 * i + j * j + file) % len(WORDS)] for j in range(40 + i % 9)) + f" in {1900 + i}."
            for i in range(80)
        ]
        (texts / f"{file}.txt").write_text("\n\n".join(documents), encoding="utf-8")
    rows = [f"{' '.join(WORDS[place % 2 :: 2][:12])} {place},{'ab'[place % 2]}" for place in range(60)]
    (folder / "labelled.csv").write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    (folder / "small.yaml").write_text(SUITE, encoding="utf-8")
    return folder


def shorter(command: str) -> list[str]:
    """The command with what makes it quick put behind it."""
    words = shlex.split(command, comments=True)[1:]
    extra = next((extra for start, extra in SHORTER.items() if command.startswith(f"textssl {start} ")), [])
    model = "llama" if "clm" in command else "modernbert"
    extra = [word.replace("MODEL", model) for word in extra]
    if "crops" in command:
        extra = [STATIC if word.startswith("model=") else word for word in extra]
    return [*words, *extra]


@pytest.mark.slow
@pytest.mark.parametrize("command", WALK)
def test_walk_through_runs(command: str, workspace: Path):
    finished = run(shorter(command), cwd=workspace)
    assert finished.returncode == 0, f"{command}\n{finished.stdout[-3000:]}\n{finished.stderr[-3000:]}"


@pytest.mark.slow
@pytest.mark.parametrize("code", blocks(section("Three jobs"), "python"))
def test_python_of_the_walk_through_runs(code: str, workspace: Path):
    finished = run(["-c", code], cwd=workspace, libraries_only=True)
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert "import textssl" not in code


def test_the_walk_through_is_the_whole_road():
    walked = [command.split()[1] for command in WALK]
    assert [*dict.fromkeys(walked)][:3] == ["tokenizer", "prepare", "pretrain"]
    assert {"evaluate", "embed", "finetune", "predict", "generate"} <= set(walked)
    assert commands(README) == WALK, "a command outside of this section is run by nothing"
    assert all(f"pretrain configs/{job}.yaml" in README for job in ("clm", "crops", "mlm"))


def test_it_is_read_in_one_sitting():
    assert len(README.splitlines()) <= MOST_LINES


def test_the_map_names_every_folder_of_the_package_and_no_other():
    folders, inside = [], ""
    for line in blocks(section("Map"), "text")[0].splitlines():
        named = re.findall(r"\S+/(?=\s|$)", line[:24])
        folders += [f"{inside if line.startswith(' ') else ''}{name}" for name in named]
        inside = inside if line.startswith(" ") else named[-1]
    present = {f"textssl/{path.parent.name}/" for path in (ROOT / "textssl").glob("*/__init__.py")}
    assert {name for name in folders if re.fullmatch("textssl/.+", name)} == present
    assert not [name for name in folders if not (ROOT / name).is_dir()]


def test_the_tree_is_up_to_date_and_names_every_file_once():
    text = tree.PAGE.read_text(encoding="utf-8")
    assert text == tree.page(), "run python scripts/tree.py --write"
    links = re.findall(r"^- \[(\S+)\]\(\.\./(\S+)\): \S", text, re.MULTILINE)
    present = [str(path.relative_to(ROOT)) for path in (ROOT / "textssl").rglob("*.py") if path.name != "__init__.py"]
    assert sorted(path for _, path in links if path.endswith(".py") and path.startswith("textssl/")) == sorted(present)
    assert all(path.endswith(name) for name, path in links)
    assert not [path for _, path in links if not (ROOT / path).exists()]


def test_the_tree_knows_rooms_within_rooms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tree, "ROOT", tmp_path)
    deepest = tmp_path / "textssl" / "data" / "text"
    deepest.mkdir(parents=True)
    for folder in (deepest, *list(deepest.parents)[:2]):
        (folder / "__init__.py").write_text(f'"""The room {folder.name}. More."""', encoding="utf-8")
    (deepest / "formats.py").write_text('"""Records of lines. More."""', encoding="utf-8")
    lines = [line.strip() for line in tree.room(tmp_path / "textssl")]
    assert [line.split()[1] for line in lines if line.startswith("## ")] == [
        *("textssl/", "textssl/data/", "textssl/data/text/"),
    ]
    assert lines[-1] == "- [formats.py](../textssl/data/text/formats.py): Records of lines"


def test_contributors_read_the_floors_that_are_tested():
    rows = re.findall(r"^\| \d+ \| (.*) \|$", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert [set(re.findall(r"`(\w+)`", row.partition(":")[0])) for row in rows] == FLOORS
    inside = [re.findall(r"`(\w+)`", row.partition(": ")[2]) for row in rows if ": `" in row]
    assert inside == [[room for rooms in floors for room in rooms] for floors in (EVALUATION_FLOORS, DATA_FLOORS)]


def test_every_path_and_module_that_a_document_names_is_there():
    for document in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        text = document.read_text(encoding="utf-8")
        paths = re.findall(r"(?<![\w./-])(?:tests|textssl|scripts|configs|docs|notebooks)/[\w./-]*\w(?![\w*])", text)
        missing = [path for path in paths if not re.search("NAME|/x/", path) and not (ROOT / path).exists()]
        assert not missing, f"{document.name} names {missing}"
        modules = re.findall(r"`(textssl(?:\.[a-z_]+){2,})`", text)
        gone = [name for name in modules if not (ROOT / f"{name.replace('.', '/')}.py").exists()]
        assert not gone, f"{document.name} names {gone}"


def test_every_link_leads_to_a_file():
    for document in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
        missing = [link for link in links if not (document.parent / link).exists()]
        assert not missing, f"{document.name} links to {missing}"
