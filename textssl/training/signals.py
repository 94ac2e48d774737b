"""SIGINT and SIGTERM become a request that the loop answers at the end of a step."""

from __future__ import annotations

import signal
from types import FrameType


class StopSignals:
    """While entered, the first SIGINT or SIGTERM is remembered in `name`; a second SIGINT interrupts at once."""

    def __init__(self):
        self.name: str | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> StopSignals:
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
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
        self.name = signal.Signals(number).name
