"""Training BPE, WordPiece and Unigram tokenizers with the tokenizers library."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from textssl.errors import UserError
from textssl.tokenizer.fitting import PRINTABLE_ASCII, SPECIAL_TOKENS, Task, fit, too_small
from textssl.tokenizer.long_words import LongWords
from textssl.tokenizer.word_types import WordTypes

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

ALGORITHMS = ("bpe", "wordpiece", "unigram")
PAD, UNK, CLS, SEP, MASK = SPECIAL_TOKENS
NORMAL_FORMS = {
    "NFC": normalizers.NFC,
    "NFKC": normalizers.NFKC,
    "NFD": normalizers.NFD,
    "NFKD": normalizers.NFKD,
}
BYTE_TOKENS = [f"<0x{byte:02X}>" for byte in range(256)]
SPECIAL_SCORE = -1e4  # log-probability so low that no segmentation of real text uses the token


def train_tokenizer(
    texts: Iterable[str],
    *,
    algorithm: str = "bpe",
    vocab_size: int = 8192,
    lowercase: bool = False,
    strip_accents: bool = False,
    normalization: str | None = "NFC",
    byte_fallback: bool = True,
    min_frequency: int = 2,
    long_words: LongWords | None = None,
    word_types: WordTypes | None = None,
) -> PreTrainedTokenizerFast:
    """A tokenizer of at most `vocab_size` tokens, special ones included, fitted to `texts`.

    bpe works on bytes, so nothing is unknown, and the same texts give the same tokenizer. wordpiece is BERT's; a
    character outside its alphabet is [UNK]. unigram is SentencePiece's with whitespace kept; with `byte_fallback`, 256
    tokens are reserved for the bytes of unknown characters, which are [UNK] otherwise. The library's training of
    wordpiece and unigram is not deterministic.

    normalization: None, NFC, NFD, NFKC or NFKD. min_frequency: how often a pair must occur to be merged (bpe,
    wordpiece). Words of more than LONGEST_WORD characters are cut for training and counted in `long_words`
    (textssl.tokenizer.long_words has the limits). If there are more different words than `word_types.limit`, those met
    last are left out, and counted there. More than a little text is trained on in a subprocess, which ends with any
    exception here, such as KeyboardInterrupt.
    Raises UserError for an unknown option, no text, or a vocabulary too small for the alphabet.
    """
    if algorithm not in ALGORITHMS:
        raise UserError(f"algorithm {algorithm!r} is unknown: choose one of {', '.join(ALGORITHMS)}")
    if normalization is not None and normalization not in NORMAL_FORMS:
        raise UserError(f"normalization {normalization!r} is unknown: choose none or one of {', '.join(NORMAL_FORMS)}")
    byte_fallback = byte_fallback and algorithm == "unigram"
    smallest = smallest_vocabulary(algorithm, byte_fallback)
    if vocab_size < smallest:
        raise UserError(f"vocab_size {vocab_size} is too small: {algorithm} needs {smallest} tokens for its alphabet")

    tokenizer = untrained(algorithm)
    normalizer = build_normalizer(algorithm, normalization, lowercase, strip_accents)
    by_python = normalization if normalizer is not None and steps_of(normalizer) == [normalization] else None
    if normalizer is not None and by_python is None:
        tokenizer.normalizer = normalizer
    counted = CountedTexts(texts)
    kept = (word_types or WordTypes()).bound((long_words or LongWords()).cut(counted, algorithm), algorithm)
    task = Task(tokenizer.to_str(), algorithm, vocab_size, len(BYTE_TOKENS) * byte_fallback, min_frequency)
    tokenizer = fit(task, kept if by_python is None else in_form(kept, by_python))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if not counted.characters:
        raise UserError("the input holds no text to train a tokenizer on")
    if tokenizer.get_vocab_size() > vocab_size:
        raise too_small(vocab_size, algorithm)
    if algorithm == "unigram":
        tokenizer = finish_unigram(tokenizer, byte_fallback)
    assert [tokenizer.token_to_id(token) for token in SPECIAL_TOKENS] == [0, 1, 2, 3, 4]
    return as_fast(tokenizer, algorithm)


def in_form(texts: Iterable[str], form: Any) -> Iterator[str]:
    """The texts in a Unicode normal form: Python sees at once if a text already is, where the library takes long."""
    for text in texts:
        yield text if unicodedata.is_normalized(form, text) else unicodedata.normalize(form, text)


def steps_of(normalizer: normalizers.Normalizer) -> list[str]:
    """The types of the steps of a normalizer that `build_normalizer` made."""
    state = json.loads(normalizer.__getstate__())
    return [step["type"] for step in state["normalizers"]]


class CountedTexts:
    """Passes texts on and counts their characters."""

    def __init__(self, texts: Iterable[str]):
        self.texts, self.characters = texts, 0

    def __iter__(self):
        for text in self.texts:
            self.characters += len(text)
            yield text


def smallest_vocabulary(algorithm: str, byte_fallback: bool) -> int:
    alphabet = {"bpe": 256, "wordpiece": 2 * len(PRINTABLE_ASCII), "unigram": len(PRINTABLE_ASCII)}[algorithm]
    return len(SPECIAL_TOKENS) + alphabet + 256 * byte_fallback


def untrained(algorithm: str) -> Tokenizer:
    """A tokenizer with model, pre-tokenizer and decoder, before training."""
    if algorithm == "bpe":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True, trim_offsets=True)
        tokenizer.decoder = decoders.ByteLevel()
    elif algorithm == "wordpiece":
        tokenizer = Tokenizer(models.WordPiece(unk_token=UNK))
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    else:
        tokenizer = Tokenizer(models.Unigram())
        metaspace = {"replacement": "▁", "prepend_scheme": "first", "split": True}
        # Metaspace knows only spaces: without the split a newline or tab would join two words
        other_whitespace = pre_tokenizers.Split(Regex(r"[^\S ]"), "isolated")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([other_whitespace, pre_tokenizers.Metaspace(**metaspace)])
        tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(**metaspace)])
    return tokenizer


def build_normalizer(
    algorithm: str, normalization: str | None, lowercase: bool, strip_accents: bool
) -> normalizers.Normalizer | None:
    """Strip accents, then the normal form, then lowercase, then (wordpiece) BERT's spacing of Chinese characters."""
    steps: list[normalizers.Normalizer] = []
    if strip_accents:
        steps += [normalizers.NFD(), normalizers.StripAccents()]
        normalization = normalization or "NFC"  # to compose Hangul and the like again
    if normalization is not None:
        steps.append(NORMAL_FORMS[normalization]())
    if lowercase:
        steps.append(normalizers.Lowercase())
    if algorithm == "wordpiece":
        bert = {"clean_text": True, "handle_chinese_chars": True, "strip_accents": False, "lowercase": False}
        steps.append(normalizers.BertNormalizer(**bert))
    return normalizers.Sequence(steps) if steps else None


