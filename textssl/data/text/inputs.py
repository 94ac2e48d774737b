"""What the user names as input (files, folders, globs, URLs, samples, hub data sets) as a list of single sources."""

import glob
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from textssl.data.samples.cache import PREFIX, sample_path
from textssl.data.samples.catalogue import SAMPLES
from textssl.data.text import drops
from textssl.data.text.remote_files import RemoteEntry, is_remote, path_of, remote_files, version_of
from textssl.data.text.streams import COMPRESSIONS
from textssl.errors import UserError
from textssl.system.files import expanded

FORMATS = (".txt", ".jsonl", ".csv", ".parquet")
HUB = "hf://"
_HUB_REFERENCE = re.compile(r"hf://(?P<name>[^/:@\s]+(?:/[^/:@\s]+)?)(?::(?P<config>[^@\s]+))?(?:@(?P<split>\S+))?")
_KNOWN = f"{', '.join(FORMATS)}, all but the last also with {', '.join(COMPRESSIONS)}"


def expand_inputs(inputs: Sequence[str | Path], report: drops.DropReport | None = None) -> list[str]:
    """Single sources in a fixed order: paths of files, URLs and `hf://` references, each itself a valid input.

    A folder stands for the files of known suffix below it, sorted by relative path; hidden, empty and other files are
    counted in `report`. A sample is fetched if it is not cached. No file is read.

    Raises UserError for a missing or unreadable file, an input without any file, an empty file, a file of unknown
    suffix, and a sample that holds no documents or cannot be fetched.
    """
    report = report if report is not None else drops.DropReport()
    if isinstance(inputs, str | Path):
        inputs = [inputs]
    sources = [source for item in inputs for source in _expand(str(item), report)]
    if not sources:
        raise UserError("there is no input: name at least one file, folder, glob, URL, sample:NAME or hf://owner/name")
    return sources


def file_format(source: str) -> str:
    """The format of a source: one of FORMATS or HUB. Raises UserError for any other suffix."""
    if source.startswith(HUB):
        return HUB
    path = Path(path_of(source))
    suffix = path.suffix.lower()
    if suffix in COMPRESSIONS:
        inner = Path(path.stem).suffix.lower()
        if inner == ".parquet":
            raise UserError(f"{source}: parquet is compressed inside, so give it as a plain .parquet file")
        suffix = inner
    if suffix not in FORMATS:
        raise UserError(f"{source}: the suffix {path.suffix or '(none)'} is unknown; textssl reads {_KNOWN}")
    return suffix


def hub_reference(source: str) -> tuple[str, str | None, str]:
    """(owner/name, config, split) of `hf://owner/name[:config][@split]`; the split is `train` where none is given."""
    found = _HUB_REFERENCE.fullmatch(source)
    if not found:
        raise UserError(f"{source} is not a hub data set: write hf://owner/name, hf://owner/name:config@split")
    return found["name"], found["config"], found["split"] or "train"


def fingerprint(sources: Sequence[str]) -> str:
    """A hash that changes with the paths, sizes and modification times of files, and with what servers say of URLs.

    A hub data set counts by its name.
    """
    digest = hashlib.sha256()
    for source in sources:
        line = f"{source}\0{_version(source)}\n"
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def _version(source: str) -> object:
    if source.startswith(HUB):
        return None
    if is_remote(source):
        return version_of(source)
    stat = Path(source).stat()
    return stat.st_size, stat.st_mtime_ns


def _expand(item: str, report: drops.DropReport) -> list[str]:
    if not item.strip():
        raise UserError("an input is empty: name a file, a folder, a glob or sample:NAME")
    if item.startswith(HUB):
        hub_reference(item)
        return [item]
    if item.startswith(PREFIX):
        path = sample_path(item)
        name = item.removeprefix(PREFIX).partition("/")[0]
        if SAMPLES[name].kind in ("model", "analogies"):
            raise UserError(f"{item} holds no documents: it is of the kind {SAMPLES[name].kind}")
        return [str(path)]
    if is_remote(item):
        return _expand_remote(item, report)
    path = Path(expanded(item))
    if os.path.isdir(path):  # not Path.is_dir, which raises for a name that is too long
        return _known(list(_walk(path)), f"the folder {item}", report)
    if os.path.exists(path):
        file_format(str(path))
        _check_file(path)
        if path.stat().st_size == 0:
            raise UserError(f"{item} is empty (0 bytes)")
        return [str(path)]
    if glob.has_magic(item):
        found = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]
        files = [file for match in found for file in (_walk(match) if match.is_dir() else [match])]
        return _known(list(dict.fromkeys(files)), f"the pattern {item}", report)
    raise UserError(f"there is no file or folder {item}")


def _expand_remote(url: str, report: drops.DropReport) -> list[str]:
    """The files that a URL names: one, those below a folder, or those of a pattern, with all below its folders."""
    files, single = remote_files(url)
    if single:
        file_format(url)
        if files[0].size == 0:
            raise UserError(f"{url} is empty (0 bytes)")
        return [url]
    sources: list[str] = []
    for file in files:
        reason = _unreadable(file)
        if reason is not None:
            report.add(reason, file.url)
        elif not file.regular:
            raise UserError(f"{file.url} is not a regular file")
        else:
            sources.append(file.url)
    if not sources:
        raise UserError(f"{url} holds no file to read ({len(files)} others); textssl reads {_KNOWN}")
    return sources


def _unreadable(file: RemoteEntry) -> str | None:
    """The reason for which a file in a folder is left out."""
    if any(part.startswith(".") for part in file.path.split("/")):
        return drops.HIDDEN
    try:
        file_format(file.url)
    except UserError:
        return drops.UNKNOWN_SUFFIX
    return drops.EMPTY_FILE if file.size == 0 else None


def _walk(folder: Path) -> Iterator[Path]:
    """All files below a folder, sorted by relative path; links are followed, hidden folders listed but not entered."""
    files: list[Path] = []
    seen: set[str] = set()
    for parent, folders, names in os.walk(folder, onerror=_refuse, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:  # a link to a folder above
            folders.clear()
            continue
        seen.add(real)
        hidden = [name for name in folders if name.startswith(".")]
        folders[:] = sorted(set(folders) - set(hidden))
        files += [Path(parent) / name for name in names + hidden]
    return iter(sorted(files, key=lambda file: file.relative_to(folder).as_posix()))


def _refuse(error: OSError) -> NoReturn:
    """UserError for a folder that cannot be listed, whose files would be left out."""
    raise UserError(f"the folder {error.filename} may not be read: {error.strerror}") from None


def _known(files: list[Path], where: str, report: drops.DropReport) -> list[str]:
    """The files that can be read; the others are counted. Raises UserError if none is left. where: for errors."""
    sources: list[str] = []
    for file in files:
        if file.name.startswith("."):
            report.add(drops.HIDDEN, str(file))
            continue
        try:
            file_format(str(file))
        except UserError:
            report.add(drops.UNKNOWN_SUFFIX, str(file))
            continue
        _check_file(file)
        if file.stat().st_size == 0:
            report.add(drops.EMPTY_FILE, str(file))
            continue
        sources.append(str(file))
    if not sources:
        raise UserError(f"{where} holds no file to read ({len(files)} others); textssl reads {_KNOWN}")
    return sources


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"{path} is not a regular file" if path.exists() else f"{path} is a link to nothing")
    if not os.access(path, os.R_OK):
        raise UserError(f"{path} may not be read: permission denied")
