"""The folder in which a corpus is prepared in stages: beside the result, and kept when a run is interrupted."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from textssl.data.corpus.stages.encoded import forget_arrays
from textssl.system.files import flush, put, settle, write_text, writing
from textssl.system.locks.lock import hold, lock_file

SETTINGS = "settings.json"


class WorkFolder:
    """folder: where stages leave results. differing: settings because of which an earlier run's were given up."""

    def __init__(self, place: Path, folder: Path, settings: dict[str, Any]) -> None:
        self.place, self.folder, self.settings = place, folder, settings
        self.differing: list[str] = []
        self.resumed = False

    def take_up(self) -> None:
        """Go on with what a run of the same settings left, or begin with an empty folder."""
        before = self.read_settings()
        self.resumed = before == self.settings
        if not self.resumed:
            if before is not None:
                keys = {**before, **self.settings}
                self.differing = [key for key in keys if before.get(key) != self.settings.get(key)]
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            write_text(self.folder / SETTINGS, json.dumps(self.settings))

    def read_settings(self) -> dict[str, Any] | None:
        try:
            found = json.loads((self.folder / SETTINGS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def finish(self, corpus: Path) -> None:
        """Move the finished corpus into place, and remove all else. A run that finds some of that begins anew."""
        settle(corpus)
        (self.folder / SETTINGS).unlink()
        flush(self.folder)
        put(corpus, self.place)
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def work_folder(out: Path, settings: dict[str, Any]) -> Iterator[WorkFolder]:
    """The folder `.NAME.stages` beside `out`, locked against a second run. settings: what results depend on."""
    place = Path(os.path.realpath(out))
    folder = place.with_name(f".{place.name}.stages")
    with writing(out, folder), hold(lock_file(place), f"--out {out}", "--out"):
        found = WorkFolder(place, folder, json.loads(json.dumps(settings)))
        found.take_up()
        try:
            yield found
        finally:
            if not any(file.is_dir() for file in folder.glob("*")):  # no task was done
                shutil.rmtree(folder, ignore_errors=True)
            forget_arrays()  # the next corpus may have the same name
