"""Files behind URLs (http, s3, gs and whatever else fsspec knows): which there are, and their bytes as a stream."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, NamedTuple

from textssl.errors import UserError

_URL = re.compile(r"(?!hf://)[A-Za-z][A-Za-z0-9+.-]*://")
_MAGIC = re.compile(r"[*?\[]")  # of a pattern
_WEB = ("http", "https")  # where files cannot be listed, and a ? begins a query
_PACKAGES = {  # protocol -> the package that fsspec needs for it
    **dict.fromkeys(("s3", "s3a"), "s3fs"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("az", "abfs", "abfss", "adl"), "adlfs"),
    **dict.fromkeys(("sftp", "ssh"), "paramiko"),
    **dict.fromkeys(_WEB, "aiohttp"),
}
_VERSION_KEYS = (
    *("size", "ETag", "Content-MD5", "md5Hash"),
    *("Last-Modified", "LastModified", "last_modified", "mtime", "updated", "created"),
)
BUFFER_BYTES = 2**20
CONNECT_SECONDS, READ_SECONDS = 30, 120  # for which a web server is waited for
TRIES = 4  # of a read that fails
WAIT_SECONDS = 1.0  # before the second one; doubled for each of the next


class RemoteEntry(NamedTuple):
    """A file: its URL, its path within the folder or pattern that was asked for, and its size, if that is known.

    regular: False for a device, a pipe and the like, and for a link to nothing.
    """

    url: str
    path: str
    size: int | None
    regular: bool = True


def is_remote(source: str) -> bool:
    """Whether a source is a URL that fsspec opens; a data set of the hub (hf://) is none."""
    return _URL.match(source) is not None


def path_of(url: str) -> str:
    """The path in a URL, by whose suffix the format is known."""
    return re.split(r"[?#]", url, maxsplit=1)[0] if _protocol(url) in _WEB else url


def remote_files(url: str) -> tuple[list[RemoteEntry], bool]:
    """The files that a URL names, sorted by path, and whether it is the URL of a single file. Raises UserError.

    Those of a folder, or of a pattern that matches one, are all files below it.
    """
    files, path = _file_system(url)
    web = _protocol(url) in _WEB
    with _reported(url):
        if not web and _MAGIC.search(path):
            found = _below_folders(files, _followed(files, files.glob(path, detail=True)))
        elif not web and files.isdir(path):
            found = files.find(path, detail=True)
        else:
            info = files.info(path)
            return [RemoteEntry(url, path, info.get("size"))], True
        found = _followed(files, found)
    start = magic[0].rpartition("/")[0] if (magic := _MAGIC.split(path, 1))[1:] else path.rstrip("/")
    entries = [
        RemoteEntry(
            *(files.unstrip_protocol(name), name.removeprefix(start).lstrip("/"), info.get("size")),
            regular=info.get("type") != "other",
        )
        for name, info in found.items()
    ]
    return sorted(entries, key=lambda entry: entry.path), False


def _followed(files: Any, found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The same entries of a file system with what its links lead to, which some servers tell only if asked for it."""
    return {name: files.info(name) if info.get("type") == "link" else info for name, info in found.items()}


def _below_folders(files: Any, matched: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The files among entries of a file system, and those below the folders among them."""
    found: dict[str, dict[str, Any]] = {}
    walked: list[str] = []  # below the last of them, all is there
    for name, info in sorted(matched.items(), key=lambda item: item[0].split("/")):
        if walked and name.startswith(walked[-1]):
            continue
        if info.get("type") == "directory":
            walked.append(f"{name.rstrip('/')}/")
            found |= files.find(name, detail=True)
        else:
            found[name] = info
    return found


def version_of(url: str) -> str:
    """What changes when the file behind a URL does, as far as its server says so."""
    files, path = _file_system(url)
    with _reported(url):
        info = files.info(path)
    return " ".join(f"{key}={info[key]}" for key in _VERSION_KEYS if info.get(key) is not None)


def open_remote(url: str, *, seekable: bool = False) -> io.BufferedReader:
    """The bytes of the file behind a URL; what fails is tried again from where it was.

    Raises UserError, also from reads. seekable: whether parts are asked for, which not every web server gives.
    """
    return io.BufferedReader(_RemoteFile(url, seekable), BUFFER_BYTES)


class _RemoteFile(io.RawIOBase):
    def __init__(self, url: str, seekable: bool) -> None:
        self.url, self.random, self.position = url, seekable, 0
        self.system, self.path = _file_system(url)
        self.file = self._attempt(self._open)

    def _open(self) -> Any:
        """The file, at the position."""
        web = _protocol(self.url) in _WEB
        options = {"block_size": 0} if web and not self.random else {}  # one request, not one for each part
        with ExitStack() as opening:
            file = opening.enter_context(self.system.open(self.path, "rb", **options))
            if options:
                left = self.position
                while left and (piece := file.read(min(left, BUFFER_BYTES))):
                    left -= len(piece)
                if left:  # else its end would be taken for that of the file
                    raise OSError(f"it is {left:,} bytes shorter than what was read of it before")
            else:
                file.seek(self.position)
            opening.pop_all()
        return file

    def _attempt(self, act: Any) -> Any:
        """What act returns; where it fails, the file is opened anew and it is tried again."""
        wait = WAIT_SECONDS
        for attempt in range(TRIES):
            try:
                if attempt and act != self._open:
                    with suppress(Exception):  # it is what failed
                        self.file.close()
                    self.file = self._open()
                return act()
            except Exception as error:  # each file system raises errors of its own
                if isinstance(error, FileNotFoundError) and act == self._open:
                    raise UserError(_missing(self.url, error)) from error
                if attempt == TRIES - 1:
                    raise UserError(f"{self.url} cannot be read: {_words(error)}") from error
                time.sleep(wait)
                wait *= 2

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self.random

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.position = self._attempt(lambda: self.file.seek(offset, whence))
        return self.position

    def readinto(self, buffer: Any) -> int:
        piece = self._attempt(lambda: self.file.read(len(buffer)))
        buffer[: len(piece)] = piece
        self.position += len(piece)
        return len(piece)

    def close(self) -> None:
        if not self.closed and hasattr(self, "file"):
            self.file.close()
        super().close()


@contextmanager
def _reported(url: str) -> Iterator[None]:
    """Turns what a file system raises within the block into a UserError."""
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(_missing(url, error)) from error
    except Exception as error:  # each file system raises errors of its own
        raise UserError(f"{url} cannot be read: {_words(error)}") from error


def _missing(url: str, error: BaseException) -> str:
    return f"{url} is not there, or nobody answers ({_words(error.__cause__ or error)})"


def _protocol(url: str) -> str:
    return url.partition("://")[0].lower()


def _words(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0] or type(error).__name__


def _web_options() -> dict[str, Any]:
    """Limits for every wait, in the place of five minutes for a whole file, which may be read for longer."""
    from aiohttp import ClientTimeout

    return {
        "client_kwargs": {"timeout": ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=READ_SECONDS)}
    }


def _file_system(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path of the file in it. Raises UserError where there is none."""
    from fsspec.core import url_to_fs  # takes half a second to import

    protocol = _protocol(url)
    try:
        return url_to_fs(url, **(_web_options() if protocol in _WEB else {}))
    except ImportError as error:
        package = _PACKAGES.get(protocol)
        hint = f"pip install {package}" if package else _words(error)
        raise UserError(f"{url}: reading {protocol}:// needs a package that is not installed: {hint}") from error
    except ValueError as error:
        raise UserError(f"{url}: {protocol}:// is not known ({_words(error)})") from error
    except Exception as error:  # credentials, endpoints
        raise UserError(f"{url} cannot be opened: {_words(error)}") from error
