"""`textssl predict`: texts -> labels with probabilities, by a fine-tuned model folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from textssl.data.text import drops
from textssl.data.text.documents import DropReport, expand_inputs, is_usable, read_documents
from textssl.data.text.formats import table_records
from textssl.data.text.inputs import file_format
from textssl.errors import UserError, listed, printable
from textssl.inference.loading import find_model, length_note
from textssl.inference.predictor import Item, Predictor, answer_fields, load_predictor
from textssl.system.files import held_output, written_file
from textssl.system.progress import working
from textssl.system.terminal import Terminal
from textssl.system.threads import choose_threads, use
from textssl.training.tracking import announce

WINDOW_TEXTS = 4_096  # sorted by length and computed together
SUFFIX = ".jsonl"


@dataclass(frozen=True)
class Predicted:
    """What became of a job. counts: texts of each predicted label; empty where the model gives scores. truncated: texts
    that were cut."""

    out: Path
    texts: int
    counts: dict[str, int]
    dropped: int
    truncated: int = 0


def predict(
    model: str | Path,
    input: Sequence[str | Path] | str | Path,
    out: str | Path,
    text_column: str = "text",
    one_document_per: str = "blank-line",
    strict: bool = False,
    threads: int | None = None,
) -> Predicted:
    """Write one object a text to `out`, in the order of the input: its source, its text, label and probabilities.

    model: what `textssl finetune` left, or any sequence classifier. input: as for `embed`; tables with text_a and
    text_b (and no text) hold pairs. A model of scores gives a score instead. Texts are cut where the model's folder
    says (model_max_length of its tokenizer); where it does not, a line says where. The file appears when it is
    complete. threads: that compute; by default as many as cores. Raises UserError.
    """
    out, console, report = Path(out), Terminal(), DropReport()
    if out.suffix != SUFFIX or os.path.isdir(out):
        raise UserError(f"--out is {out}: it must name a {SUFFIX} file")
    inputs = [str(path) for path in ([input] if isinstance(input, str | Path) else input)]
    sources = expand_inputs(inputs, report)
    items = read_items(sources, text_column, one_document_per, strict, report)
    with held_output(out, sources):
        announce(Terminal(stderr=True), f"predicting with {use(choose_threads(threads))}")
        texts, counts, predictor = write_answers(model, inputs, items, out, report)
    if report.total:
        console.print(report.table())
    shares = ", ".join(f"{name} {count:,}" for name, count in counts.items() if count) or "scores"
    line = printable(f"{texts:,} texts: {shares}; in {out}")
    console.print(line, soft_wrap=True)
    if cut := predictor.truncated:
        limit = f"are longer than {predictor.max_tokens:,} tokens and were cut there"
        console.print(f"{cut:,} of them ({cut / texts:.1%}) {limit}.", soft_wrap=True)
    return Predicted(out, texts, counts, report.total, cut)


def write_answers(
    model: str | Path, inputs: Sequence[str], items: Iterator[tuple[str, Item]], out: Path, report: DropReport
) -> tuple[int, dict[str, int], Predictor]:
    """Write the answer to every item; returns their number, how many got each label, and who answered."""
    first = next(items, None)
    if first is None:
        dropped = f" ({report.summary()})" if report.total else ""
        raise UserError(f"there is no text to classify in {', '.join(inputs)}{dropped}")
    predictor = load_predictor(model)
    if note := length_note(find_model(model), predictor.max_tokens):
        Terminal().print(note, soft_wrap=True)
    counts: dict[str, int] = {name: 0 for name in predictor.labels}
    waiting: list[list[tuple[str, Item]]] = []  # windows that were read and have no answers yet

    def windows() -> Iterator[Sequence[Item]]:
        window = [first, *islice(items, WINDOW_TEXTS - 1)]
        while window:
            waiting.append(window)
            yield [item for _, item in window]
            window = list(islice(items, WINDOW_TEXTS))

    texts = 0
    with written_file(out) as aside, aside.open("w", encoding="utf-8") as stream, working(
        "predicting", unit="texts"
    ) as work:  # fmt: skip
        for answers in predictor.stream(windows()):
            for (source, item), answer in zip(waiting.pop(0), answers, strict=True):
                fields = answer_fields(answer, predictor.labels)
                line = {"source": printable(source), **text_fields(item), **fields}
                stream.write(json.dumps(line, ensure_ascii=False) + "\n")
                if predictor.labels:
                    counts[fields["label"]] += 1
                texts += 1
            work.at(texts)
    return texts, counts, predictor


def text_fields(item: Item) -> dict[str, str]:
    return {"text": item} if isinstance(item, str) else {"text_a": item[0], "text_b": item[1]}


def read_items(
    sources: list[str], text_column: str, one_document_per: str, strict: bool, report: DropReport
) -> Iterator[tuple[str, Item]]:
    """(place, text or pair of texts). Raises UserError where an input holds both kinds."""
    kind: type | None = None
    drop = report.recorder(strict)
    for source in sources:
        for place, item in source_items(source, text_column, one_document_per, strict, report, drop):
            if kind not in (None, type(item)):
                raise UserError(f"{place}: texts and pairs of texts in one input: give them apart")
            kind = type(item)
            yield place, item


def source_items(
    source: str, column: str, unit: str, strict: bool, report: DropReport, drop: drops.Drop
) -> Iterator[tuple[str, Any]]:
    if file_format(source) == ".txt":
        for document in read_documents([source], one_document_per=unit, strict=strict, report=report):
            yield document.source, document.text
        return
    for record in table_records(source, [column, "text_a", "text_b"], drop):
        fields = [column] if column in record.fields else ["text_a", "text_b"]
        if not all(name in record.fields for name in fields):
            drop(drops.MISSING_COLUMN, record.place, f"{column}; there are {listed(record.columns)}")
        elif all(is_usable(record.fields[name], record.place, drop) for name in fields):
            values = [record.fields[name] for name in fields]
            yield record.place, values[0] if len(values) == 1 else tuple(values)
