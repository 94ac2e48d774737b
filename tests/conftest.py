"""What every test shares: no progress bars, no network at import, small text, one thread count."""

from __future__ import annotations

import os
import signal

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # tests use local files alone; set 0 to try hub data
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # forked loader workers otherwise warn
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models: threads would only wait for each other
os.environ.setdefault("COLUMNS", "120")  # rich wraps tables and messages to the width of the terminal

for number in (signal.SIGINT, signal.SIGHUP):  # a job in the background, or under nohup, would hand its deafness on
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

LONG = ("test_worlds", "test_notebooks", "test_gpu_check")  # begin first: the processes of pytest-xdist end together


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.stem not in LONG)
    for item in items:
        unless = item.get_closest_marker("slow_unless")
        if unless is not None and not item.name.endswith(f"[{unless.args[0]}]"):
            item.add_marker(pytest.mark.slow)
