"""A model folder on disk -> transformers objects, strictly and quietly.

Strictly: no code from the folder is ever run, and missing weights are an error (transformers would initialise them at
random). Quietly: progress bars and advice of the libraries stay off the terminal.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from textssl.data.samples.cache import without_sample
from textssl.data.text.hub import unreachable
from textssl.errors import UserError, excerpt
from textssl.models.build import BROKEN_FOLDER, quiet
from textssl.models.configuration import head_kind, position_capacity
from textssl.tokenizer.vocabulary import padding_id

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]  # no pickles
NO_LIMIT = 10**9  # a tokenizer without a limit says 10^30
LENGTH_RECORDS = (  # where a folder may say at what length its texts are cut: file, keys
    ("tokenizer_config.json", ("model_max_length",)),
    ("tokenizer.json", ("truncation", "max_length")),
    ("sentence_bert_config.json", ("max_seq_length",)),
)
EXPORTED = ("openvino/openvino_model.xml", "openvino_model.xml", "onnx/model.onnx", "model.onnx")  # the usual ones
OTHER_EXPORTED = (
    "openvino/*.xml",
    "openvino_*.xml",
    "onnx/*.onnx",
    "*.onnx",
)  # those of quantised models
WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
HEADLESS = ("pooler",)  # parameters that a feature extractor may lack: mean pooling does not use them
DESCRIBING = (".json", ".txt", ".model", ".jinja")  # files that affect a folder's vectors, besides the weights


def default_device() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def find_model(model: str | Path) -> Path:
    """The folder of a model: itself, `model/` inside a run folder, `sample:NAME`, or a name on the hub.

    Raises UserError where no configuration is found.
    """
    folder = Path(without_sample(model))
    for candidate in (folder, folder / "model"):
        if any(os.path.isfile(candidate / name) for name in ("config.json", "modules.json")):
            return candidate
    if os.path.exists(folder):
        kind = "is a file" if folder.is_file() else "holds neither config.json nor modules.json"
        raise UserError(f"{folder} {kind}: not a model; give the folder that a run left as RUN/model")
    if HUB_NAME.fullmatch(str(model)):
        return _from_hub(str(model))
    raise UserError(f"there is no model folder {folder}; give the folder that a run left as RUN/model")


def _from_hub(name: str) -> Path:
    """The cached folder of a model on the hub, fetched first if the hub answers. Raises UserError."""
    from huggingface_hub import snapshot_download

    offline = unreachable()
    try:
        with quiet():
            return Path(
                snapshot_download(
                    name,
                    allow_patterns=HUB_FILES,
                    ignore_patterns=["onnx/*", "openvino/*"],
                    local_files_only=offline is not None,
                )
            )
    except Exception as error:  # the hub client raises many kinds: unknown name, gated, not in the cache
        reason = offline or f"the hub did not deliver it ({type(error).__name__})"
        raise UserError(
            f"there is no folder {name} here, and {reason}; a model of your own is named by its path, such as "
            "runs/mlm/model"
        ) from error


def is_sentence_model(folder: Path) -> bool:
    """Whether sentence-transformers loads the folder."""
    return (folder / "modules.json").is_file()


def exported_file(folder: Path) -> Path | None:
    """The exported model of a folder without weights for PyTorch; None where there are weights, or neither.

    Raises UserError where there are several and none has a usual name.
    """
    place = folder / modules_of(folder)[0]["path"] if is_sentence_model(folder) else folder
    if any(file for pattern in WEIGHTS for file in place.glob(pattern)):
        return None
    if usual := next((place / name for name in EXPORTED if (place / name).is_file()), None):
        return usual
    found = sorted(file for pattern in OTHER_EXPORTED for file in place.glob(pattern))
    if len(found) > 1:
        names = ", ".join(str(file.relative_to(folder)) for file in found)
        raise UserError(f"{folder} holds several exported models ({names}): leave one, or name one {EXPORTED[0]}")
    return found[0] if found else None


def modules_of(folder: Path) -> list[dict[str, Any]]:
    """The entries of modules.json, in order. Raises UserError."""
    file = folder / "modules.json"
    entries = read_json(file)
    listed = isinstance(entries, list) and entries and all(isinstance(entry, dict) for entry in entries)
    if not listed or not all(isinstance(entry.get(key), str) for entry in entries for key in ("path", "type")):
        raise UserError(f"{file} is damaged: it has to list modules, each with a path and a type")
    return entries


def read_json(file: Path) -> Any:
    """What a JSON file holds. Raises UserError."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file} is damaged: {first_line(error)}") from error


