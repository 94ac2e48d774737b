"""Records of hub data sets. Whether the hub answers is tested first, as its client would try for half a minute."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

from textssl.data.text.inputs import hub_reference
from textssl.data.text.records import Record
from textssl.errors import UserError

CONNECT_SECONDS, ANSWER_SECONDS = 2.5, 10.0


def unreachable() -> str | None:
    """Why the hub cannot be reached, in words; None where it answers, whatever the answer."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    if constants.HF_HUB_OFFLINE:
        return "the hub is not asked, since HF_HUB_OFFLINE is set"
    timeout = (CONNECT_SECONDS, ANSWER_SECONDS, ANSWER_SECONDS, CONNECT_SECONDS)  # connect, read, write, pool
    try:
        get_session().head(constants.ENDPOINT, timeout=timeout)
    except Exception as error:  # of httpx or httpx2, depending on the version of the client
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return f"the hub ({constants.ENDPOINT}) could not be reached: {reason}"
    return None


@contextmanager
def not_asking(settings: Any) -> Iterator[None]:
    """Within the block the hub's clients use their cache alone, without the network. settings: datasets.config."""
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


def hub_records(source: str) -> Iterator[Record]:
    name, config, split = hub_reference(source)
    offline = unreachable()
    import datasets  # imported here, as it takes seconds and files do not need it
    from datasets import config as settings

    try:
        with not_asking(settings) if offline else nullcontext():  # what is in the cache can still be read
            rows = datasets.load_dataset(name, config, split=split, streaming=True)
    except Exception as error:  # the hub's client raises many kinds, all of them about the reference or the network
        if offline:
            raise UserError(
                f"{source} cannot be opened: {offline}, and the cache does not hold it; files are named by their path, "
                "such as notes/*.jsonl"
            ) from error
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"{source} cannot be opened: {reason}; check the name, the split and the network") from error
    for number, row in enumerate(rows, start=1):
        fields: Mapping[str, Any] = row  # type: ignore[assignment]
        yield Record(f"{source}#{number}", fields, fields.keys())
