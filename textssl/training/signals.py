"""SIGINT, SIGTERM and SIGHUP become a request that the loop answers at the end of a step."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_left_alone = False


@contextmanager
def left_alone() -> Iterator[None]:
    """Training within the block answers no signals: it is part of something that saves nothing, and just ends."""
    global _left_alone
    before, _left_alone = _left_alone, True
    try:
        yield
    finally:
        _left_alone = before


class StopSignals:
    """While entered, the first SIGINT, SIGTERM or SIGHUP is remembered in `name`; a second SIGINT interrupts at once.

    A SIGHUP that was ignored before, as under nohup, stays ignored.
    """

    def __init__(self):
        self.name: str | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> StopSignals:
        if _left_alone:
            return self
        try:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                    continue
                self._before[number] = signal.signal(number, self._remember)
        except ValueError:  # not the main thread: whoever owns the signals keeps them
            self._before = {}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self.name is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.name = self.name or signal.Signals(number).name
