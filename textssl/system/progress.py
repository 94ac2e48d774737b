"""What a command is doing: a progress bar on a terminal, elsewhere a line whenever it has been silent for long.

Every piece of work that may take long runs inside `working`. A thread reports on the innermost one, so that a call of
a library without callbacks is not silent either.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

EVERY_SECONDS = 20.0  # of silence before a line; with all delays it stays below 30
WAIT_SECONDS = 1.0  # between two checks

_works: list[Work] = []  # under way, the innermost last
_speaker: Speaker | None = None
_spoken = 0.0  # when the last line was printed, by the monotonic clock
_lines: set[str] = set()  # printed by say_once
_quiet = False


class Work:
    """A piece of work under way.

    words: what it is. total: the number of `unit`, if it is known. figures: further text for the bar or line. describe:
    gives that text instead, and is called only when a line is due.
    """

    def __init__(
        self, words: str, total: float | None, unit: str, describe: Callable[[], str] | None, bar: Progress | None
    ) -> None:
        self.words, self.total, self.unit, self.describe, self.bar = words, total, unit, describe, bar
        self.done, self.figures, self.started = 0.0, "", time.monotonic()
        if bar is not None:
            self.task = bar.add_task(words, total=total, figures="")

    def advance(self, count: float = 1, figures: str | None = None) -> None:
        """`count` more units are done."""
        self.at(self.done + count, figures)

    def at(self, done: float, figures: str | None = None) -> None:
        """`done` units are done in all."""
        self.done = done
        self.figures = self.figures if figures is None else figures
        if self.bar is not None:
            self.bar.update(self.task, completed=done, figures=self.figures or self.counted())

    def say(self, words: str) -> None:
        """Change the description of the work."""
        self.words = words
        if self.bar is not None:
            self.bar.update(self.task, description=words)

    def counted(self) -> str:
        if not self.unit or not self.done:
            return ""
        return f"{self.done:,.0f}{f' of {self.total:,.0f}' if self.total else ''} {self.unit}"

    def line(self) -> str:
        """The line to print now."""
        figures = self.describe() if self.describe is not None else self.figures or self.counted()
        seconds = int(time.monotonic() - self.started)
        return f"{self.words}: {figures}{', ' if figures else ''}{seconds // 60}m{seconds % 60:02d}s so far"


@contextmanager
def working(
    words: str,
    total: float | None = None,
    unit: str = "",
    *,
    describe: Callable[[], str] | None = None,
    bar: bool | None = None,
) -> Iterator[Work]:
    """A piece of work for the time of the block.

    bar: whether to draw a bar if standard error is a terminal; by default if there is a unit to count. Of several
    processes only the first prints lines.
    """
    drawn = None
    watched = sys.stderr.isatty() and not any(work.bar for work in _works)
    if watched and (bool(unit) if bar is None else bar):
        drawn = _bar()
    work = Work(words, total, unit, describe, drawn)
    begin(work)
    try:
        if drawn is None:
            yield work
        else:
            with drawn:
                yield work
    finally:
        end(work)


def _bar() -> Progress:
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from textssl.system.terminal import Terminal  # here, as `textssl --help` needs none of it

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(bar_width=20))
    figures = (TextColumn("{task.fields[figures]}", markup=False), TimeElapsedColumn())
    return Progress(*columns, *figures, console=Terminal(stderr=True), transient=True)


def said() -> None:
    """Note that something was printed: the next line is due in EVERY_SECONDS."""
    global _spoken
    _spoken = time.monotonic()


def say_once(line: str) -> None:
    """Print a line on standard error, once, and of several processes only in the first."""
    from textssl.system.terminal import Terminal  # here, as `textssl --help` needs none of it

    if line not in _lines and not _silent():
        _lines.add(line)
        Terminal(stderr=True).print(line, soft_wrap=True)
        said()


def begin(work: Work) -> None:
    global _speaker
    _works.append(work)
    if _speaker is None and not _silent():
        said()
        _speaker = Speaker()


def end(work: Work) -> None:
    global _speaker
    if work in _works:  # not in a process that was forked meanwhile
        _works.remove(work)
    if not _works and _speaker is not None:
        _speaker.stop()
        _speaker = None


def silence() -> None:
    """From now on this process prints no lines, as another one does."""
    global _quiet
    _quiet = True


def _silent() -> bool:
    """Whether this process was silenced, or is one of several and not the first."""
    return _quiet or (os.environ.get("RANK", "0") != "0" and os.environ.get("WORLD_SIZE", "1") != "1")


class Speaker:
    """The thread that prints a line when one is due."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._watch, name="progress", daemon=True)
        self.thread.start()

    def _watch(self) -> None:
        while not self.ended.wait(min(WAIT_SECONDS, EVERY_SECONDS)):
            if time.monotonic() - _spoken >= EVERY_SECONDS:
                speak()

    def stop(self) -> None:
        self.ended.set()
        if self.thread is not threading.current_thread():
            self.thread.join()


def speak() -> None:
    """Print what the innermost work is doing, unless a bar shows it."""
    for work in reversed(_works[:]):
        if work.bar is not None:
            return
        try:
            line = work.line()
        except (RuntimeError, LookupError):  # read while another thread changed it: the next check will do
            return
        said()
        from textssl.system.terminal import Terminal

        console = Terminal(stderr=True)
        console.print(line, style="dim", soft_wrap=True)
        return


def _before_fork() -> None:
    global _speaker
    if _speaker is not None:
        _speaker.stop()
        _speaker = None


def _after_fork() -> None:
    global _speaker
    if _works and _speaker is None and not _silent():
        _speaker = Speaker()


def _forget() -> None:
    global _speaker
    _works.clear()
    _speaker = None


# A process must not fork while it has this thread, and a forked one (a loader worker) prints nothing.
os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_forget)
