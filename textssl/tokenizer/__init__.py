"""Tokenizers: training, loading, the words of an encoding, a report. Takes texts, knows no corpus.

transformers is imported inside the functions that need it: the workers of `prepare` import this package and must not
wait for torch.
"""

from textssl.tokenizer.family import check_family, covers_all_bytes, keeps_text
from textssl.tokenizer.folder import for_causal, framed_hash, load, load_backend, save, tokenizer_hash
from textssl.tokenizer.long_words import LONGEST_WORD, LongWords
from textssl.tokenizer.report import TokenizerReport, report
from textssl.tokenizer.train import ALGORITHMS, SPECIAL_TOKENS, train_tokenizer
from textssl.tokenizer.word_types import MOST_WORD_TYPES, WordTypes
from textssl.tokenizer.words import WordFinder, word_starts

__all__ = [
    "ALGORITHMS",
    "LONGEST_WORD",
    "MOST_WORD_TYPES",
    "SPECIAL_TOKENS",
    "LongWords",
    "TokenizerReport",
    "WordFinder",
    "WordTypes",
    "check_family",
    "covers_all_bytes",
    "for_causal",
    "framed_hash",
    "keeps_text",
    "load",
    "load_backend",
    "report",
    "save",
    "tokenizer_hash",
    "train_tokenizer",
    "word_starts",
]
