"""The workflows of public continuous integration name what there is."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def steps(file: Path) -> list[str]:
    jobs = yaml.safe_load(file.read_text(encoding="utf-8"))["jobs"]
    return [step["run"] for job in jobs.values() for step in job.get("steps", ()) if "run" in step]


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_every_script_exists_and_may_be_run(file):
    named = [word for run in steps(file) for word in run.split() if word.startswith("scripts/")]
    assert named
    for script in named:
        assert (ROOT / script).stat().st_mode & 0o100, script
    for run in steps(file):
        if campaign := re.search(r"verify\.sh (\w+)", run):
            assert list((ROOT / "scripts" / "verify").glob(f"{campaign[1]}.*"))


def test_the_pythons_and_the_oldest_torch_are_those_of_the_package():
    text = (ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")
    tested = yaml.safe_load(text)["jobs"]["tests"]["strategy"]["matrix"]["python"]
    named = [line.rpartition(":: ")[2] for line in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", line)]
    assert tested == named
    oldest = next(re.search(r">=([\d.]+)", line) for line in PROJECT["dependencies"] if line.startswith("torch>"))
    assert oldest and f"--lowest --torch {oldest[1]}." in text


def test_nothing_is_published_that_has_not_passed_every_job_of_a_change():
    release, tests = (
        yaml.safe_load((WORKFLOWS[0].parent / f"{name}.yml").read_text()) for name in ("release", "tests")
    )
    jobs = release["jobs"]
    assert jobs["tests"]["uses"] == "./.github/workflows/tests.yml" and "workflow_call" in tests[True]  # on:
    assert "tests" in jobs["publish"]["needs"] and "build" in jobs["publish"]["needs"]
