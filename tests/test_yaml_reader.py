"""Whatever stands in a YAML file, one message comes back, soon."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from textssl.config import load_config
from textssl.errors import UserError
from textssl.evaluation.suite import load_suite
from textssl.yaml_reader import MAX_VALUES, parse_yaml, read_yaml

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
)
MERGED = "a0: &a0 {x: 1, y: 2}\n" + "".join(
    f"a{n}: &a{n}\n  <<: [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
)
BROKEN = {
    "latin-1": (b"name: caf\xe9", "is not UTF-8 text (byte 9)"),
    "utf-16": ("name: x".encode("utf-16"), "is not UTF-8 text"),
    "list as key": (b"[1, 2]: x", "a key must be a name or a number, not a list or a map"),
    "map as key": (b"seed: 1\n{a: 1}: x", "a key must be a name or a number"),
    "bad date": (b"name: 2026-02-31", "'2026-02-31' is no timestamp"),
    "bad time": (b"name: 2026-01-01 99:99:99", "is no timestamp"),
    "bad tagged": (b"seed: !!int x", "'x' is no int"),
    "bad truth": (b"seed: !!bool x", "'x' is no bool"),
    "unknown tag": (b"seed: !mine 1", "could not determine a constructor for the tag '!mine'"),
    "python": (b"seed: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
    "brackets": (b"seed: " + b"[" * 10_000, "more than 50 levels"),
    "braces": (b"{a: " * 10_000, "more than 50 levels"),
    "indents": (b"".join(b" " * n + b"a:\n" for n in range(500)), "more than 50 levels"),
    "bomb": (BOMB.encode(), "more than 50,000 values"),
    "merged": (MERGED.encode(), "more than 50,000 values"),
    "itself": (b"a: &a [*a]", "*a holds itself"),
    "digits": (b"seed: " + b"9" * 10_000, "an integer of more than 100 digits"),
    "hexadecimal": (b"seed: 0x" + b"f" * 10_000, "an integer of more than 100 digits"),
    "many": (b"- 1\n" * (MAX_VALUES + 1), "more than 50,000 values"),
    "twice": (b"b: &b {x: 1}\na: {x: 1, x: 2, <<: *b}", "the key 'x' is written twice"),
    "merged list as key": (b"b: &b {[1]: 1}\na: {<<: *b}", "a key must be a name or a number"),
    "nul": (b"a: \0", "special characters are not allowed"),
}


@pytest.mark.slow
@pytest.mark.parametrize("read", [load_config, load_suite])
@pytest.mark.parametrize("name", BROKEN)
def test_every_broken_file_gets_one_message_soon(read, name, tmp_path: Path):
    text, message = BROKEN[name]
    path = tmp_path / "file.yaml"
    path.write_bytes(text)
    started = time.process_time()
    with pytest.raises(UserError) as caught:
        read(path)
    assert message in str(caught.value) and str(path) in str(caught.value)
    assert len(str(caught.value)) < 600 and "\n" not in str(caught.value)
    assert time.process_time() - started < 15


@pytest.mark.slow
@pytest.mark.parametrize("read", [load_config, load_suite])
def test_thousands_of_unknown_keys_are_told_in_a_few_words(read, tmp_path):
    path = tmp_path / "file.yaml"
    path.write_text("".join(f"key{number}: 1\n" for number in range(5_000)) + f"{'x' * 1000}: 1\n")
    started = time.process_time()
    with pytest.raises(UserError, match=r"unknown key .*key0.*; and 4,99\d more$") as caught:
        read(path)
    assert len(str(caught.value)) < 4000
    assert time.process_time() - started < 15


def test_honest_aliases_merges_and_a_byte_order_mark_are_read(tmp_path):
    text = "base: &base {a: 1e-3, b: [1, 2]}\nother: {<<: *base, a: 2}\nagain: *base\n1: 2026-01-01"
    path = tmp_path / "file.yaml"
    path.write_text(text, encoding="utf-8-sig")
    found = read_yaml(path)
    assert found["other"] == {"a": 2, "b": [1, 2]} and found["again"] == found["base"] == {"a": 1e-3, "b": [1, 2]}
    assert parse_yaml(text, "text") == found


def test_overrides_have_the_same_bounds(tmp_path):
    path = tmp_path / "file.yaml"
    path.write_text("seed: 1")
    with pytest.raises(UserError, match="the value of seed is not valid YAML: more than 50 levels"):
        load_config(path, [f"seed={'[' * 10_000}"])
    with pytest.raises(UserError, match="no key has so many parts"):
        load_config(path, [f"seed{'.a' * 10_000}=1"])


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UserError, match="cannot read"):
        read_yaml(tmp_path)
