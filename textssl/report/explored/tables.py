"""The findings of `textssl explore` as terminal tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.table import Table

from textssl.errors import printable

TEXT = 90  # characters of a text


def cut(text: str) -> str:
    shown = printable(" ".join(text.split()))
    return shown if len(shown) <= TEXT else shown[: TEXT - 1] + "…"


def tables(found: dict[str, Any]) -> Iterator[Table]:
    """One table for each finding."""
    for one in found["neighbours"]:
        yield listed(f"Nearest to: {cut(one['query'])}", ("cosine", "text"), one["nearest"])
    if found["between"]:
        rows = [{**one, "cosine": f"{one['at']:.2f}"} for one in found["between"]]
        yield listed("On the way from one text to the other", ("share", "nearest text"), rows)
    groups = Table(title="Groups, by words that name them")
    for heading in ("texts", "words", "most typical text"):
        groups.add_column(heading, justify="right" if heading == "texts" else "left", overflow="fold")
    for one in found["clusters"]:
        groups.add_row(str(one["size"]), ", ".join(map(printable, one["words"])), cut(one["typical"][0]))
    yield groups
    for one in found["analogy"]:
        yield listed(one["question"], ("cosine", "word"), one["nearest"])
    if found["analogies"]:
        of = found["analogies"]
        answered = Table(title=f"{of['questions']:,} English word analogies among {of['words']:,} words")
        answered.add_column("")
        answered.add_column("right", justify="right")
        answered.add_row("without the words of the question", f"{of['without_query_words']:.3f}")
        answered.add_row("with them", f"{of['with_query_words']:.3f}")
        best = sorted(of["sections"].items(), key=lambda item: -item[1])
        for name, share in best[:3] + best[3:][-2:]:
            answered.add_row(f"  {name}", f"{share:.3f}")
        yield answered
    if found["factors"]:
        of = found["factors"]
        title = f"Factors of {of['sentences']:,} sentences of an English grammar, by the model's dimensions"
        scores = Table(title=title, caption="rotated: the same vectors in random axes, whose dimensions mean nothing")
        for heading in ("", "this model", "rotated"):
            scores.add_column(heading, justify="right" if heading else "left")
        for name in ("disentanglement", "completeness", "informativeness"):
            scores.add_row(name, f"{of[name]:.3f}", f"{of['rotated'][name]:.3f}")
        for name, share in of["accuracies"].items():
            scores.add_row(f"  {name} found in", f"{share:.3f}", f"{of['rotated']['accuracies'][name]:.3f}")
        yield scores


def listed(title: str, headings: tuple[str, str], rows: list[dict[str, Any]]) -> Table:
    table = Table(title=title)
    table.add_column(headings[0], justify="right")
    table.add_column(headings[1], overflow="fold")
    for row in rows:
        cosine = row["cosine"]
        table.add_row(cosine if isinstance(cosine, str) else f"{cosine:.3f}", cut(row["text"]))
    return table
