"""The tokenizer of a run, and the one that a prepared corpus was made with."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from textssl import tokenizer
from textssl.data.corpus.corpus import Corpus
from textssl.errors import UserError
from textssl.sections import Config
from textssl.tokenizer import load_backend, tokenizer_hash


def open_tokenizer(config: Config) -> tuple[PreTrainedTokenizerFast, str]:
    """The tokenizer of a run with a resolved configuration, and its name. Raises UserError."""
    source = config.tokenizer or config.model.pretrained
    if source is None:
        raise UserError("tokenizer is missing: name a folder made by `textssl tokenizer train`, e.g. tokenizer=DIR")
    return tokenizer.load(source), source


def corpus_tokenizer(corpus: Corpus, given: str | Path | None, model: Path) -> Tokenizer:
    """The tokenizer that a corpus was made with: the one given, the model's, or the one that prepare noted.
    Raises UserError where none of them is."""
    noted = corpus.manifest.get("provenance", {}).get("tokenizer")
    places = [given] if given is not None else [model, *sorted(model.glob("0_*")), noted]
    for place in places:
        if place is None or not (Path(place) / "tokenizer.json").is_file():
            continue
        backend = load_backend(place)
        if tokenizer_hash(backend) == corpus.tokenizer_hash:
            return backend
    what = f"--tokenizer {given} is not" if given is not None else "neither the model's tokenizer nor the one noted is"
    raise UserError(f"{what} the one that {corpus.path} was prepared with: give its folder as --tokenizer")
