"""Folders whose transformer was exported to ONNX or OpenVINO give the vectors of the folder they were exported from."""

import json
import re
import shutil
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from scripts.benchmark.eight_bits import compress_weights, in_eight_bits
from tests.evaluation.folders import save_model
from tests.tiny import texts, tiny_tokenizer
from textssl.errors import UserError
from textssl.inference.compute import Compute, proved_format
from textssl.inference.encoders import load_encoder, random_encoder
from textssl.inference.loading import weights_hash

onnx = pytest.importorskip("onnx", reason="needed to write a graph")
openvino = pytest.importorskip("openvino", reason="the extra export is not installed")
pytest.importorskip("onnxruntime", reason="the extra export is not installed")

TEXTS = ["The harbour.", "One word and another.", *texts()[:5]]
WIDTH = 8  # of the graph of onnx


class HiddenStates(nn.Module):
    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.model = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state


def export(source: Path, folder: Path) -> None:
    """Put an OpenVINO graph into a folder, in the place of its weights."""
    ids = torch.randint(5, 50, (2, 7))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer's
        graph = openvino.convert_model(
            HiddenStates(source), example_input={"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        )
    (folder / "model.safetensors").unlink()
    openvino.save_model(graph, folder / "openvino" / "openvino_model.xml", compress_to_fp16=False)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder of sentence-transformers with everything a folder may have, a plain one, and both exported."""
    path = tmp_path_factory.mktemp("exported")
    plain = save_model(path / "plain", "bert")
    modules = [Transformer(str(plain), max_seq_length=24), Pooling(32, "cls"), Dense(32, 16), Normalize()]
    model = SentenceTransformer(modules=modules, prompts={"query": "the sea "}, default_prompt_name="query")
    model.save(str(path / "sentence"))
    for name in ("plain", "sentence"):
        shutil.copytree(path / name, path / f"{name}-openvino")
        export(plain, path / f"{name}-openvino")
    return path


@pytest.fixture
def onnx_folder(folders, tmp_path):
    """A plain folder whose graph looks ids up in a table; and the table."""
    folder, table = tmp_path / "model", np.random.default_rng(0).normal(size=(len(tiny_tokenizer()), WIDTH))
    shutil.copytree(folders / "plain", folder)
    (folder / "model.safetensors").unlink()
    settings = json.loads((folder / "config.json").read_text()) | {"hidden_size": WIDTH}
    (folder / "config.json").write_text(json.dumps(settings))
    write_graph(folder / "onnx" / "model.onnx", table.astype(np.float32))
    return folder, table.astype(np.float32)


def write_graph(file: Path, table: np.ndarray, *others: str) -> None:
    """others: inputs besides ids and mask."""
    ids, *rest = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT64, ["texts", "length"])
        for name in ("input_ids", "attention_mask", *others)
    )
    pooled, hidden = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        for name in ("pooler_output", "last_hidden_state")
    )
    nodes = [
        onnx.helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"]),
        onnx.helper.make_node("ReduceMax", ["last_hidden_state"], ["pooler_output"]),
    ]
    graph = onnx.helper.make_graph(
        nodes, "lookup", [ids, *rest], [pooled, hidden], [onnx.numpy_helper.from_array(table, "table")]
    )
    file.parent.mkdir(exist_ok=True)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9), file)


@pytest.mark.parametrize("kind", ["plain", "sentence"])
@pytest.mark.parametrize("threads", [1, 2])
def test_an_openvino_graph_gives_the_vectors_of_its_source(folders, kind, threads, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    ours, theirs = load_encoder(folders / f"{kind}-openvino"), load_encoder(folders / kind)
    assert (ours.max_tokens, ours.width) == (theirs.max_tokens, theirs.width)
    np.testing.assert_allclose(ours.embed(TEXTS), theirs.embed(TEXTS), atol=1e-6)
    assert ours.reading == theirs.reading and ours.reading.truncated


def test_prompts_and_lengths_are_those_of_the_folder(folders):
    ours, theirs = (
        load_encoder(folders / name, prompt="query", normalize=False, max_tokens=12)
        for name in ("sentence-openvino", "sentence")
    )
    np.testing.assert_allclose(ours.embed(TEXTS), theirs.embed(TEXTS), atol=1e-6)
    bare = load_encoder(folders / "sentence-openvino", prompt="", max_tokens=12)
    assert np.abs(ours.embed(TEXTS) - bare.embed(TEXTS)).max() > 1e-3


def test_openvino_is_asked_for_the_format(folders):
    def load(format: str):
        return load_encoder(folders / "plain-openvino", compute=format)

    assert load("float32").narrows
    assert proved_format(Compute("bfloat16", "native"), load, TEXTS).why.startswith("native; worst cosine")


def test_float32_of_8_bit_weights_rounds_nothing_else(folders, tmp_path):
    layers = re.compile(r"\.output\.dense|intermediate")
    config = AutoConfig.from_pretrained(folders / "plain", hidden_size=128, intermediate_size=256)  # runs of 64
    for name in ("source", "rounded"):
        shutil.copytree(folders / "plain", tmp_path / name)
    torch.manual_seed(0)
    model = AutoModel.from_config(config)
    model.save_pretrained(tmp_path / "source")
    export(tmp_path / "source", tmp_path / "source")
    file = tmp_path / "source" / "openvino" / "openvino_model.xml"
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear) and layers.search(name):
            numbers, scales = in_eight_bits(layer.weight.detach().numpy())
            layer.weight.data = torch.from_numpy((numbers * scales).reshape(layer.weight.shape))
    model.save_pretrained(tmp_path / "rounded")
    graph = openvino.Core().read_model(file.rename(file.with_suffix(".whole")), file.with_suffix(".bin"))
    assert compress_weights(graph, layers) == 3 * config.num_hidden_layers
    file.with_suffix(".bin").unlink()
    openvino.save_model(graph, file, compress_to_fp16=False)
    exact = load_encoder(tmp_path / "source").embed(TEXTS)
    np.testing.assert_allclose(exact, load_encoder(tmp_path / "rounded").embed(TEXTS), atol=1e-6)
    narrow = load_encoder(tmp_path / "source", compute="bfloat16").embed(TEXTS)
    assert 1e-5 < np.abs(narrow - exact).max() < 0.05


def test_an_onnx_graph_is_pooled_by_the_folder(onnx_folder):
    folder, table = onnx_folder
    encoder = load_encoder(folder, normalize=False)
    expected = [table[tiny_tokenizer()(text)["input_ids"][:64]].mean(axis=0) for text in TEXTS[:2]]
    np.testing.assert_allclose(encoder.embed(TEXTS[:2]), expected, atol=1e-6)
    chosen = proved_format(Compute("bfloat16", "native"), lambda format: encoder, TEXTS)
    assert chosen == ("float32", "this encoder has no other format")
    before = weights_hash(folder)
    write_graph(folder / "onnx" / "model.onnx", table + 1)
    assert weights_hash(folder) != before


def test_weights_of_pytorch_come_first(folders, tmp_path):
    shutil.copytree(folders / "plain", tmp_path / "both")
    shutil.copytree(folders / "plain-openvino" / "openvino", tmp_path / "both" / "openvino")
    assert type(load_encoder(tmp_path / "both")) is type(load_encoder(folders / "plain"))


def test_a_quantised_graph_is_found_where_it_is_the_only_one(onnx_folder):
    folder, table = onnx_folder
    expected = load_encoder(folder).embed(TEXTS)
    (folder / "onnx" / "model.onnx").rename(folder / "onnx" / "model_qint8.onnx")
    np.testing.assert_array_equal(load_encoder(folder).embed(TEXTS), expected)
    write_graph(folder / "onnx" / "model_quint8.onnx", table)
    with pytest.raises(UserError, match=r"several exported models \(onnx/model_qint8.onnx, onnx/model_quint8.onnx\)"):
        load_encoder(folder)


def test_what_an_exported_folder_cannot_do(onnx_folder, folders, tmp_path):
    folder, table = onnx_folder
    with pytest.raises(UserError, match="the format that it was exported in: leave bfloat16 out"):
        load_encoder(folder, compute="bfloat16")
    with pytest.raises(UserError, match="its random baseline is that of its source"):
        random_encoder(folder, seed=0)
    write_graph(folder / "onnx" / "model.onnx", table, "position_ids")
    with pytest.raises(UserError, match="takes position_ids, which its tokenizer does not give"):
        load_encoder(folder)
    (folder / "onnx" / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(UserError, match="could not be loaded by onnxruntime"):
        load_encoder(folder)
    shutil.copytree(folders / "sentence-openvino", tmp_path / "foreign")
    file = tmp_path / "foreign" / "modules.json"
    file.write_text(file.read_text().replace("sentence_transformers.", "someone.", 3))
    with pytest.raises(UserError, match=r"someone\..* is no module of sentence-transformers"):
        load_encoder(tmp_path / "foreign")
    cut = tmp_path / "foreign" / "sentence_bert_config.json"
    for text, found in (("{", "Expecting property name"), ("[]", "has to hold an object")):
        cut.write_text(text)
        with pytest.raises(UserError, match=f"sentence_bert_config.json is damaged: .*{found}"):
            load_encoder(tmp_path / "foreign")
    file.write_text("[{}]")
    with pytest.raises(UserError, match="damaged: it has to list modules"):
        load_encoder(tmp_path / "foreign")


def test_a_runtime_that_is_not_installed_is_named(folders, onnx_folder, monkeypatch):
    for name, folder in (("openvino", folders / "plain-openvino"), ("onnxruntime", onnx_folder[0])):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(UserError, match=f"needs {name}: pip install 'textssl\\[export\\]'"):
            load_encoder(folder)


def test_a_prompt_that_pooling_leaves_out(folders, tmp_path):
    shutil.copytree(folders / "sentence-openvino", tmp_path / "model")
    file = next((tmp_path / "model").glob("*_Pooling/config.json"))
    file.write_text(json.dumps(json.loads(file.read_text()) | {"include_prompt": False}))
    with pytest.raises(UserError, match="leaves out the tokens of a prompt"):
        load_encoder(tmp_path / "model")
    load_encoder(tmp_path / "model", prompt="")
