"""Sentence encoders whose transformer was exported to ONNX or OpenVINO (extra `export`).

Such a folder is what sentence-transformers or optimum leave: tokenizer, config.json and perhaps modules.json as ever,
but `onnx/model.onnx` or `openvino/openvino_model.xml` in the place of the weights. The exported graph gives the hidden
states of the tokens; pooling and what follows are the folder's own modules, in PyTorch. It runs on the CPU.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedTokenizerBase

from textssl.errors import UserError
from textssl.inference.loading import (
    context_limit,
    first_line,
    is_sentence_model,
    load_config,
    load_tokenizer,
    modules_of,
    read_json,
)
from textssl.models.build import BROKEN_FOLDER, quiet

HIDDEN = ("last_hidden_state", "token_embeddings")  # outputs that hold the hidden states
ACTIVATIONS_A_SCALE = 64  # of OpenVINO with 8-bit weights in bfloat16: fewer keep more and take longer
STOCK = "sentence_transformers."  # modules of this package alone are loaded


class Session(ABC):
    """An exported graph, which several threads may call at once.

    inputs: names of the arrays that it takes. narrows: whether it can compute in bfloat16.
    """

    package: ClassVar[str]
    narrows: ClassVar[bool] = False
    inputs: frozenset[str]

    @abstractmethod
    def __call__(self, arrays: dict[str, np.ndarray]) -> np.ndarray:
        """(texts, length, width) float32 hidden states. arrays: (texts, length) int64 each."""


def missing(file: Path, package: str) -> UserError:
    return UserError(f"{file} needs {package}: pip install 'textssl[export]'")


class OnnxSession(Session):
    """By onnxruntime, in the number format of the file."""

    package = "onnxruntime"

    def __init__(self, file: Path, compute: str) -> None:
        try:
            import onnxruntime  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise missing(file, "onnxruntime") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # batches run side by side
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        self.inputs = frozenset(port.name for port in self.session.get_inputs())
        self.output = hidden_name([port.name for port in self.session.get_outputs()])

    def __call__(self, arrays: dict[str, np.ndarray]) -> np.ndarray:
        return np.asarray(self.session.run([self.output], arrays)[0], dtype=np.float32)


class OpenVinoSession(Session):
    """By OpenVINO, in float32 or bfloat16: left to itself it takes bfloat16 where the processor has it.

    Where the graph has weights in 8 bits, bfloat16 multiplies them with activations in 8 bits too, each run of
    ACTIVATIONS_A_SCALE with a scale of its own; float32 rounds no activation.
    """

    package, narrows = "openvino", True

    def __init__(self, file: Path, compute: str) -> None:
        try:
            import openvino  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise missing(file, "openvino") from error
        threads = torch.get_num_threads()
        format = {"float32": "f32", "bfloat16": "bf16"}[compute]
        options = {"INFERENCE_PRECISION_HINT": format, "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": threads}
        options["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = ACTIVATIONS_A_SCALE if compute == "bfloat16" else 0
        self.compiled = openvino.Core().compile_model(str(file), "CPU", options)
        self.inputs = frozenset(name for port in self.compiled.inputs for name in port.get_names())
        self.output = hidden_name([name for port in self.compiled.outputs for name in port.get_names()] or [0])
        self.own = threading.local()

    def __call__(self, arrays: dict[str, np.ndarray]) -> np.ndarray:
        if not hasattr(self.own, "request"):
            self.own.request = self.compiled.create_infer_request()
        self.own.request.infer(arrays, share_inputs=True)
        return np.array(self.own.request.get_tensor(self.compiled.output(self.output)).data, dtype=np.float32)


def hidden_name(names: list[Any]) -> Any:
    """Which of the outputs holds the hidden states: by its name, else the first."""
    return next((name for name in HIDDEN if name in names), names[0])


class ExportedTransformer(nn.Module):
    """An exported graph in the place of sentence-transformers' Transformer module: ids and mask -> token_embeddings.

    file: of the graph. width: of the hidden states that the modules behind it were made for; None where they do not
    say. Raises UserError where the graph does not run on a batch, or gives something else.
    """

    def __init__(
        self,
        session: Session,
        file: Path,
        tokenizer: PreTrainedTokenizerBase,
        max_seq_length: int | None,
        width: int | None,
    ) -> None:
        super().__init__()
        self.session, self.file, self.tokenizer, self.max_seq_length = session, file, tokenizer, max_seq_length
        self.width = width

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        arrays = {name: features[name].numpy() for name in self.session.inputs}
        try:
            hidden = self.session(arrays)
        except MemoryError:
            raise
        except Exception as error:  # such as of a graph for one length alone; each runtime has its own kinds
            raise UserError(f"{self.file} could not be run by {self.session.package}: {first_line(error)}") from error
        width = hidden.shape[-1:] if self.width is None else (self.width,)
        shape = (*features["input_ids"].shape, *width)
        if hidden.shape != shape:
            raise UserError(f"{self.file} gives numbers of shape {hidden.shape}, where hidden states have {shape}")
        return {**features, "token_embeddings": torch.from_numpy(hidden)}


def load_exported(folder: Path, file: Path, compute: str) -> Any:
    """A SentenceTransformer that begins with an exported graph. Raises UserError.

    A folder without modules.json is the mean over its tokens, as sentence-transformers takes it.
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    kind = OpenVinoSession if file.suffix == ".xml" else OnnxSession
    if compute == "bfloat16" and not kind.narrows:
        raise UserError(f"{file} computes in the format that it was exported in: leave bfloat16 out")
    sentence = is_sentence_model(folder)
    place = folder / modules_of(folder)[0]["path"] if sentence else folder
    try:
        session = kind(file, compute)
    except UserError:
        raise
    except Exception as error:  # of a damaged file; each runtime has its own kinds
        raise UserError(f"{file} could not be loaded by {kind.package}: {first_line(error)}") from error
    config, tokenizer = load_config(place), load_tokenizer(place)
    taken = {"input_ids", "attention_mask", *tokenizer.model_input_names}
    if unknown := session.inputs - taken:
        raise UserError(f"{file} takes {', '.join(sorted(unknown))}, which its tokenizer does not give")
    longest = cut_at(place) or context_limit(config, tokenizer)
    if sentence:
        said, rest = settings_in(folder / "config_sentence_transformers.json"), later_modules(folder)
    else:
        said, rest = {}, [Pooling(hidden_size(place, config), "mean")]
    width = getattr(rest[0], "embedding_dimension", None) if rest and isinstance(rest[0], Pooling) else None
    first = ExportedTransformer(session, file, tokenizer, longest, width)
    prompts = {name: said[name] for name in ("prompts", "default_prompt_name") if name in said}
    try:
        with quiet():
            return SentenceTransformer(modules=[first, *rest], device="cpu", **prompts).eval()
    except BROKEN_FOLDER as error:
        raise UserError(f"{folder} could not be loaded by sentence-transformers: {first_line(error)}") from error


