from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding

import textssl
from tests.evaluation.folders import save_model
from tests.forked import Forked, quick_interpreter
from tests.tiny import texts, tiny_tokenizer
from textssl.commands import embed as workflow
from textssl.errors import UserError
from textssl.inference.compute import Compute, worst_cosine
from textssl.inference.embedding_processes import versions
from textssl.inference.features import TransformerEncoder
from textssl.system import subprocesses

DOCUMENTS = [text[:300] for text in texts()[:60]]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return save_model(tmp_path_factory.mktemp("model"), "bert")


@pytest.fixture
def text(tmp_path) -> Path:
    """Good records with an empty and a broken one among them."""
    lines = [json.dumps({"text": document}) for document in DOCUMENTS]
    lines[5:5] = ['{"text": ""}', "{broken"]
    (tmp_path / "text.jsonl").write_text("\n".join(lines))
    return tmp_path / "text.jsonl"


@pytest.fixture(autouse=True)
def small_windows(monkeypatch) -> None:
    monkeypatch.setattr(workflow, "WINDOW_TEXTS", 16)


def test_npy_holds_the_vectors_in_order_and_their_places(model, text, tmp_path, capsys):
    out = tmp_path / "deep" / "vectors.npy"
    result = textssl.embed(model, text, out, compute="float32")
    peer = SentenceTransformer(str(model), device="cpu")
    vectors = np.load(out)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, peer.encode(DOCUMENTS, show_progress_bar=False), atol=1e-5)
    ids = [json.loads(line) for line in (tmp_path / "deep" / "vectors.ids.jsonl").read_text().splitlines()]
    assert [row["row"] for row in ids] == list(range(60))
    assert ids[4]["source"] == f"{text}:5" and ids[5]["source"] == f"{text}:8"
    assert (result.texts, result.width, result.dropped, result.stopped_by) == (60, 32, 2, None)
    said = capsys.readouterr().out
    assert "invalid JSON" in said and "empty text" in said and "longer than 64 tokens and were cut" in said
    assert sorted(path.name for path in out.parent.iterdir()) == ["vectors.ids.jsonl", "vectors.npy"]


def test_parquet_has_ids_vectors_and_sources(model, text, tmp_path):
    textssl.embed(model, text, tmp_path / "v.npy")
    textssl.embed(model, text, tmp_path / "v.parquet", precision="float16")
    table = pyarrow.parquet.read_table(tmp_path / "v.parquet")
    assert table.column_names == ["id", "embedding", "source"]
    assert table["id"].to_pylist() == list(range(60))
    rows = np.array(table["embedding"].to_pylist(), dtype=np.float32)
    np.testing.assert_allclose(rows, np.load(tmp_path / "v.npy"), rtol=1e-3, atol=1e-4)
    assert table["source"][5].as_py() == f"{text}:8"


def test_int8_comes_back_within_half_a_step(model, text, tmp_path):
    exact = textssl.embed(model, text, tmp_path / "exact.npy", normalize=True)
    textssl.embed(model, text, tmp_path / "small.npy", normalize=True, precision="int8")
    textssl.embed(model, text, tmp_path / "small.parquet", normalize=True, precision="int8")
    scale, small = np.load(tmp_path / "small.scale.npy"), np.load(tmp_path / "small.npy")
    vectors = np.load(exact.out)
    assert small.dtype == np.int8 and scale.shape == (32,)
    assert np.abs(small * scale - vectors).max() <= scale.max() / 2 * 1.001
    np.testing.assert_allclose(np.abs(vectors).max(axis=0), 127 * scale, rtol=1e-5)
    table = pyarrow.parquet.read_table(tmp_path / "small.parquet")
    np.testing.assert_array_equal(np.array(table["embedding"].to_pylist()), small)
    np.testing.assert_array_equal(np.float32(json.loads(table.schema.metadata[b"textssl"])["scale"]), scale)


