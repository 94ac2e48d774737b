"""SIGINT, SIGTERM and SIGHUP end a command soon, whatever it is doing, and leave nothing half made.

A signal raises `Interrupted` in the main thread, so that every `finally` between there and the command line does its
work. But Python runs a handler only between two of its own instructions, and a single call of a library may take
minutes: so a second thread learns of the signal at once and, if the program has not ended UNWINDING_SECONDS later,
undoes what was registered with `undone` and ends the process.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
UNWINDING_SECONDS = 1.2  # for the main thread to unwind, and the interpreter to exit
SHOW_CURSOR = b"\x1b[?25h"


class Interrupted(BaseException):
    """A signal asked for the end. Like KeyboardInterrupt no Exception, so that no handler of errors catches it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
        self.name = signal.Signals(number).name
        self.code = exit_code(number)


STOPPED = 75  # EX_TEMPFAIL of sysexits.h: start again to continue
_goes_on = 0  # blocks of `resumable` that are being run


def exit_code(number: int) -> int:
    """The exit code of a program that a signal ends now: by the convention of shells, unless it can be gone on with."""
    return STOPPED if _goes_on else 128 + number


@contextmanager
def resumable() -> Iterator[None]:
    """While the block runs, its work is saved as it is done: a signal ends the program with the code STOPPED."""
    global _goes_on
    _goes_on += 1
    try:
        yield
    finally:
        _goes_on -= 1


_undo: list[Callable[[], object]] = []


@contextmanager
def undone(undo: Callable[[], object]) -> Iterator[None]:
    """While the block runs, `undo` is called if the program has to be ended in the middle of it."""
    _undo.append(undo)
    try:
        yield
    finally:
        _undo.remove(undo)


@contextmanager
def ending_on_signals() -> Iterator[None]:
    """Within the block the first signal of ENDING raises Interrupted; later ones find the program on its way out.

    A signal that was ignored before, as SIGHUP under nohup, stays ignored. If another handler is set meanwhile
    (`StopSignals`), that one gets the signal. For the main program: once a signal has come, the process will end.
    """
    global _ending
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ending = _ending = Ending()
    before = {number: signal.getsignal(number) for number in ENDING}
    heard = [number for number in ENDING if before[number] is not signal.SIG_IGN]
    for number in heard:
        signal.signal(number, ending.interrupt)
    earlier = signal.set_wakeup_fd(ending.ear, warn_on_full_buffer=False)
    sys.unraisablehook = ending.unraisable
    try:
        yield
    finally:
        if not ending.under_way:  # if it is, its thread is about to end the process
            signal.set_wakeup_fd(earlier)
            for number in heard:
                signal.signal(number, before[number])
            sys.unraisablehook = ending.reported
            os.close(ending.ear)
            _ending = None


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """As ending_on_signals, for a command: says what ended it, and exits with code 128 + the signal's number."""
    if _ending is not None:
        yield
        return
    with ending_on_signals():
        try:
            yield
        except Interrupted as signal:
            leave(signal)


def leave(signal: Interrupted) -> NoReturn:
    """End a program that has unwound, without the seconds that the interpreter takes to shut down."""
    with suppress(OSError):
        os.write(2, f"{words(signal.number, signal.code)}\n".encode())
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    atexit._run_exitfuncs()  # should they take long, the other thread is still there
    os._exit(signal.code)


class Ending:
    """The handler of the signals, and the thread that makes sure that the process ends."""

    def __init__(self) -> None:
        self.under_way = False
        self.code: int | None = None  # with which the program ends, once a signal has come
        self.reported: Callable[[Any], object] = sys.unraisablehook
        self.mouth, self.ear = os.pipe()  # Python's own handler writes each signal's number into the ear
        os.set_blocking(self.ear, False)
        threading.Thread(target=self._watch, name="signals", daemon=True).start()

    def interrupt(self, number: int, frame: FrameType | None) -> None:
        if not self.under_way:
            self.under_way = True
            interrupted = Interrupted(number)
            self.code = interrupted.code
            raise interrupted

    def unraisable(self, lost: Any) -> None:
        """A hook for what a `__del__` raised: Interrupted is not reported; the other thread ends the program."""
        if not isinstance(lost.exc_value, Interrupted):
            self.reported(lost)

    def _watch(self) -> None:
        while heard := os.read(self.mouth, 1):
            number = heard[0]
            if number in ENDING and signal.getsignal(number) == self.interrupt:
                time.sleep(UNWINDING_SECONDS)
                end_now(number)
        os.close(self.mouth)


_ending: Ending | None = None


class _Forks:
    """A signal to a forked child, such as a loader worker, must not reach its parent, even right after the fork."""

    def __init__(self) -> None:
        self.mask: set[int] | None = None
        os.register_at_fork(before=self.before, after_in_parent=self.unblock, after_in_child=self.in_child)

    def before(self) -> None:
        if _ending is not None:
            self.mask = set(signal.pthread_sigmask(signal.SIG_BLOCK, ENDING))

    def unblock(self) -> None:
        if self.mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, self.mask)
        self.mask = None

    def in_child(self) -> None:
        if _ending is not None:
            signal.set_wakeup_fd(-1)
            for number in ENDING:
                if signal.getsignal(number) == _ending.interrupt:
                    signal.signal(number, signal.SIG_DFL)
        self.unblock()


_Forks()


def end_now(number: int) -> NoReturn:
    code = _ending.code if _ending is not None and _ending.code is not None else exit_code(number)
    say(words(number, code))
    end_process(code)


def say(text: str) -> None:
    """Write a line to standard error, from any thread and at any moment."""
    with suppress(OSError):
        if sys.stderr is not None and sys.stderr.isatty():
            os.write(2, SHOW_CURSOR)  # a progress bar may have hidden it
        os.write(2, f"\n{text}\n".encode())


def end_process(code: int) -> NoReturn:
    """Undo what is half made, the newest first, and end the process, from any thread and at any moment."""
    for undo in reversed(_undo):
        with suppress(BaseException):
            undo()
    os._exit(code)


def words(number: int, code: int) -> str:
    """What a command says when a signal has ended it."""
    return f"stopped by {signal.Signals(number).name}{': start again to continue' if code == STOPPED else ''}"
