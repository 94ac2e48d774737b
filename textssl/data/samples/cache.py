"""Named sample data: real text from packages on the Python index, cached as plain .jsonl files.

`sample:NAME` stands for the first part of a sample, `sample:NAME/PART` for another (`sample:newsgroups/test`).
"""

import difflib
import filecmp
import json
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from zipfile import ZipFile

from textssl.data.samples import excerpts
from textssl.data.samples.catalogue import SAMPLES
from textssl.data.samples.wheels import fetch_wheel
from textssl.errors import UserError, printable
from textssl.system.checksums import sha256_of, verify
from textssl.system.files import check_place, expanded, put, scratch_folder, writing

PREFIX = "sample:"
_MANIFEST = "sample.json"  # written last into a cached sample
_REVISION = 2  # raise when the records made from the same wheel change: cached samples are made anew


def cache_folder() -> Path:
    """Where samples are kept: $TEXTSSL_CACHE, or ~/.cache/textssl."""
    return Path(expanded(os.environ.get("TEXTSSL_CACHE") or "~/.cache/textssl"))


def sample_path(name: str) -> Path:
    """The cached, ready file of `NAME` or `NAME/PART` (with or without `sample:`), fetched first if need be.

    For a model it is the model's folder. Raises UserError for an unknown name or part, and when pip cannot fetch it.
    """
    name, part = _resolve(name)
    return _ready_folder(name) / file_name(name, part)


def without_sample(path: str | Path) -> str | Path:
    """`sample:NAME` as the path that it stands for, and any other path as it is. Raises UserError as `sample_path`."""
    return sample_path(str(path)) if str(path).startswith(PREFIX) else path


def get_sample(name: str, out: Path | None = None) -> Path:
    """Fetch a sample whole, every part of it, and return the folder that holds its files.

    With `out`, the files are copied there too, ready for use: `--input OUT` for text, `pretrained: OUT` for a model.
    Raises UserError as `sample_path` does, when `out` is a file or cannot be written, and when it holds files that
    belong to no sample or that differ from those of this one.
    """
    name, _ = _resolve(name)
    if out is not None and os.path.exists(out) and not out.is_dir():
        raise UserError(f"{out} is a file, --out must name a folder")
    if out is not None:
        check_place(out)
    ready = _ready_folder(name)
    source = ready / "model" if SAMPLES[name].kind == "model" else ready
    if out is None:
        return source
    files = [file.relative_to(source) for file in sorted(source.rglob("*")) if file.is_file()]
    files = [file for file in files if file.name != _MANIFEST]
    _check_out(out, source, files)
    try:
        with writing(out, out):
            out.mkdir(parents=True, exist_ok=True)
            with scratch_folder(f".{name}-", out) as side:
                copy = Path(shutil.copytree(source, side / "copy"))
                for file in (file for file in files if not (out / file).exists()):
                    (out / file).parent.mkdir(parents=True, exist_ok=True)
                    os.replace(copy / file, out / file)
    finally:
        with suppress(OSError):
            out.rmdir()  # where nothing could be written into it
    return out


def _check_out(out: Path, source: Path, files: list[Path]) -> None:
    """UserError where a folder holds files of no sample, or a file of this one with other content."""
    check_place(out / files[0])
    here = [file.relative_to(out) for file in sorted(out.rglob("*")) if not file.is_dir()]
    known = {*files, *(Path(file_name(name, part)) for name, one in SAMPLES.items() for part in one.parts)}
    foreign = [printable(file) for file in here if file not in known]
    if foreign:
        raise UserError(f"--out {out} holds other files ({', '.join(foreign[:3])}): choose a new folder")
    for file in sorted(set(files) & set(here)):
        if not filecmp.cmp(source / file, out / file, shallow=False):
            raise UserError(f"{out / file} differs from the sample's file: move it away, or choose a new folder")


def list_samples() -> list[dict[str, object]]:
    """One row a sample: name, kind, what it is, records by part, package, version, member, licence, sha256, cached."""
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
    with scratch_folder(f".{name}-", folder.parent) as side:
        made = side / "made"
        made.mkdir()
        with ZipFile(wheel) as archive:
            _write(name, archive, made)
        try:
            put(made, folder)
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
    files = {str(path.relative_to(folder)): sha256_of(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    manifest = {"revision": _REVISION, "sha256": sample.wheel.sha256, "files": files}
    (folder / _MANIFEST).write_text(json.dumps(manifest, indent=1))


def _is_ready(name: str, folder: Path) -> bool:
    """Whether the cached folder is whole and was made from the present wheel by the present code."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text())
        if manifest != {"revision": _REVISION, "sha256": SAMPLES[name].wheel.sha256, "files": dict(manifest["files"])}:
            return False
        found = verify({folder / file: str(sha256) for file, sha256 in manifest["files"].items()}, _memory())
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return not found.damaged


def _memory() -> Path:
    return cache_folder() / "verified"


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