def test_truncated_dimensions_are_unit_length_again(model, text, tmp_path):
    textssl.embed(model, text, tmp_path / "whole.npy")
    textssl.embed(model, text, tmp_path / "cut.npy", truncate_dim=8)
    whole, cut = np.load(tmp_path / "whole.npy")[:, :8], np.load(tmp_path / "cut.npy")
    np.testing.assert_allclose(cut, whole / np.linalg.norm(whole, axis=1, keepdims=True), atol=1e-6)
    textssl.embed(model, text, tmp_path / "raw.npy", truncate_dim=8, normalize=False)
    np.testing.assert_array_equal(np.load(tmp_path / "raw.npy"), whole)


@pytest.mark.slow
def test_bytes_do_not_depend_on_the_workers(model, text, tmp_path, monkeypatch):
    monkeypatch.setattr(subprocesses, "interpreter", quick_interpreter)
    for workers in (1, 2):
        textssl.embed(model, text, tmp_path / f"{workers}.npy", workers=workers)
    for suffix in (".npy", ".ids.jsonl"):
        assert (tmp_path / f"1{suffix}").read_bytes() == (tmp_path / f"2{suffix}").read_bytes()


def test_each_gpu_has_a_process_unless_their_number_is_given(model, text, tmp_path, monkeypatch):
    asked = []

    def no_processes(options, number):
        asked.append(number)
        raise UserError("enough")

    monkeypatch.setattr(workflow, "embedding_processes", no_processes)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    for workers in (None, 2):
        with pytest.raises(UserError, match="enough"):
            textssl.embed(model, text, tmp_path / "v.npy", workers=workers)
    assert asked == [4, 2]
    assert textssl.embed(model, text, tmp_path / "v.npy", workers=1).texts


class Interrupted(Exception):
    pass


def interrupt(monkeypatch, windows: int) -> Callable[[], None]:
    """Let the process fail before it saves one more than so many windows; returns what undoes it."""
    real, left = workflow.VectorWriter.add, [windows]

    def add(self, *arguments, **options):
        if not left[0]:
            raise Interrupted
        left[0] -= 1
        real(self, *arguments, **options)

    monkeypatch.setattr(workflow.VectorWriter, "add", add)
    return lambda: monkeypatch.setattr(workflow.VectorWriter, "add", real)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["v.npy", "v.parquet"])
@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_an_interrupted_job_goes_on_to_the_same_bytes(name, precision, model, text, tmp_path, monkeypatch, capsys):
    textssl.embed(model, text, tmp_path / "unbroken" / name, precision=precision)
    undo = interrupt(monkeypatch, 2)
    with pytest.raises(Interrupted):
        textssl.embed(model, text, tmp_path / name, precision=precision)
    assert not (tmp_path / name).exists()
    undo()
    with (tmp_path / f".{name}.partial" / "vectors.npy").open("ab") as file:
        file.write(b"half a row that was being written")
    capsys.readouterr()
    result = textssl.embed(model, text, tmp_path / name, precision=precision)
    assert result.resumed == 32 and "Going on after 32 texts" in capsys.readouterr().out
    assert (result.texts, result.dropped) == (60, 2)
    assert (tmp_path / name).read_bytes() == (tmp_path / "unbroken" / name).read_bytes()
    assert not (tmp_path / f".{name}.partial").exists()


@pytest.mark.parametrize("change", ["precision", "input", "model", "versions"])
def test_other_settings_start_anew(change, model, text, tmp_path, monkeypatch, capsys):
    undo = interrupt(monkeypatch, 1)
    with pytest.raises(Interrupted):
        textssl.embed(model, text, tmp_path / "v.npy")
    undo()
    if change == "input":
        os.utime(text, (1, 1))
    if change == "versions":  # as of a runtime that was upgraded meanwhile
        monkeypatch.setattr(workflow, "versions", lambda: {**versions(), "openvino": "0.0.1"})
    other = save_model(tmp_path / "other", "llama") if change == "model" else model
    result = textssl.embed(other, text, tmp_path / "v.npy", precision="float16" if change == "precision" else "float32")
    assert (result.resumed, result.texts) == (0, 60)
    said = capsys.readouterr().out
    assert "starting anew" in said and change in said