def finish_unigram(tokenizer: Tokenizer, byte_fallback: bool) -> Tokenizer:
    """Put special tokens out of reach of real text, and add tokens for bytes, as in SentencePiece's byte_fallback.

    Pieces that the trainer learned from text that spells such a token are left out, as a token has one id.
    """
    state = json.loads(tokenizer.to_str())
    count, reserved = len(SPECIAL_TOKENS), {*SPECIAL_TOKENS, *(BYTE_TOKENS if byte_fallback else ())}
    learned = [piece for piece in state["model"]["vocab"][count:] if piece[0] not in reserved]  # [token, log-prob.]
    # the trainer gives special tokens 0, so that a literal "[SEP]" would become the token
    vocabulary = [[token, SPECIAL_SCORE] for token in SPECIAL_TOKENS] + learned
    if byte_fallback:
        vocabulary += [[token, SPECIAL_SCORE] for token in BYTE_TOKENS]
    state["model"]["vocab"] = vocabulary
    state["model"]["byte_fallback"] = byte_fallback
    return Tokenizer.from_str(json.dumps(state, ensure_ascii=False))


def as_fast(tokenizer: Tokenizer, algorithm: str) -> PreTrainedTokenizerFast:
    """One tokenizer for encoders and decoders: [CLS] is also the beginning of text, [SEP] its end."""
    from transformers import PreTrainedTokenizerFast

    template = processors.TemplateProcessing(
        single=f"{CLS} $A {SEP}",
        pair=f"{CLS} $A {SEP} $B:1 {SEP}:1",
        special_tokens=[(CLS, SPECIAL_TOKENS.index(CLS)), (SEP, SPECIAL_TOKENS.index(SEP))],
    )
    if algorithm == "bpe":  # without trim_offsets a word's offsets would include the space before it
        tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=True), template])
    else:
        tokenizer.post_processor = template
    names = {"pad_token": PAD, "unk_token": UNK, "cls_token": CLS, "sep_token": SEP, "mask_token": MASK}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=CLS,
        eos_token=SEP,
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
        **names,
    )
