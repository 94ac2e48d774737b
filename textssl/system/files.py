"""Where results are written: checked before the work, and there whole or not at all after it."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

from textssl.errors import UserError, printable
from textssl.system.exchange import exchange
from textssl.system.interrupts import undone
from textssl.system.locks.lock import hold, lock_file

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}  # errors that only writing causes
RUST_ERROR = re.compile(r"\bos error (\d+)\b|\bcode: (\d+)")  # of safetensors and tokenizers, which raise no OSError
KINDS = {  # what a result cannot replace
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def check_output(path: str | Path, inputs: Iterable[str | Path] = (), *, name: str = "--out") -> Path:
    """UserError, before the work, where a result file cannot or must not be written; leaves nothing behind.

    inputs: what the command reads; all files in a folder count, names of samples and hub data sets do not. name: of the
    option or key that gave the path. Returns the path.
    """
    path = Path(path)
    place = _place(path)
    kind = stat.S_IFMT(place.stat().st_mode) if os.path.exists(place) else stat.S_IFREG
    if kind == stat.S_IFDIR:
        raise UserError(f"{name} is the folder {path}; it must name a file, such as {path / 'result'}")
    if kind != stat.S_IFREG:
        raise UserError(f"{name} {path} is {KINDS.get(kind, 'no regular file')}; it must name a regular file")
    check_place(path, name=name)
    if not os.path.exists(place):
        return path
    for source in _single_files(inputs):
        if os.path.samefile(source, place):
            raise UserError(f"{name} {path} is an input itself ({source}): name another file")
    if not os.access(place, os.W_OK):
        raise UserError(f"{name} {path} cannot be written: {os.strerror(errno.EACCES)}")
    return path


@contextmanager
def held_output(path: str | Path, inputs: Iterable[str | Path] = (), *, name: str = "--out") -> Iterator[Path]:
    """A result file that only this command writes while the block runs; first checked as by `check_output`."""
    check_output(path, inputs, name=name)
    with hold(lock_file(_place(path)), f"{name} {path}", name):
        yield Path(path)


def check_folder(path: str | Path, own: Sequence[str], mark: str, *, name: str = "--out") -> Path:
    """UserError where a result folder cannot be made, or would take the place of files that its command did not make.

    own: patterns, relative to the folder, of the files that an earlier result may hold. mark: a file that it must hold.
    """
    path = Path(path)
    check_place(path, name=name)
    if path.exists() and not path.is_dir():
        raise UserError(f"{name} {path} is a file, it must be a folder to make")
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if not file.is_dir() or file.is_symlink())
        names = [file.relative_to(path).as_posix() for file in files]
        foreign = [file for file in names if mark not in names or not any(fnmatch(file, one) for one in own)]
        if foreign:
            listed = ", ".join(map(printable, foreign[:3]))
            raise UserError(f"{name} {path} holds other files ({listed}): choose a new folder")
    return path


def check_place(path: str | Path, *, name: str = "--out") -> None:
    """UserError where nothing can be made at a path: read-only, no permission, too long a name, a file in the way.

    This is tried out in a scratch folder, which is removed again.
    """
    place = _place(path)
    nearest = next((folder for folder in place.parents if os.path.exists(folder)), place)
    if not nearest.is_dir():
        raise UserError(f"{name} {path} cannot be written: {nearest} is a file")
    try:
        with tempfile.TemporaryDirectory(prefix=".textssl-", dir=nearest) as scratch:
            aside = _aside(Path(scratch) / place.relative_to(nearest), "replaced")
            aside.parent.mkdir(parents=True, exist_ok=True)
            aside.touch()
    except OSError as error:
        raise UserError(f"{name} {path} cannot be written: {error.strerror or error}") from None


def expanded(path: str | Path) -> str:
    """A path with `~` or `~USER` at its beginning replaced by the home folder. Raises UserError."""
    text = str(path)
    if not text.startswith("~"):
        return text
    try:
        return str(Path(text).expanduser())
    except RuntimeError:
        raise UserError(
            f"{text}: there is no user of that name with a home folder; write ./{text} for a file in this folder"
        ) from None


@contextmanager
def written_file(path: str | Path) -> Iterator[Path]:
    """A temporary file beside `path`, which is flushed and renamed to path if the block ends without an error.

    A link is followed. If the operating system refuses to write it, UserError gives path and reason, and nothing is
    left behind.
    """
    place = _place(path)
    aside = _aside(place, "new")
    with writing(path, aside):
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            aside.unlink(missing_ok=True)  # left by a killed writer
            aside.touch()
            mode = stat.S_IMODE(aside.stat().st_mode)
            with undone(aside.unlink):
                yield aside
            aside.chmod(mode)  # safetensors writes 0600, whatever the umask says
            flush(aside)
            os.replace(aside, place)
        finally:
            with suppress(OSError):
                aside.unlink()


@contextmanager
def scratch_folder(prefix: str = "textssl-", place: str | Path | None = None) -> Iterator[Path]:
    """A folder that is removed after the block, however the program ends (except by SIGKILL).

    place: where it is made; None: the system's folder for temporary files.
    """
    with (
        tempfile.TemporaryDirectory(prefix=prefix, dir=place) as folder,
        undone(partial(shutil.rmtree, folder, ignore_errors=True)),
    ):
        yield Path(folder)


def write_text(path: str | Path, text: str) -> Path:
    """Write a file of UTF-8 text, whole or not at all; what UTF-8 cannot encode (in file names) is escaped."""
    with written_file(path) as aside:
        aside.write_text(text, encoding="utf-8", errors="backslashreplace")
    return Path(path)


@contextmanager
def written_folder(path: str | Path) -> Iterator[Path]:
    """An empty folder beside `path`, which takes the place of path if the block ends without an error.

    Its files get the mode that the umask prescribes. What an interrupted earlier run left is removed first. Raises
    UserError where another process writes to the same place or the operating system refuses to write. An existing path
    is replaced, and a link followed: the caller has to check before that it may be (`check_folder`).
    """
    place = _place(path)
    side = _aside(place, "partial")
    with writing(path, side, _aside(place, "replaced")), hold(lock_file(place), str(path), "place"):
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            _clean(place, side)
            with undone(partial(_clean, place, side)):
                side.mkdir()
                yield side
                settle(side)
                put(side, place)
        finally:
            _clean(place, side)


def put(side: Path, place: Path) -> None:
    """Move a folder that was made aside into place; at every moment the name leads to the old folder or the new one.

    If the file system cannot exchange two names, there is a moment between two renames in which the old folder is
    `.NAME.replaced`; the next writer restores it if the new one did not follow. In the end the old one is removed.
    """
    old = side
    if not os.path.lexists(place):
        side.rename(place)
    elif not exchange(side, place):
        old = _aside(place, "replaced")
        place.rename(old)
        side.rename(place)
    flush(place.parent)
    _remove(old)


@contextmanager
def writing(path: str | Path, *asides: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write `path`, or what is made aside for it, into a UserError."""
    try:
        yield
    except Exception as error:
        reason = refusal(error, _place(path), *map(_place, asides))
        if reason is None:
            raise
        raise UserError(f"{path} cannot be written: {reason}") from error