def start(*arguments: str) -> Forked:
    """The command with windows of one text, so that a signal comes between two."""
    code = "from textssl.commands import embed; embed.WINDOW_TEXTS = 1; from textssl.cli.app import main; main()"
    return Forked(["-c", code, "embed", *arguments])


@pytest.mark.slow
@pytest.mark.parametrize("kill", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_command_goes_on(kill, model, tmp_path, monkeypatch):
    monkeypatch.setattr(workflow, "WINDOW_TEXTS", 1)
    text = tmp_path / "many.jsonl"
    text.write_text("".join(json.dumps({"text": document}) + "\n" for document in DOCUMENTS * 3))
    command = ["--model", str(model), "--input", str(text), "--out", str(tmp_path / "v.npy")]
    process = start(*command)
    progress = tmp_path / ".v.npy.partial" / "progress.json"
    while process.poll() is None and not progress.exists():
        time.sleep(0.01)
    process.send_signal(kill)
    said = process.communicate()[0]
    assert process.returncode == (75 if kill == signal.SIGTERM else -kill)
    assert ("start again to continue" in said) == (kill == signal.SIGTERM)
    assert not (tmp_path / "v.npy").exists()
    assert textssl.embed(model, text, tmp_path / "v.npy").resumed > 0
    textssl.embed(model, text, tmp_path / "unbroken.npy")
    assert (tmp_path / "v.npy").read_bytes() == (tmp_path / "unbroken.npy").read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"out": "v.txt"}, "must end in .npy or .parquet"),
        ({"out": "folder.npy"}, "is the folder"),
        ({"precision": "int4"}, "--precision is 'int4'"),
        ({"compute": "int8"}, "--compute is 'int8', it must be one of auto, float32, bfloat16"),
        ({"truncate_dim": 33}, "--truncate-dim is 33, but the vectors of .* have 32"),
        ({"workers": 0}, "--workers is 0"),
        ({"model": "nowhere"}, "no model folder"),
        ({"input": "nowhere.txt"}, "no file or folder"),
        ({"prompt": "query"}, "--prompt is for"),
        ({"text_column": "body"}, "no text to embed .*missing column"),
        ({"strict": True}, "empty text.*without --strict"),
    ],
)
def test_mistakes_leave_nothing_behind(options, message, model, text, tmp_path):
    (tmp_path / "work" / "folder.npy").mkdir(parents=True)
    arguments = {"model": model, "input": text, **options, "out": tmp_path / "work" / options.get("out", "v.npy")}
    with pytest.raises(UserError, match=message):
        textssl.embed(**arguments)
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["folder.npy"]


def test_a_second_writer_is_refused(model, text, tmp_path):
    settings = {"model": "x"}
    with workflow.VectorWriter(tmp_path / "v.npy", width=32, precision="float32", settings=settings) as writer:
        writer.add(np.ones((1, 32), np.float32), ["a:1"], truncated=0, tokens=1)
        with pytest.raises(UserError, match=r"v.npy is in use by process \d+ on "):
            textssl.embed(model, text, tmp_path / "v.npy")


def test_command_line(model, text, tmp_path):
    from typer.testing import CliRunner

    from textssl.cli.app import app

    done = CliRunner().invoke(
        app, ["embed", "--model", str(model), "--input", str(text), "--out", str(tmp_path / "v.npy"), "--no-normalize"]
    )
    assert done.exit_code == 0, done.output
    assert "Embedded 60 texts" in done.output and np.load(tmp_path / "v.npy").shape == (60, 32)


