"""`textssl mine`: pairs of a corpus, each with hard negatives."""

from __future__ import annotations

import io
import json
import os
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from textssl.assembly.tokenizers import corpus_tokenizer
from textssl.config import check_seed
from textssl.data.corpus.corpus import Corpus
from textssl.data.corpus.positive_pairs import Related, corpus_pairs, table_pairs
from textssl.data.text.drops import DropReport
from textssl.data.text.inputs import expand_inputs
from textssl.errors import UserError
from textssl.inference.encoders import load_encoder
from textssl.inference.features import Encoder
from textssl.inference.loading import find_model
from textssl.system.files import held_output, write_text
from textssl.system.progress import working
from textssl.system.terminal import Terminal
from textssl.system.threads import choose_threads, use
from textssl.training.tracking import announce

UNITS = ("sentences", "passages")
SPARE = 8  # negatives asked for beyond those wanted, as some are of the anchor's own document
MATRIX_NUMBERS = 2**26  # similarities in memory at once, 256 MB


@dataclass(frozen=True)
class Mined:
    """Numbers of pairs found, drawn and written, and of drawn ones dropped, by reason."""

    out: Path
    found: int
    drawn: int
    written: int
    dropped: dict[str, int]


def mine(
    model: str | Path,
    out: str | Path,
    corpus: str | Path | None = None,
    pairs: str | Path | None = None,
    tokenizer: str | Path | None = None,
    unit: str = "sentences",
    num_negatives: int = 1,
    range_min: int = 0,
    range_max: int | None = None,
    margin: float | None = None,
    relative_margin: float | None = None,
    max_score: float | None = None,
    min_score: float | None = None,
    max_pairs: int = 20_000,
    max_tokens: int | None = None,
    seed: int = 0,
    threads: int | None = None,
) -> Mined:
    """Write pairs with hard negatives to `out` (.jsonl with text_a, text_b and negative, or negative_1 to negative_K).

    corpus: a prepared corpus, whose pairs are adjacent sentences or the first two passages of a document (`unit`);
    pairs: instead, a table with text_a and text_b. Negatives are other pairs' second texts, mined by
    sentence_transformers.util.mine_hard_negatives, which takes range_min, range_max, margin (as absolute_margin),
    relative_margin, max_score and min_score; never the pair's own texts, nor one of its document.
    tokenizer: the corpus's, where neither the model nor the place that prepare noted has it. max_pairs: a sample where
    there are more. threads: that compute; by default as many as cores. Raises UserError.
    """
    out, console, report = Path(out), Terminal(), DropReport()
    check_options(out, corpus, pairs, unit, num_negatives, range_min, range_max)
    check_seed(seed)
    with held_output(out, [] if pairs is None else expand_inputs([pairs])):
        folder = find_model(model)
        if corpus is not None:
            opened = Corpus.open(corpus)
            opened.check()
            words = corpus_tokenizer(opened, tokenizer, folder)
            drawn, found = corpus_pairs(opened, words, unit, size=max_pairs, seed=seed, report=report)
        else:
            drawn, found = table_pairs(str(pairs), size=max_pairs, seed=seed, report=report)
        kept = list({(pair.text_a, pair.text_b): pair for pair in reversed(drawn)}.values())[::-1]
        if len(kept) < 2:
            dropped = f" ({report.summary()})" if report.total else ""
            raise UserError(
                f"{corpus or pairs} gives {len(kept)} different pairs, of which at least 2 are needed{dropped}"
            )
        if found > len(drawn):
            console.print(f"Drew {len(drawn):,} of {found:,} pairs (--max-pairs).")
        announce(Terminal(stderr=True), f"mining with {use(choose_threads(threads))}")
        encoder = load_encoder(folder, max_tokens=max_tokens)
        wanted = min(num_negatives + SPARE, (range_max - range_min) if range_max else num_negatives + SPARE)
        bounds = {"range_min": range_min, "range_max": range_max, "absolute_margin": margin}
        bounds |= {"relative_margin": relative_margin, "max_score": max_score, "min_score": min_score}
        with working("looking for the nearest texts"):
            mined = mine_negatives(kept, encoder, wanted, bounds)
        rows = list(with_negatives(kept, mined, num_negatives, documents_of(drawn)))
        if not rows:
            raise UserError(
                f"none of {len(kept):,} pairs has {num_negatives} negatives within these bounds: loosen --margin, "
                "--max-score or --min-score, raise --range-max, or give more pairs"
            )
        write_rows(rows, out)
    dropped = {"pairs that are there already": len(drawn) - len(kept), "too few negatives": len(kept) - len(rows)}
    result = Mined(out, found, len(drawn), len(rows), {key: count for key, count in dropped.items() if count})
    show(console, result, report)
    return result


