"""What a model folder says about itself: its kind, family, size, limits, and the code that loads it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

from safetensors import safe_open
from tokenizers import Tokenizer

from textssl.models.configuration import head_kind, prediction_offset
from textssl.report.examples import EXAMPLES, Examples
from textssl.tokenizer.sentinels import SENTINELS

Kind = Literal[
    "masked",
    "shifted",
    "causal",
    "seq2seq",
    "sentence",
    "static",
    "classifier",
    "regressor",
    "headed",
    "encoder",
    "other",
]
HEAD = "classifier.safetensors"  # beside a sentence encoder
PIPELINES: dict[Kind, str] = {
    "masked": "fill-mask",
    "causal": "text-generation",
    "sentence": "sentence-similarity",
    "static": "sentence-similarity",
    "classifier": "text-classification",
    "regressor": "text-classification",
    "headed": "text-classification",
    "encoder": "feature-extraction",
}
FAMILIES = {
    "modernbert": "ModernBERT",
    "bert": "BERT",
    "roberta": "RoBERTa",
    "llama": "Llama",
    "gpt2": "GPT-2",
    "t5": "T5",
    "bart": "BART",
}
UNLIMITED_TOKENS = 10**9  # a tokenizer without a limit says 10^30


@dataclass(frozen=True, kw_only=True)
class ModelFolder:
    """Facts of a folder, read from its files without loading the model.

    kind: "shifted" for a masked language model that predicts the next token, "headed" for a sentence encoder with a
    linear classifier beside it, "other" for a folder that neither transformers nor sentence-transformers loads. shape:
    of the backbone in words. max_tokens: where a text is cut, special tokens included; None: nowhere. mask: the mask
    token; of an encoder-decoder, what marks a gap. objective: what config.json says about the pretext task, if it does.
    """

    kind: Kind
    family: str
    shape: str
    parameters: int
    vocabulary: int
    max_tokens: int | None
    lowercases: bool
    mask: str | None
    objective: str | None

    @classmethod
    def read(cls, folder: str | Path) -> ModelFolder:
        folder = Path(folder)
        modules = read_json(folder / "modules.json")
        config = read_json(folder / "config.json") or {}
        static = bool(modules) and "StaticEmbedding" in str(modules)
        tokenizer = next(iter(sorted(folder.rglob("tokenizer.json"))), None)
        words = None if tokenizer is None else Tokenizer.from_file(str(tokenizer))
        settings = (tokenizer and read_json(tokenizer.parent / "tokenizer_config.json")) or {}
        weights, family = shapes(folder), str(config.get("model_type", "unknown family"))
        widths = [shape[-1] for name, shape in weights.items() if len(shape) == 2 and not name.startswith(HEAD)]
        return cls(
            kind=kind_of_modules(folder, static) if modules else kind_of(config),
            family="" if static else FAMILIES.get(family, family),
            shape=f"a vector of {widths[0]:,} numbers for each token" if static else shape_of(config),
            parameters=sum(product(shape) for shape in weights.values()),
            vocabulary=words.get_vocab_size() if words else config.get("vocab_size", 0),
            max_tokens=None if static else longest(config, settings),
            lowercases=words is not None
            and words.normalizer is not None
            and words.normalizer.normalize_str("A") == "a",
            mask=SENTINELS[0] if marks_spans(config) else token_text(settings.get("mask_token")),
            objective=(config.get("textssl") or {}).get("objective"),
        )

    @property
    def library(self) -> str:
        return "sentence-transformers" if self.kind in ("sentence", "static", "headed") else "transformers"

    @property
    def pipeline(self) -> str | None:
        """The hub's name of the task."""
        return PIPELINES.get(self.kind)

    def code(self, examples: Examples = EXAMPLES["en"], pairs: bool = False) -> str | None:
        """Python that loads the folder and uses it; it runs inside the folder as it is. pairs: it reads two texts."""
        if self.kind == "other":
            return None
        first, second, third = examples.sentences
        texts: Any = [{"text": first, "text_pair": second}] if pairs else [first, third]
        quoted = {
            "GAP": examples.gap.replace("MASK", self.mask or "[MASK]"),
            "START": examples.start,
            "SENTENCES": list(examples.sentences),
            "TEXTS": texts,
            "TEXT": first,
        }
        return PLACE.sub(lambda place: json.dumps(quoted[place.group()], ensure_ascii=False), USAGE[self.kind])