def test_an_input_is_never_replaced_not_even_by_a_companion(model, text, tmp_path):
    table = tmp_path / "t.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": DOCUMENTS[:3]}), table)
    places = tmp_path / "v.ids.jsonl"
    places.write_bytes(text.read_bytes())
    (tmp_path / "link.parquet").symlink_to("t.parquet")
    before = {path: path.read_bytes() for path in (table, places)}
    for source, out in ((table, table), (table, tmp_path / "link.parquet"), (places, tmp_path / "v.npy")):
        with pytest.raises(UserError, match="is an input itself"):
            textssl.embed(model, source, out)
    assert before == {path: path.read_bytes() for path in before} and (tmp_path / "link.parquet").is_symlink()
    with pytest.raises(UserError, match="File name too long"):
        textssl.embed(model, text, tmp_path / f"{'n' * 250}.npy")
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("name", ["v.npy", "v.parquet"])
def test_names_that_are_not_utf_8_are_written_escaped(name: str, model, text, tmp_path):
    source = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jsonl")
    os.rename(text, source)
    assert textssl.embed(model, source, tmp_path / name).texts == 60
    wanted = f"{tmp_path}/caf\\udce9.jsonl:1"
    if name == "v.npy":
        assert json.loads((tmp_path / "v.ids.jsonl").read_text().splitlines()[0])["source"] == wanted
    else:
        assert pyarrow.parquet.read_table(tmp_path / name)["source"][0].as_py() == wanted


def test_a_full_disk_is_one_sentence_and_the_job_goes_on_later(model, text, tmp_path, monkeypatch):
    real = os.fsync

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("textssl.inference.vector_file.os.fsync", full)
    with pytest.raises(UserError, match=r"v.npy cannot be written: No space left on device"):
        textssl.embed(model, text, tmp_path / "v.npy")
    assert [path.name for path in tmp_path.iterdir()] == [text.name]
    monkeypatch.setattr("textssl.inference.vector_file.os.fsync", real)
    assert textssl.embed(model, text, tmp_path / "v.npy").texts == 60


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_cut_that_leaves_no_text_is_refused(model, text, tmp_path, workers, monkeypatch):
    monkeypatch.setattr(subprocesses, "interpreter", quick_interpreter)
    with pytest.raises(UserError, match=r"max_tokens is 2, but 2 special tokens .* give 3 or more"):
        textssl.embed(model, text, tmp_path / "v.npy", max_tokens=2, workers=workers)
    assert not (tmp_path / "v.npy.partial").exists()


def test_the_shortest_cut_leaves_one_token(model, text, tmp_path):
    three = textssl.embed(model, text, tmp_path / "v.npy", max_tokens=3)
    assert three.tokens == 3 * three.texts


def test_a_static_encoder_cuts_nothing_and_says_so(text, tmp_path):
    static = SentenceTransformer(
        modules=[StaticEmbedding(tiny_tokenizer().backend_tokenizer, embedding_dim=8)], device="cpu"
    )
    static.save(str(tmp_path / "static"), create_model_card=False)
    with pytest.raises(UserError, match=r"--max-tokens is 5, but .*static cuts no text"):
        textssl.embed(tmp_path / "static", text, tmp_path / "v.npy", max_tokens=5)
    assert textssl.embed(tmp_path / "static", text, tmp_path / "v.npy").texts == 60


def test_a_length_that_the_folder_does_not_say_is_printed(model, text, tmp_path, capsys):
    bare = shutil.copytree(model, tmp_path / "bare")
    settings = json.loads((bare / "tokenizer_config.json").read_text())
    settings["model_max_length"] = 40
    (bare / "tokenizer_config.json").write_text(json.dumps(settings))
    textssl.embed(bare, text, tmp_path / "v.npy")
    assert "does not say" not in capsys.readouterr().out
    (bare / "tokenizer_config.json").unlink()
    textssl.embed(bare, text, tmp_path / "v.npy")
    assert "does not say at how many tokens" in capsys.readouterr().out
    textssl.embed(bare, text, tmp_path / "v.npy", max_tokens=16)
    assert "does not say" not in capsys.readouterr().out


