"""The command line: quick to start, says what is wrong in one line, and every command is a function as well."""

from __future__ import annotations

import errno
import inspect
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest
import typer.main

import textssl
from textssl.cli import app as cli
from textssl.cli.arguments import spread
from textssl.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = {  # words on the command line: public function
    "samples list": "list_samples",
    "samples get": "get_sample",
    "tokenizer train": "train_tokenizer",
    "prepare": "prepare",
    "pretrain": "pretrain",
    "compare": "compare",
    "evaluate": "evaluate",
    "generate": "generate",
    "fill-mask": "fill_mask",
    "configs list": "list_configs",
    "configs show": "show_config",
    "configs copy": "copy_config",
    "schema": "schema",
    "doctor": "doctor",
    "quickstart": "quickstart",
    "embed": "embed",
    "mine": "mine",
    "finetune": "finetune",
    "predict": "predict",
    "explore": "explore",
}


def run(*arguments: str, code: str | None = None) -> subprocess.CompletedProcess[str]:
    start = ["-c", code] if code else ["-m", "textssl"]
    return subprocess.run([sys.executable, *start, *arguments], capture_output=True, text=True, cwd=ROOT, timeout=120)


def leave(arguments: list[str]) -> int:
    """Exit code of a command run in this process."""
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    return int(caught.value.code or 0)


def command(words: str):
    found = typer.main.get_command(cli.app)
    for word in words.split():
        found = found.commands[word]  # type: ignore[attr-defined]
    return found


@pytest.fixture
def workflow(monkeypatch):
    """Put a stand-in for one workflow module where the command line will look for it."""

    def place(module: str, **functions):
        stand_in = types.ModuleType(f"textssl.commands.{module}")
        vars(stand_in).update(functions)
        monkeypatch.setitem(sys.modules, stand_in.__name__, stand_in)

    return place


def test_help_imports_nothing_that_takes_long():
    code = (
        "import sys; sys.argv = ['textssl', '--help']\n"
        "from textssl.cli import app as cli\n"
        "heavy = ('torch', 'transformers', 'numpy', 'pyarrow', 'sklearn')\n"
        "try: cli.main()\n"
        "finally: print([m for m in heavy if m in sys.modules], file=sys.stderr)"
    )
    finished = run(code=code)
    assert finished.returncode == 0
    assert finished.stderr.strip() == "[]"
    assert "quickstart" in finished.stdout


def test_importing_textssl_and_reading_a_configuration_imports_no_torch():
    finished = run(code="import sys, textssl, textssl.config; print('torch' in sys.modules)")
    assert finished.stdout.strip() == "False"


def test_version():
    assert run("--version").stdout.strip() == f"textssl {textssl.__version__}"


def test_every_command_is_listed_here():
    top = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
    words = {f"{a} {b}" if hasattr(c, "commands") else a for a, c in top.items() for b in getattr(c, "commands", [a])}
    assert words == set(COMMANDS)
    assert set(COMMANDS.values()) == set(textssl.COMMANDS)
    assert {*textssl.COMMANDS, "UserError", "__version__"} == set(textssl.__all__)


@pytest.mark.slow
@pytest.mark.parametrize("words", COMMANDS)
def test_help_of_every_command_has_an_example(words: str):
    text = inspect.cleandoc(command(words).help or "")
    assert f"`textssl {words}" in text
    assert all(word in textssl.cli.app.ORDER for word in words.split()[:1])


@pytest.mark.slow
@pytest.mark.parametrize(("words", "name"), COMMANDS.items())
def test_function_has_the_arguments_of_the_command(words: str, name: str):
    function = getattr(textssl, name)
    parameters = inspect.signature(function).parameters
    for option in command(words).params:
        assert getattr(option, "help", None), f"{option.name} of {words} has no help"
        assert option.name in parameters, f"textssl.{name} does not take {option.name}"
        given = parameters[option.name].default
        assert option.required == (given is inspect.Parameter.empty), f"{option.name}: required in one place only"
        if not option.required and option.default not in (None, False):
            default = getattr(option.default, "value", option.default)
            assert str(default) == str(given), f"{option.name} of {words}: the defaults differ"


def test_every_function_of_the_package_exists():
    assert dir(textssl) == sorted(textssl.__all__)
    assert all(hasattr(textssl, name) for name in textssl.__all__)
    with pytest.raises(AttributeError, match="no_such"):
        _ = textssl.no_such  # type: ignore[attr-defined]


def test_user_error_is_one_line_and_code_2(workflow, capsys):
    def schema(out=None):
        raise UserError("the key train.max_step is unknown; did you mean train.max_steps?")

    workflow("schema", schema=schema)
    assert leave(["schema"]) == 2
    captured = capsys.readouterr()
    assert captured.err == "error: the key train.max_step is unknown; did you mean train.max_steps?\n"
    assert captured.out == ""


def test_a_bug_keeps_its_traceback(workflow):
    def schema(out=None):
        raise ValueError("a bug")

    workflow("schema", schema=schema)
    with pytest.raises(ValueError, match="a bug"):
        cli.main(["schema"])


def test_control_c_is_130(workflow):
    def doctor(json=False):
        raise KeyboardInterrupt

    workflow("doctor", doctor=doctor)
    assert leave(["doctor"]) == 130