def refusal(error: Exception, place: Path, *asides: Path) -> str | None:
    """The reason, if an error means a full disk or is about place, a folder above it or an aside; else None."""
    if not isinstance(error, OSError):
        found = RUST_ERROR.search(str(error))
        code = int(found[1] or found[2]) if found else None
        return os.strerror(code) if code in NO_ROOM else None
    if error.errno in NO_ROOM:
        return error.strerror or os.strerror(error.errno)
    if error.errno is None and "requested and" in str(error):  # numpy's message for a short write
        return os.strerror(errno.ENOSPC)
    file = error.filename
    if not isinstance(file, str | bytes):
        return None
    file = _place(os.fsdecode(file))
    ours = place.is_relative_to(file) or any(file.is_relative_to(aside) for aside in asides)
    return error.strerror if ours else None


def settle(folder: Path) -> None:
    """Give all files of a new folder the mode that the umask prescribes (safetensors writes 0600), and flush them."""
    mode = stat.S_IMODE(folder.stat().st_mode) & 0o666  # of a folder that was just made
    for file in (*folder.rglob("*"), folder):
        if file.is_symlink():
            continue
        if file.is_file():
            file.chmod(mode)
        flush(file)


def flush(path: Path) -> None:
    """Force a file or a folder's entries to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some disks cannot flush a folder
            raise
    finally:
        os.close(handle)


def _place(path: str | Path) -> Path:
    """Where a path leads, with links resolved."""
    return Path(os.path.realpath(path))


def _aside(place: Path, ending: str) -> Path:
    return place.with_name(f".{place.name}.{ending}")


def _clean(place: Path, side: Path) -> None:
    """Remove side folders; the old folder is restored if the new one did not take its place."""
    old = _aside(place, "replaced")
    if old.exists() and not place.exists():
        old.rename(place)
    _remove(side)
    _remove(old)


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    if path.is_file():
        path.unlink()


def _single_files(inputs: Iterable[str | Path]) -> Iterator[Path]:
    for source in map(Path, inputs):
        if os.path.isdir(source):
            yield from (file for file in source.rglob("*") if file.is_file())
        elif os.path.exists(source):
            yield source