def read_json(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def kind_of_modules(folder: Path, static: bool) -> Kind:
    if (folder / HEAD).is_file():
        return "headed"
    return "static" if static else "sentence"


def kind_of(config: dict[str, Any]) -> Kind:
    if not config:
        return "other"
    architecture = (config.get("architectures") or [""])[0]
    if not architecture.endswith("ForSequenceClassification"):
        kind = head_kind(architecture)
        if kind == "masked" and prediction_offset(SimpleNamespace(**config)):
            return "shifted"
        return kind if kind in ("masked", "causal", "seq2seq") else "encoder"
    regression = config.get("problem_type") == "regression" or len(config.get("id2label") or "..") == 1
    return "regressor" if regression else "classifier"


def marks_spans(config: dict[str, Any]) -> bool:
    """Whether an encoder-decoder learned to fill spans that sentinels mark."""
    return "spans" in (config.get("textssl") or {}).get("noises", ())


def shape_of(config: dict[str, Any]) -> str:
    layers, width = (
        next((config[key] for key in keys if key in config), "?")
        for keys in (
            ("num_hidden_layers", "n_layer", "num_layers", "encoder_layers"),
            ("hidden_size", "n_embd", "d_model"),
        )
    )
    decoder = (
        config.get("num_decoder_layers", config.get("decoder_layers")) if config.get("is_encoder_decoder") else None
    )
    return f"{layers}{'' if decoder is None else f' and {decoder}'} layers of width {width}"


def longest(config: dict[str, Any], settings: dict[str, Any]) -> int | None:
    limits = [config.get("max_position_embeddings"), config.get("n_positions"), settings.get("model_max_length")]
    return min((int(limit) for limit in limits if limit and limit < UNLIMITED_TOKENS), default=None)


def shapes(folder: Path) -> dict[str, list[int]]:
    """Name -> shape of every stored weight; shared weights are stored once."""
    found = {}
    for file in sorted(folder.rglob("*.safetensors")):
        with safe_open(file, framework="numpy") as weights:
            names = list(weights.keys())
            found |= {f"{file.relative_to(folder)}/{name}": weights.get_slice(name).get_shape() for name in names}
    return found


def product(shape: list[int]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total


def token_text(token: Any) -> str | None:
    return token.get("content") if isinstance(token, dict) else token


FOLDER = 'folder = "."  # where this file lies, or the name of the model on the hub\n'
OF_SENTENCES = f"""from sentence_transformers import SentenceTransformer

{FOLDER}encoder = SentenceTransformer(folder)
vectors = encoder.encode(SENTENCES)
print(encoder.similarity(vectors, vectors))
"""
PLACE = re.compile(r"\b(?:GAP|START|SENTENCES|TEXTS|TEXT)\b")  # replaced by texts in the card's language
USAGE: dict[Kind, str] = {
    "masked": f"""from transformers import pipeline

{FOLDER}fill = pipeline("fill-mask", model=folder)
for guess in fill(GAP):
    print(guess["token_str"], round(guess["score"], 3))
""",
    "shifted": f"""from transformers import AutoModelForMaskedLM, AutoTokenizer

{FOLDER}model, tokenizer = AutoModelForMaskedLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
inputs = tokenizer(GAP, return_tensors="pt")
gap = (inputs["input_ids"][0] == tokenizer.mask_token_id).nonzero()[0, 0]
before = gap - model.config.textssl["prediction_offset"]  # a fill-mask pipeline would read the gap's own place
logits = model(**inputs).logits[0, before]
scores, tokens = logits.softmax(-1).topk(5)
for token, score in zip(tokens.tolist(), scores.tolist()):
    print(tokenizer.decode([token]), round(score, 3))
""",
    "causal": f"""from transformers import pipeline

{FOLDER}write = pipeline("text-generation", model=folder)
print(write(START, max_new_tokens=40, do_sample=True)[0]["generated_text"])
""",
    "seq2seq": f"""from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

{FOLDER}model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
written = model.generate(**tokenizer(GAP, return_tensors="pt"), max_new_tokens=20)
print(tokenizer.decode(written[0]))
""",
    "sentence": OF_SENTENCES,
    "static": OF_SENTENCES,
    "classifier": f"""from transformers import pipeline

{FOLDER}classify = pipeline("text-classification", model=folder)
print(classify(TEXTS, truncation=True))
""",
    "regressor": f"""from transformers import pipeline

{FOLDER}score = pipeline("text-classification", model=folder, function_to_apply="none")
print(score(TEXTS, truncation=True))
""",
    "headed": f"""import json

from safetensors.numpy import load_file
from sentence_transformers import SentenceTransformer

{FOLDER}encoder, head = SentenceTransformer(folder), load_file(f"{{folder}}/{HEAD}")
with open(f"{{folder}}/{HEAD.replace("safetensors", "json")}", encoding="utf-8") as file:
    labels = json.load(file)["labels"]
logits = encoder.encode(TEXTS) @ head["weight"].T + head["bias"]
print([labels[place] for place in logits.argmax(1)])
""",
    "encoder": f"""from transformers import AutoModel, AutoTokenizer

{FOLDER}model, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
print(model(**tokenizer(TEXT, return_tensors="pt")).last_hidden_state.shape)
""",
}
