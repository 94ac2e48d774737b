"""Whether the Hugging Face hub answers, asked once and quickly: its client tries again for half a minute."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

CONNECT_SECONDS, ANSWER_SECONDS = 2.5, 10.0


def unreachable() -> str | None:
    """Why the hub cannot be asked, in words; None where it answers, whatever it says."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    if constants.HF_HUB_OFFLINE:
        return "the hub is not asked, since HF_HUB_OFFLINE is set"
    timeout = (CONNECT_SECONDS, ANSWER_SECONDS, ANSWER_SECONDS, CONNECT_SECONDS)  # connect, read, write, pool
    try:
        get_session().head(constants.ENDPOINT, timeout=timeout)
    except Exception as error:  # of httpx or httpx2, by the version of the client
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return f"the hub ({constants.ENDPOINT}) could not be reached: {reason}"
    return None


@contextmanager
def not_asking(settings: Any) -> Iterator[None]:
    """The hub's clients take what is in their cache, without trying the network. settings: datasets.config."""
    from huggingface_hub import constants

    places: list[Any] = [constants, settings]
    before = [place.HF_HUB_OFFLINE for place in places]
    try:
        for place in places:
            place.HF_HUB_OFFLINE = True
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.HF_HUB_OFFLINE = value
