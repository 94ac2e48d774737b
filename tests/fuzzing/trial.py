"""One input, what is done with it, and how that ended."""

from __future__ import annotations

import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from types import FrameType

from textssl.errors import UserError

SECONDS = 10  # of one input in this process, before it counts as a hang


class Outcome(StrEnum):
    accepted = "accepted"
    refused = "clear errors"
    traceback = "tracebacks"
    hang = "hangs"
    wrong = "silent wrongs"


FAULTS = (Outcome.traceback, Outcome.hang, Outcome.wrong)


class Wrong(AssertionError):
    """What was accepted is not what an independent reading gives, or what is sound was refused."""


class Hang(BaseException):
    """No end in time; no Exception, so that nothing on the way takes it for one of its own."""


@dataclass
class Trial:
    """An input. what: in one line. run: uses it, and raises UserError where it is refused. clean: must be accepted."""

    what: str
    run: Callable[[], None]
    clean: bool = False


def random_of(seed: int, kind: str, number: int) -> Random:
    """The random numbers of one input, which depend on no other."""
    return Random(f"{seed}/{kind}/{number}")


def outcome_of(trial: Trial, seconds: int = SECONDS) -> tuple[Outcome, str]:
    """How a trial ends, and the error behind that."""

    def give_up(number: int, frame: FrameType | None) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        trial.run()
        return Outcome.accepted, ""
    except UserError as error:
        return (Outcome.wrong if trial.clean or too_long(str(error)) else Outcome.refused), str(error)
    except Hang:
        return Outcome.hang, traceback.format_exc()
    except Wrong as error:
        return Outcome.wrong, str(error)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # panics of Rust are no Exception
        return Outcome.traceback, traceback.format_exc()
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def too_long(message: str) -> bool:
    """Whether an error is no message for a person any more."""
    return len(message) > 20_000 or not message.strip()


def check(holds: bool, message: str) -> None:
    if not holds:
        raise Wrong(message[:2000])
