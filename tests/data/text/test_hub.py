"""A hub that cannot be reached is said in one line, soon, and one that answers is asked."""

from __future__ import annotations

import types

import huggingface_hub
import huggingface_hub.utils  # by name below
import pytest
from huggingface_hub import constants

from textssl.data.text import formats, hub
from textssl.data.text.documents import DropReport, read_documents
from textssl.errors import UserError


@pytest.fixture
def session(monkeypatch):
    """Answers HEAD requests with what it is told, and notes them."""
    asked: list[tuple[str, object]] = []
    session = types.SimpleNamespace(asked=asked, error=None)

    def head(address, timeout):
        asked.append((address, timeout))
        if session.error is not None:
            raise session.error

    session.head = head
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.utils, "get_session", lambda: session)
    return session


def test_any_answer_means_that_it_is_there(session):
    assert hub.unreachable() is None
    assert session.asked == [(constants.ENDPOINT, (2.5, 10.0, 10.0, 2.5))]


def test_no_answer_is_said_once_with_what_a_path_looks_like(session):
    session.error = ConnectionError("[Errno -2] Name or service not known\nmore")
    with pytest.raises(UserError) as caught:
        list(read_documents(["hf://owner/name"], report=DropReport()))
    assert str(caught.value) == (
        f"hf://owner/name cannot be opened: the hub ({constants.ENDPOINT}) could not be reached: [Errno -2] Name or "
        "service not known, and the cache does not hold it; files are named by their path, such as notes/*.jsonl"
    )
    assert len(session.asked) == 1


def test_offline_by_wish_asks_nobody(session, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hub.unreachable() == "the hub is not asked, since HF_HUB_OFFLINE is set" and not session.asked


def test_a_data_set_is_read_where_the_hub_answers(session, monkeypatch):
    rows = types.ModuleType("datasets")
    vars(rows)["load_dataset"] = lambda name, config, split, streaming: [{"text": f"{name} {split}"}]
    monkeypatch.setitem(__import__("sys").modules, "datasets", rows)
    assert [dict(record.fields) for record in formats.table_records("hf://a/b", ["text"], lambda *_: None)] == [
        {"text": "a/b train"}
    ]


def test_a_row_that_cannot_be_fetched_is_named(session, monkeypatch):
    def rows(*names, **options):
        yield {"text": "one"}
        raise ConnectionError("the server closed the connection\nmore")

    stand_in = types.ModuleType("datasets")
    vars(stand_in).update(load_dataset=rows, config=types.SimpleNamespace(HF_HUB_OFFLINE=False))
    monkeypatch.setitem(__import__("sys").modules, "datasets", stand_in)
    with pytest.raises(UserError, match=r"^hf://a/b#2 cannot be read: the server closed the connection$"):
        list(read_documents(["hf://a/b"], report=DropReport()))