def check_options(
    out: Path,
    corpus: str | Path | None,
    pairs: str | Path | None,
    unit: str,
    num_negatives: int,
    range_min: int,
    range_max: int | None,
) -> None:
    if out.suffix != ".jsonl" or os.path.isdir(out):
        raise UserError(f"--out {out} must name a file that ends in .jsonl")
    if (corpus is None) == (pairs is None):
        raise UserError("give either --corpus DIR or --pairs FILE, to say where the pairs come from")
    if unit not in UNITS:
        raise UserError(f"--unit is {unit!r}, it must be one of {', '.join(UNITS)}")
    if num_negatives < 1 or range_min < 0:
        raise UserError("--num-negatives must be at least 1 and --range-min at least 0")
    if range_max is not None and range_max - range_min < num_negatives:
        raise UserError(
            f"--range-max {range_max} leaves {max(range_max - range_min, 0)} candidates after --range-min {range_min}, "
            f"fewer than --num-negatives {num_negatives}"
        )


class MinerModel:
    """What mine_hard_negatives needs of a model, provided by an encoder whose vectors have unit length."""

    device = torch.device("cpu")  # of the similarities

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder

    def encode_document(self, texts: Sequence[str], **_: Any) -> np.ndarray:
        return self.encoder.embed(texts, progress="embedding candidates")

    def encode_query(self, texts: Sequence[str], **_: Any) -> np.ndarray:
        return self.encoder.embed(texts, progress="embedding anchors")

    def similarity(self, a: Any, b: Any) -> torch.Tensor:
        return torch.as_tensor(a) @ torch.as_tensor(b).T

    def similarity_pairwise(self, a: Any, b: Any) -> torch.Tensor:
        return (torch.as_tensor(a) * torch.as_tensor(b)).sum(-1)


def mine_negatives(
    pairs: Sequence[Related], encoder: Encoder, num_negatives: int, bounds: dict[str, Any]
) -> dict[tuple[str, str], list[str]]:
    """(text_a, text_b) -> up to num_negatives negatives, the most similar first; pairs without any are left out."""
    from datasets import Dataset, disable_progress_bars
    from sentence_transformers.util import mine_hard_negatives

    disable_progress_bars()
    columns = {"text_a": [pair.text_a for pair in pairs], "text_b": [pair.text_b for pair in pairs]}
    with quiet_bars():
        found = mine_hard_negatives(
            Dataset.from_dict(columns),
            MinerModel(encoder),  # type: ignore[arg-type]
            num_negatives=num_negatives,
            output_format="labeled-list",
            faiss_batch_size=max(1, MATRIX_NUMBERS // len(pairs)),
            verbose=False,
            **bounds,
        )
    return {(row["text_a"], row["text_b"][0]): row["text_b"][1:] for row in found}  # type: ignore[index]


@contextmanager
def quiet_bars() -> Iterator[None]:
    """Where stderr is no terminal, hide the progress bar that the miner always shows: in a log it is noise."""
    with nullcontext() if sys.stderr.isatty() else redirect_stderr(io.StringIO()):
        yield


def documents_of(pairs: Sequence[Related]) -> dict[str, set[int]]:
    """The documents that each second text stands in. pairs: with those that are there already."""
    documents: dict[str, set[int]] = defaultdict(set)
    for pair in pairs:
        documents[pair.text_b].add(pair.document)
    return documents


def with_negatives(
    pairs: Sequence[Related],
    mined: dict[tuple[str, str], list[str]],
    num_negatives: int,
    documents: dict[str, set[int]],
) -> Iterator[dict[str, str]]:
    """Rows of the result: pairs with enough negatives that are neither their own texts nor from their document."""
    for pair in pairs:
        candidates = mined.get((pair.text_a, pair.text_b), [])
        own = (pair.text_a, pair.text_b)
        fit = [text for text in candidates if text not in own and pair.document not in documents[text]]
        if len(fit) < num_negatives:
            continue
        names = ["negative"] if num_negatives == 1 else [f"negative_{place + 1}" for place in range(num_negatives)]
        yield {"text_a": pair.text_a, "text_b": pair.text_b, **dict(zip(names, fit, strict=False))}


def write_rows(rows: Sequence[dict[str, str]], out: Path) -> None:
    write_text(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def show(console: Console, result: Mined, report: DropReport) -> None:
    """Pairs in, pairs out, and what became of the others."""
    if report.total:
        console.print(report.table())
    why = "; ".join(f"{reason}: {count:,}" for reason, count in result.dropped.items())
    console.print(
        f"{result.drawn:,} pairs in, {result.written:,} out with negatives{f' (dropped: {why})' if why else ''}: "
        f"{result.out}"
    )