@pytest.mark.parametrize(("stopped_by", "code"), [("SIGTERM", 75), ("SIGINT", 75), (None, 0)])
def test_pretrain_passes_overrides_and_says_how_it_ended(workflow, stopped_by, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").touch()
    seen = {}

    def pretrain(config, overrides=()):
        seen.update(config=config, overrides=overrides)
        return types.SimpleNamespace(stopped_by=stopped_by)

    workflow("pretrain", pretrain=pretrain)
    assert leave(["pretrain", "a.yaml", "train.max_steps=2", "model={config: {model_type: bert}}", "seed=-1"]) == code
    assert seen["config"] == Path("a.yaml")
    assert seen["overrides"] == ["train.max_steps=2", "model={config: {model_type: bert}}", "seed=-1"]


def test_commands_of_configurations_reach_their_functions(workflow):
    seen = []
    functions = {
        "list_configs": lambda: seen.append("list"),
        "show_config": lambda name: seen.append(("show", name)),
        "copy_config": lambda name, out: seen.append(("copy", name, out)),
    }
    workflow("configs", **functions)
    for words in ("list", "show crops", "copy crops", "copy mlm --out a.yaml"):
        assert leave(["configs", *words.split()]) == 0
    assert seen == ["list", ("show", "crops"), ("copy", "crops", None), ("copy", "mlm", Path("a.yaml"))]


def test_input_takes_several_paths_both_ways(workflow):
    seen = []

    def prepare(input, tokenizer, out, **rest):
        seen.append((input, tokenizer, out))

    workflow("prepare", prepare=prepare)
    expected = (["a.txt", "b", "sample:news"], "tok", Path("corpus"))
    leave(["prepare", "--input", "a.txt", "b", "sample:news", "--tokenizer", "tok", "--out", "corpus"])
    leave(
        ["prepare", "--input", "a.txt", "--tokenizer", "tok", "--input", "b", "--input", "sample:news", "--out=corpus"]
    )
    leave(["prepare", "--tokenizer", "tok", "--out", "corpus", "--input=a.txt", "b", "sample:news"])
    assert seen == [expected] * 3


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["--input", "a"], ["--input", "a"]),
        (["--input", "a", "b"], ["--input", "a", "--input", "b"]),
        (["--input=a", "b"], ["--input=a", "--input", "b"]),
        (["--out", "a", "b"], ["--out", "a", "b"]),
        (["--input", "--out", "x"], ["--input", "--out", "x"]),
        (["--input", "a", "-", "b"], ["--input", "a", "--input", "-", "--input", "b"]),
        (["c", "--", "--input", "a", "b"], ["c", "--", "--input", "a", "b"]),
        ([], []),
    ],
)
def test_spread(given: list[str], expected: list[str]):
    assert spread(given) == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [["no-such-command"], ["prepare"], ["tokenizer", "train", "--algorithm", "x"], ["pretrain"], ["evaluate"]],
)
def test_wrong_usage_is_code_2_without_traceback(arguments: list[str]):
    finished = run(*arguments)
    assert finished.returncode == 2
    assert "Traceback" not in finished.stderr


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["pretrain", "finetune"])
def test_missing_configuration_is_code_2_before_the_libraries_load(verb):
    code = (
        "import sys; from textssl.cli import app as cli\n"
        f"try: cli.main(['{verb}', 'no-such.yaml'])\n"
        "finally: print([m for m in ('torch', 'transformers', 'numpy') if m in sys.modules])"
    )
    finished = run(code=code)
    assert (finished.returncode, finished.stdout) == (2, "[]\n")
    assert finished.stderr.startswith("error: the configuration no-such.yaml does not exist")
    assert finished.stderr.count("\n") == 1


def refuse_in_doctor(monkeypatch, error: Exception) -> None:
    def doctor(**_: object) -> None:
        raise error

    monkeypatch.setattr(textssl, "doctor", doctor, raising=False)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.ENOENT, errno.ENAMETOOLONG])
def test_what_the_operating_system_refuses_is_one_line(code: int, monkeypatch, capsys):
    refuse_in_doctor(monkeypatch, OSError(code, os.strerror(code), "/disk/caf\udce9"))
    assert leave(["doctor"]) == 2
    assert capsys.readouterr().err == f"error: /disk/caf\\udce9: {os.strerror(code)}\n"


def test_a_full_disk_is_one_line_and_a_bug_stays_a_traceback(monkeypatch, capsys):
    refuse_in_doctor(monkeypatch, OSError(errno.ENOSPC, "No space left on device"))
    assert leave(["doctor"]) == 2 and capsys.readouterr().err == "error: No space left on device\n"
    for bug in (OSError("no number, no file"), KeyError("a bug"), TypeError("a bug")):
        refuse_in_doctor(monkeypatch, bug)
        with pytest.raises(type(bug)):
            cli.main(["doctor"])


def test_names_of_files_that_are_not_utf_8_are_printed_escaped():
    code = (
        "from textssl.cli import app as cli; import textssl\n"
        "textssl.doctor = lambda **_: print('caf\\udce9')\n"
        "cli.main(['doctor'])"
    )
    shown = run(code=code)
    assert (shown.returncode, shown.stdout) == (0, "caf\\udce9\n")


def test_a_tilde_after_an_equals_sign_is_the_home_folder(workflow, monkeypatch):
    seen = []
    monkeypatch.setenv("HOME", "/home/me")
    workflow("schema", schema=lambda out: seen.append(out))
    assert leave(["schema", "--out=~/s.json"]) == 0 and seen == [Path("/home/me/s.json")]


def test_the_home_folder_of_nobody_is_one_line(workflow, capsys):
    workflow("schema", schema=lambda out: None)
    assert leave(["schema", "--out=~nosuchuser/s.json"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.startswith("error: ~nosuchuser/s.json: there is no user of that name")
