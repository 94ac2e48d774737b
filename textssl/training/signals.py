"""SIGINT, SIGTERM and SIGHUP become a request that the loop answers at the end of a step."""

from __future__ import annotations

import signal
from types import FrameType


class StopSignals:
    """While entered, the first SIGINT, SIGTERM or SIGHUP is remembered in `name`; a second SIGINT interrupts at once.

    A SIGHUP that was ignored before, as under nohup, stays ignored.
    """

    def __init__(self):
        self.name: str | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> StopSignals:
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