def hidden_size(place: Path, config: PretrainedConfig) -> int:
    """The width of the hidden states by config.json. Raises UserError where it does not say."""
    size = getattr(config, "hidden_size", None)
    if not isinstance(size, int) or size < 1:
        raise UserError(f"{place}/config.json does not say how wide the hidden states are: it needs a hidden_size")
    return size


def cut_at(place: Path) -> int | None:
    """Tokens at which sentence_bert_config.json says that a text is cut; None where it does not say."""
    limit = settings_in(place / "sentence_bert_config.json").get("max_seq_length")
    return limit if isinstance(limit, int) else None


def settings_in(file: Path) -> dict[str, Any]:
    """What a JSON file of settings holds; nothing where there is no such file. Raises UserError."""
    said = read_json(file) if file.is_file() else {}
    if not isinstance(said, dict):
        raise UserError(f"{file} is damaged: it has to hold an object")
    return said


def later_modules(folder: Path) -> list[nn.Module]:
    """What follows the transformer. Raises UserError for a module that sentence-transformers does not have, or that is
    damaged or missing."""
    from sentence_transformers.sentence_transformer import modules as stock

    found = []
    for entry in modules_of(folder)[1:]:
        package, name = entry["type"].startswith(STOCK), entry["type"].rpartition(".")[2]
        if not package or name not in stock.__all__:
            raise UserError(f"{folder}/modules.json: {entry['type']} is no module of sentence-transformers")
        try:
            with quiet():
                module = getattr(stock, name).load(str(folder), subfolder=entry["path"], local_files_only=True)
        except BROKEN_FOLDER as error:
            place = folder / entry["path"]
            why = first_line(error) if place.is_dir() else "there is no such folder"
            raise UserError(f"{place} could not be loaded as {name}: {why}") from error
        found.append(module)
    return found
