"""The README is true: its walk-through runs, and its tree names the files that are there."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHORTER = {  # so that two cores walk it in a minute or two; everything else runs as written
    "tokenizer train": ["--vocab-size", "400"],
    "pretrain": [
        *("model={config: {model_type: MODEL, num_hidden_layers: 1, hidden_size: 64, num_attention_heads: 2}}",),
        *("train.max_seconds=null", "train.max_steps=3", "train.batch_size=4", "evaluation.max_rows=8"),
    ],
    "finetune": ["train.max_steps=3", "data.sequence_length=32"],
    "generate": ["--max-new-tokens", "3"],
}
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


WALK = commands(section("Your own text"))


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
    return folder


def run(words: list[str], folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    finished = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert finished.returncode == 0, f"{shlex.join(words)}\n{finished.stdout[-3000:]}\n{finished.stderr[-3000:]}"


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
    run([sys.executable, "-m", "textssl", *shorter(command)], workspace)


@pytest.mark.slow
@pytest.mark.parametrize("code", blocks(section("Your own text"), "python"))
def test_python_of_the_walk_through_runs(code: str, workspace: Path):
    run([sys.executable, "-c", code], workspace)
    assert "import textssl" not in code


def test_the_walk_through_is_the_whole_road():
    walked = [command.split()[1] for command in WALK]
    assert [*dict.fromkeys(walked)][:3] == ["tokenizer", "prepare", "pretrain"]
    assert {"evaluate", "embed", "finetune", "predict", "generate", "fill-mask"} <= set(walked)


def test_the_tree_names_every_file_once():
    tree = blocks(section("The tree"), "text")[0]
    named, folders = [], []
    for line in tree.splitlines():
        indent, name = re.match(r"( *)(\S+)", line).groups()  # type: ignore[union-attr]
        folders = folders[: len(indent) // 2]
        named.append("".join(folders) + name)
        folders.append(name)
    files = [name for name in named if name.startswith("textssl/") and name.endswith(".py")]
    present = sorted(
        str(path.relative_to(ROOT)) for path in (ROOT / "textssl").rglob("*.py") if path.name != "__init__.py"
    )
    assert sorted(file for file in files if not file.endswith("__init__.py")) == present
    missing = [name for name in named if not (ROOT / name).exists()]
    assert not missing
    assert len(set(named)) == len(named)


def test_every_link_leads_to_a_file():
    for document in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))
        missing = [link for link in links if not (document.parent / link).exists()]
        assert not missing, f"{document.name} links to {missing}"
