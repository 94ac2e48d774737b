"""bfloat16 in the model: near float32, pooled and written in float32, and chosen where hardware and texts allow."""

from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, StaticEmbedding

from tests.evaluation.folders import save_model
from tests.tiny import texts, tiny_tokenizer
from textssl.errors import UserError
from textssl.inference import compute
from textssl.inference.compute import Compute, check_runs, fast_format, proved_format, worst_cosine
from textssl.inference.encoders import load_encoder
from textssl.system import hardware

TEXTS = ["", "One word.", *(text[:200] for text in texts()[:6])]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    path = tmp_path_factory.mktemp("models")
    plain = save_model(path / "plain", "bert")
    model = SentenceTransformer(str(plain), device="cpu")
    model.append(Dense(32, 16))
    model.save(str(path / "sentence"))
    SentenceTransformer(modules=[StaticEmbedding(tiny_tokenizer(), embedding_dim=8)]).save(str(path / "static"))
    return {"plain": plain, "sentence": path / "sentence", "static": path / "static"}


@pytest.mark.parametrize("kind", ["plain", "sentence"])
def test_only_the_transformer_is_narrow(folders, kind):
    exact = load_encoder(folders[kind], normalize=None)
    narrow: Any = load_encoder(folders[kind], normalize=None, compute="bfloat16")
    left, right = exact.embed(TEXTS), narrow.embed(TEXTS)
    assert right.dtype == np.float32 and not np.array_equal(left, right)
    assert worst_cosine(left, right) > 0.999
    values = np.ascontiguousarray(right).view(np.uint32)
    assert (values & 0xFFFF).any()  # pooled in float32: not all are numbers of bfloat16
    modules = [narrow.model] if kind == "plain" else list(narrow.model)
    kinds = [{parameter.dtype for parameter in module.parameters()} for module in modules]
    assert kinds[0] == {torch.bfloat16} and all(found <= {torch.float32} for found in kinds[1:])


def test_a_static_encoder_is_in_float32_alone(folders):
    with pytest.raises(UserError, match="static encoder, which computes in float32 alone"):
        load_encoder(folders["static"], compute="bfloat16")
    chosen = proved_format(Compute("bfloat16", "native"), lambda format: load_encoder(folders["static"]), TEXTS)
    assert chosen == ("float32", "this encoder has no other format")


def test_nothing_is_proved_on_no_text():
    chosen = proved_format(Compute("bfloat16", "native"), lambda format: pytest.fail("computed"), [])
    assert chosen == ("float32", "there is no text to try another format on")


def test_the_processor_says_what_it_is_fast_in(monkeypatch):
    monkeypatch.setattr(compute, "default_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "amx_bf16": False})
    assert fast_format() == ("float32", "no native bfloat16 on this processor")
    for feature in ("amx_bf16", "avx512_bf16"):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda feature=feature: {"avx2": True, feature: True})
        assert hardware.bfloat16_feature() == feature
        assert fast_format() == ("bfloat16", f"{feature} of this processor")
    monkeypatch.setattr(compute, "default_device", lambda: torch.device("cuda"))
    for native in (True, False):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, native=native: native)
        assert fast_format().format == ("bfloat16" if native else "float32")


def test_a_sample_that_loses_its_direction_stays_in_float32(folders):
    wanted = Compute("bfloat16", "native")
    loaded = {name: load_encoder(folders["plain"], compute=name) for name in ("float32", "bfloat16")}
    chosen = proved_format(wanted, loaded.__getitem__, TEXTS)
    assert chosen.format == "bfloat16" and "native; worst cosine to float32 0.99" in chosen.why
    assert proved_format(Compute("float32", "x"), loaded.__getitem__, TEXTS) == ("float32", "x")

    class Other:
        def embed(self, texts):
            vectors = loaded["float32"].embed(texts).copy()
            vectors[-1, 0] += 0.1
            return vectors

    chosen = proved_format(wanted, {**loaded, "bfloat16": Other()}.__getitem__, TEXTS)
    assert chosen.format == "float32" and "loses too much: worst cosine to float32 0.99" in chosen.why


class Unable:
    """An encoder that lacks an operation in bfloat16."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def embed(self, texts):
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        NotImplementedError("\"addmm_sparse\" not implemented for 'BFloat16'"),
        RuntimeError("expected scalar type Float but found BFloat16\nat line 1"),
        TypeError("Got unsupported ScalarType BFloat16"),
        UserError("m.xml could not be loaded by openvino"),
    ],
)
def test_a_model_that_cannot_run_in_bfloat16_stays_in_float32(folders, error):
    exact = load_encoder(folders["plain"])
    models: dict[str, Any] = {"float32": exact, "bfloat16": Unable(error)}
    chosen = proved_format(Compute("bfloat16", "native"), models.__getitem__, TEXTS)
    said = str(error).splitlines()[0]
    assert chosen == ("float32", f"this model does not run in bfloat16: {said}")
    with pytest.raises(UserError, match=said if isinstance(error, UserError) else "leave --compute bfloat16 out"):
        check_runs(models["bfloat16"], "bfloat16")
    assert check_runs(exact, "float32") is exact


def test_an_error_in_float32_is_not_hidden():
    broken: Any = Unable(RuntimeError("mat1 and mat2"))
    broken.narrows = True
    with pytest.raises(RuntimeError, match="mat1"):
        proved_format(Compute("bfloat16", "native"), lambda format: broken, TEXTS)


def test_the_worst_cosine():
    left = np.array([[3.0, 0.0], [0.0, 0.0], [1.0, 1.0]], np.float32)
    assert worst_cosine(left, left * 2) == pytest.approx(1)
    right = np.array([[1.0, 0.0], [0.0, 0.0], [1.0, 0.0]], np.float32)
    assert worst_cosine(left, right) == pytest.approx(2**-0.5)
    assert worst_cosine(left[:2], right[1:]) == 0  # one of them is zero
    assert worst_cosine(left[:0], right[:0]) == 1