@pytest.mark.slow
def test_the_format_of_the_model_is_chosen_said_and_written(model, text, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("textssl.inference.compute.native_bfloat16", lambda cuda: False)
    exact = textssl.embed(model, text, tmp_path / "exact.parquet")
    assert exact.compute == "float32" and "computing in float32 (no native" in capsys.readouterr().err
    monkeypatch.setattr(workflow, "fast_format", lambda: Compute("bfloat16", "native"))
    chosen = textssl.embed(model, text, tmp_path / "auto.parquet")
    said = capsys.readouterr().err
    assert chosen.compute == "bfloat16" and "computing in bfloat16 (native; worst cosine to float32 0.99" in said
    given = textssl.embed(model, text, tmp_path / "given.parquet", compute="bfloat16")
    asked = textssl.embed(model, text, tmp_path / "asked.parquet", compute="float32")
    tables = [pyarrow.parquet.read_table(result.out) for result in (exact, chosen, given, asked)]
    formats = [json.loads(table.schema.metadata[b"textssl"])["compute"] for table in tables]
    assert formats == ["float32", "bfloat16", "bfloat16", "float32"]
    vectors = [np.array(table["embedding"].to_pylist(), np.float32) for table in tables]
    assert np.array_equal(vectors[0], vectors[3]) and np.array_equal(vectors[1], vectors[2])
    assert not np.array_equal(vectors[0], vectors[1]) and worst_cosine(vectors[0], vectors[1]) > 0.999


@pytest.mark.parametrize("native", [True, False])
def test_emulated_bfloat16_is_warned_of(native, model, text, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(workflow, "native_bfloat16", lambda cuda: native)
    textssl.embed(model, text, tmp_path / "v.npy", compute="bfloat16")
    assert ("bfloat16 is emulated on this device, 50 to 100 times slower" in capsys.readouterr().err) != native
    textssl.embed(model, text, tmp_path / "v.npy", compute="float32")
    assert "emulated" not in capsys.readouterr().err


def test_a_model_that_cannot_compute_in_bfloat16_is_refused_or_left_in_float32(
    model, text, tmp_path, monkeypatch, capsys
):
    forward = TransformerEncoder.forward

    def unable(self, items):
        if self.model.dtype == torch.bfloat16:
            raise NotImplementedError("\"lu_factor\" not implemented for 'BFloat16'")
        return forward(self, items)

    monkeypatch.setattr(TransformerEncoder, "forward", unable)
    monkeypatch.setattr(workflow, "fast_format", lambda: Compute("bfloat16", "native"))
    assert textssl.embed(model, text, tmp_path / "v.npy").compute == "float32"
    assert '(this model does not run in bfloat16: "lu_factor" not implemented' in capsys.readouterr().err
    with pytest.raises(UserError, match=r"does not run in bfloat16 .*lu_factor.*: leave --compute bfloat16 out"):
        textssl.embed(model, text, tmp_path / "given.npy", compute="bfloat16")
    assert not (tmp_path / "given.npy").exists()


@pytest.mark.slow
@pytest.mark.parametrize("first", ["float32", "bfloat16"])
def test_an_interrupted_job_keeps_its_format_on_another_processor(first, model, text, tmp_path, monkeypatch, capsys):
    for name in ("float32", "bfloat16"):
        textssl.embed(model, text, tmp_path / f"{name}.npy", compute=name)
    monkeypatch.setattr(workflow, "fast_format", lambda: Compute(first, "here"))
    stop = interrupt(monkeypatch, windows=2)
    with pytest.raises(Interrupted):
        textssl.embed(model, text, tmp_path / "v.npy")
    stop()
    capsys.readouterr()
    other = {"float32": "bfloat16", "bfloat16": "float32"}[first]
    monkeypatch.setattr(workflow, "fast_format", lambda: Compute(other, "there"))
    result = textssl.embed(model, text, tmp_path / "v.npy")
    assert result.resumed > 0 and result.compute == first
    assert f"computing in {first} (as in the start before)" in capsys.readouterr().err
    assert (tmp_path / "v.npy").read_bytes() == (tmp_path / f"{first}.npy").read_bytes()
