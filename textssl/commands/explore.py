"""`textssl explore`: what a model makes of texts, as tables, JSON and a page with a map of them."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from textssl.data.samples.cache import sample_path
from textssl.data.text.documents import DropReport, expand_inputs, read_documents
from textssl.errors import UserError, excerpt
from textssl.evaluation.exploring import clusters, nearest, plane, way
from textssl.evaluation.figures.analogies import analogies
from textssl.evaluation.figures.disentanglement import Disentanglement, disentanglement
from textssl.evaluation.grammar import FACTORS, sentences
from textssl.inference.encoders import load_encoder
from textssl.inference.features import Encoder
from textssl.inference.loading import find_model
from textssl.report.explored.tables import tables
from textssl.report.page import write_page
from textssl.system.files import check_output, write_text
from textssl.system.progress import working
from textssl.system.terminal import Terminal

QUERIES, NEAREST, NEAR = 3, 5, 6  # queries where none is given; neighbours shown; neighbours on the page
TEXT, TYPICAL = 240, 3
SENTENCES, WORDS = 1_500, 5_000
JSON, PAGE = "explore.json", "explore.html"


def explore(
    model: str | Path,
    input: Sequence[str | Path] | str | Path,
    out: str | Path = "explored",
    query: Sequence[str] = (),
    between: Sequence[str] = (),
    analogy: Sequence[str] = (),
    num_clusters: int = 8,
    max_texts: int = 2_000,
    scores: bool = True,
    text_column: str = "text",
    one_document_per: str = "blank-line",
    seed: int = 0,
) -> dict[str, Any]:
    """Look at the vectors that a model gives to texts: print tables, write OUT/explore.json and OUT/explore.html.

    model: a model folder, a run folder, `sample:minilm`, or a hub name. input: texts, as `textssl embed` takes them.
    query: texts whose neighbours are shown; by default a few of the input. between: two texts; the texts nearest to the
    way from one to the other. analogy: questions "king man woman", king - man + woman among the words of the texts.
    num_clusters: groups of k-means. max_texts: where there are more, a random sample. scores: also the word analogies
    of the sample `analogies` and a score of disentanglement on sentences whose factors are known (both English).
    Returns what is written. Raises UserError.
    """
    folder, out = find_model(model), Path(out)
    check_output(out / JSON)
    if len(between) not in (0, 2):
        raise UserError(f"--between needs two texts, and got {len(between)}: --between TEXT --between TEXT")
    questions = [read_question(question) for question in analogy]
    texts = read_texts(input, max_texts, text_column, one_document_per, seed)
    if num_clusters < 2 or num_clusters > len(texts):
        raise UserError(f"--num-clusters is {num_clusters}, it must be from 2 to the number of texts, {len(texts)}")
    encoder = load_encoder(folder)
    vectors = embedded(encoder, texts, "reading texts")
    asked = list(query) or [
        texts[place] for place in np.linspace(0, len(texts) - 1, min(QUERIES, len(texts))).astype(int)
    ]
    places, cosines = nearest(vectors, vectors, NEAR + 1)
    found: dict[str, Any] = {
        "model": str(model),
        "texts": [shortened(text) for text in texts],
        "neighbours": neighbours(encoder, texts, vectors, asked),
        "between": between_texts(encoder, texts, vectors, between),
        "clusters": [
            {
                "size": len(one.texts),
                "words": one.words,
                "typical": [shortened(texts[place]) for place in one.texts[:TYPICAL]],
                "members": one.texts.tolist(),
            }
            for one in clusters(texts, vectors, num_clusters, seed)
        ],
        "analogy": answered(encoder, texts, questions),
        "analogies": analogies(encoder.embed, sample_analogies())._asdict() if scores else None,
        "factors": factors(encoder, seed) if scores else None,
        "map": map_of(vectors),
        "near": [
            [[int(place), round(float(cosine), 3)] for place, cosine in zip(*row, strict=True) if place != own][:NEAR]
            for own, row in enumerate(zip(places, cosines, strict=True))
        ],
    }
    console = Terminal()
    for table in tables(found):
        console.print(table)
    write_text(out / JSON, json.dumps(found, ensure_ascii=False, indent=1) + "\n")
    write_page(out / PAGE, "textssl.report.explored", found)
    console.print(f"A map of {len(texts):,} texts: {out / PAGE}; every figure: {out / JSON}", soft_wrap=True)
    return found


def read_texts(input: Sequence[str | Path] | str | Path, most: int, column: str, unit: str, seed: int) -> list[str]:
    """Distinct texts of the input in its order, a random sample of `most` where there are more. Raises UserError."""
    inputs = [input] if isinstance(input, str | Path) else list(input)
    report = DropReport()
    with working("reading the input", bar=False):
        documents = read_documents(expand_inputs(inputs), text_column=column, one_document_per=unit, report=report)
        texts = list(dict.fromkeys(document.text for document in documents))
    dropped = f" (dropped: {report.summary()})" if report.total else ""
    if len(texts) < 2:
        raise UserError(f"at least two texts are needed: {', '.join(map(str, inputs))} has {len(texts)}{dropped}")
    if report.total:
        Terminal(stderr=True).print(f"{report.total:,} records dropped: {report.summary()}")
    if len(texts) > most:
        kept = np.sort(np.random.default_rng(seed).choice(len(texts), most, replace=False))
        Terminal(stderr=True).print(f"{most:,} of {len(texts):,} texts, drawn at random (--max-texts)")
        texts = [texts[place] for place in kept]
    return texts


def embedded(encoder: Encoder, texts: Sequence[str], progress: str | None = None) -> np.ndarray:
    return np.asarray(encoder.embed(texts, progress=progress), dtype=np.float32)


def map_of(vectors: np.ndarray) -> list[list[float]]:
    """(texts, 2) coordinates to a thousandth of their spread, which is small where all texts are nearly the same."""
    places = plane(vectors)
    spread = max(float(np.ptp(places)), 1e-12)
    return places.round(max(2, 3 - math.floor(math.log10(spread)))).tolist()


def shortened(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= TEXT else plain[: TEXT - 1] + "…"


def neighbours(
    encoder: Encoder, texts: Sequence[str], vectors: np.ndarray, asked: Sequence[str]
) -> list[dict[str, Any]]:
    """The nearest texts to each query, without the query itself."""
    places, cosines = nearest(vectors, embedded(encoder, asked), NEAREST + 1)
    found: list[dict[str, Any]] = []
    for text, row, cosine in zip(asked, places, cosines, strict=True):
        near = [(place, value) for place, value in zip(row, cosine, strict=True) if texts[place] != text][:NEAREST]
        lines = [{"text": shortened(texts[int(place)]), "cosine": float(value)} for place, value in near]
        found.append({"query": shortened(text), "nearest": lines})
    return found


def between_texts(
    encoder: Encoder, texts: Sequence[str], vectors: np.ndarray, ends: Sequence[str]
) -> list[dict[str, Any]]:
    if not ends:
        return []
    start, end = embedded(encoder, ends)
    return [
        {"at": share, "text": shortened(texts[place]), "cosine": cosine}
        for share, place, cosine in way(vectors, start, end)
    ]


def read_question(question: str) -> tuple[str, str, str]:
    """ "king man woman" -> its words. Raises UserError."""
    words = re.findall(r"\w+", question)
    if len(words) != 3:
        raise UserError(
            f"--analogy is {excerpt(question)}: give three words, as 'king man woman' for king - man + woman"
        )
    return words[0], words[1], words[2]


def answered(encoder: Encoder, texts: Sequence[str], questions: Sequence[tuple[str, str, str]]) -> list[dict[str, Any]]:
    """The words of the texts nearest to each a - b + c, the three left out."""
    if not questions:
        return []
    counted = Counter(word for text in texts for word in set(re.findall(r"[^\W\d_]{2,}", text)))
    words = [word for word, count in counted.most_common(WORDS) if count > 1]
    vectors = embedded(encoder, words)
    found = []
    for question in questions:
        first, minus, plus = embedded(encoder, question)
        left_out = {word.lower() for word in question}
        spelled = sum(word.lower() in left_out for word in words)  # King and KING too
        places, cosines = nearest(vectors, (first - minus + plus)[None], NEAREST + spelled)
        near = [
            {"text": words[place], "cosine": float(cosine)}
            for place, cosine in zip(places[0], cosines[0], strict=True)
            if words[place].lower() not in left_out
        ]
        found.append({"question": "{} - {} + {}".format(*question), "nearest": near[:NEAREST]})
    return found


def sample_analogies() -> list[dict[str, str]]:
    lines = sample_path("sample:analogies").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def factors(encoder: Encoder, seed: int) -> dict[str, Any]:
    """Disentanglement on sentences of a grammar, and of the same vectors after a random rotation."""
    texts, drawn = sentences(SENTENCES, seed)
    codes = embedded(encoder, texts)
    width = codes.shape[1]
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(width, width)))
    with working("finding factors in the vectors", bar=False):
        own, rotated = (plain(disentanglement(code, drawn, seed)) for code in (codes, codes @ rotation))
    return {"sentences": len(texts), **own, "rotated": rotated}


def plain(found: Disentanglement) -> dict[str, Any]:
    values = asdict(found)
    del values["importances"]
    values["accuracies"] = dict(zip(FACTORS, (float(share) for share in found.accuracies), strict=True))
    return values
