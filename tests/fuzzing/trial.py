"""One input, what is done with it, and how that ended."""

from __future__ import annotations

import signal
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from types import FrameType

from textssl.errors import UserError

SECONDS = 10  # of one input in this process, before it counts as a hang


class Outcome(StrEnum):
    """Of a fuzzed input or of a fault; accepted: used, right: the result of an undisturbed run."""

    accepted = "accepted"
    right = "right"
    refused = "clear errors"
    unseen = "not to be seen"
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


def table(
    heads: tuple[str, str],
    outcomes: Sequence[Outcome],
    counts: Mapping[str, Counter[str]],
    seconds: Mapping[str, float],
) -> str:
    """Markdown: how the inputs or cases of each kind ended, and all together. heads: of the kinds, of their numbers."""
    lines = [[*heads, *outcomes, "seconds"], ["---", *["---:"] * (len(outcomes) + 2)]]
    rows = {**counts, "all": sum(counts.values(), Counter())}
    for kind, ends in rows.items():
        taken = seconds[kind] if kind in counts else sum(seconds.values())
        lines.append([kind, f"{ends.total():,}", *(f"{ends[one]:,}" for one in outcomes), f"{taken:.0f}"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