def load_config(folder: Path) -> PretrainedConfig:
    """The transformers configuration of a folder. Raises UserError."""
    try:
        with quiet():
            return AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except BROKEN_FOLDER as error:
        raise UserError(
            f"transformers does not know the configuration {folder}/config.json: {first_line(error)}"
        ) from error


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder; if there is no tokenizer_config.json, by tokenizer.json alone. Raises UserError."""
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
            if (folder / "tokenizer.json").is_file() and not (folder / "tokenizer_config.json").is_file():
                tokenizer = from_tokenizer_json(folder / "tokenizer.json", tokenizer)
    except Exception as error:  # tokenizers raises bare Exception for a broken tokenizer.json
        raise UserError(f"{folder} holds no tokenizer that transformers can load: {first_line(error)}") from error
    check_tokenizer(tokenizer, folder)
    return tokenizer


def check_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """UserError where a tokenizer gives ids that the model beside it lacks, or its maximum length is no number."""
    if not isinstance(tokenizer.model_max_length, int | float):
        raise UserError(
            f"{folder}/tokenizer_config.json: model_max_length is {excerpt(tokenizer.model_max_length)}, it must be a "
            "number of tokens"
        )
    size = vocab_size(folder)
    used = tokenizer("a b")["input_ids"] + [padding_id(tokenizer)]  # the special tokens around a text among them
    if size is not None and max(used) >= size:
        raise UserError(
            f"the tokenizer in {folder} gives token {max(used)}, but the model has {size} tokens (vocab_size of "
            "config.json): its files are of two models, or damaged"
        )


def vocab_size(folder: Path) -> int | None:
    """vocab_size of config.json; None where it gives none."""
    with suppress(OSError, ValueError):
        values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        size = values.get("vocab_size") if isinstance(values, dict) else None
        return size if isinstance(size, int) else None
    return None


def from_tokenizer_json(file: Path, guessed: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """The tokenizer as the file has it, truncation length included. guessed: as transformers loads it without settings,
    with the special tokens of the model family, but perhaps with that family's pre-tokenizer instead of the file's."""
    backend = Tokenizer.from_file(str(file))
    vocabulary = backend.get_vocab()
    names = {name: str(token) for name, token in guessed.special_tokens_map.items() if str(token) in vocabulary}
    length = {"model_max_length": backend.truncation["max_length"]} if backend.truncation else {}
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, model_input_names=guessed.model_input_names, **names, **length
    )


def length_note(folder: Path, taken: int | None) -> str | None:
    """One sentence where a model folder does not say at how many tokens its texts were cut in training.

    taken: the length that is used instead; None: nothing is cut.
    """
    if taken is None:
        return None
    for file, keys in LENGTH_RECORDS:
        for path in [folder / file, *folder.glob(f"*/{file}")]:
            with suppress(OSError, ValueError):
                value = json.loads(path.read_text(encoding="utf-8"))
                for key in keys:
                    value = value.get(key) if isinstance(value, dict) else None
                if isinstance(value, int | float) and value < NO_LIMIT:
                    return None
    return (
        f"{folder} does not say at how many tokens its texts were cut in training (tokenizer_config.json, "
        f"model_max_length): here they are cut at {taken}."
    )


def load_weights(
    folder: Path, auto_class: Any, device: torch.device | None = None, dtype: torch.dtype = torch.float32
) -> PreTrainedModel:
    """The model of a folder in float32 (or another dtype) and evaluation mode.

    auto_class: transformers' AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM, ...
    Raises UserError where the folder cannot be loaded or lacks weights of the model (but AutoModel's pooler).
    """
    try:
        with quiet():
            model, info = auto_class.from_pretrained(
                folder, trust_remote_code=False, local_files_only=True, dtype=dtype, output_loading_info=True
            )
    except BROKEN_FOLDER as error:
        raise UserError(f"{folder} could not be loaded as {auto_class.__name__}: {first_line(error)}") from error
    spared = HEADLESS if auto_class is AutoModel else ()
    missing = sorted(key for key in info["missing_keys"] if not any(part in key for part in spared))
    if missing:
        raise UserError(
            f"the weights in {folder} lack {len(missing)} parameters of {type(model).__name__}, first {missing[0]}: "
            "they would be initialised at random"
        )
    return model.to(device or default_device()).eval()


def language_model_kind(config: PretrainedConfig) -> str | None:
    """ "causal", "masked", "seq2seq", or None for a model without a language-model head."""
    names = config.architectures
    return head_kind(names[0]) if isinstance(names, list) and names and isinstance(names[0], str) else None


def context_limit(config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Tokens, special ones included, that a model can read at once; None where nothing limits it."""
    limits = [limit for limit in (position_capacity(config), tokenizer.model_max_length) if limit and limit < NO_LIMIT]
    return min(limits, default=None)


def weights_hash(folder: Path) -> str:
    """sha256 over the weight files of a folder (names and bytes), the first 16 hexadecimal digits."""
    files = sorted(folder.rglob("*.safetensors")) or sorted(folder.rglob("*.bin"))
    if exported := exported_file(folder):
        files = sorted({*files, *exported.parent.glob(f"{exported.stem}.*")})
    digest = hashlib.sha256()
    for file in files:
        digest.update(str(file.relative_to(folder)).encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:16]


def model_hash(folder: Path) -> str:
    """16 hexadecimal digits that change when the weights do, or a file that says how they are used."""
    digest = hashlib.sha256(weights_hash(folder).encode())
    for file in sorted(file for file in folder.rglob("*") if file.suffix in DESCRIBING and file.is_file()):
        digest.update(str(file.relative_to(folder)).encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def first_line(error: Exception) -> str:
    """The first line of an error's message, for one sentence to the user."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
