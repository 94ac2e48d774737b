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
        return f"the hub ({constants.ENDPOINT}) could not be reached: {_words(error)}"
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
    """The rows of a data set, as they are asked for. Raises UserError where it cannot be opened, or a row be read."""
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
        raise UserError(
            f"{source} cannot be opened: {_words(error)}; check the name, the split and the network"
        ) from error
    left, number = iter(rows), 0
    while True:
        number += 1
        try:
            fields: Mapping[str, Any] | None = next(left, None)  # type: ignore[arg-type]
        except Exception as error:  # as above: files are fetched and read as their rows are asked for
            raise UserError(f"{source}#{number} cannot be read: {_words(error)}") from error
        if fields is None:
            return
        yield Record(f"{source}#{number}", fields, fields.keys())


def _words(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0] or type(error).__name__
