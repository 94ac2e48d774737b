"""The number of compute threads: what somebody says, what a container allows, and what is said of others."""

from __future__ import annotations

import time

import pytest
import torch

from textssl.errors import UserError
from textssl.system import threads
from textssl.system.threads import Moment, Threads, choose_threads, cpu_limit, of_load, threads_of_cores, use


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    threads_of_cores.cache_clear()
    yield
    threads_of_cores.cache_clear()


@pytest.mark.parametrize(
    ("cores", "busy", "own", "said"),
    [
        (2, [0, 0], 0, ""),
        (2, [0.9, 0.8], 0, ", others use 1.7: 1 may be faster"),
        (2, [1, 1], 0, ", others use 2.0: 1 may be faster"),
        (2, [0.3, 0.1], 0, ""),
        (8, [1] * 3 + [0.05] * 5, 0, ", others use 3.2: 5 may be faster"),
        (8, [1] * 3 + [0.05] * 5, 1, ", others use 2.2: 6 may be faster"),
        (2, [0.9, 0.1], 1, ""),
        (2, [], 0, ""),
    ],
)
def test_busy_cores_are_said(cores, busy, own, said):
    assert of_load(cores, busy, own) == said


@pytest.mark.parametrize(("imported", "waits"), [(0.1, 0.15), (3, 0), (1000, 0.25)])  # seconds ago
def test_the_load_is_that_since_the_start_if_that_was_not_long_ago(imported, waits, monkeypatch):
    now, slept = [5000.0], []

    def sleep(seconds):
        slept.append(seconds)
        now[0] += seconds

    def moment(_):  # the second core works all the time, half of that for this process
        return Moment(now[0], [10.0, now[0]], now[0] / 2)

    monkeypatch.setattr(threads.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(threads.time, "sleep", sleep)
    monkeypatch.setattr(Moment, "now", classmethod(moment))
    monkeypatch.setattr(threads, "IMPORTED", Moment.now())
    now[0] += imported
    busy, own = threads.loads()
    assert busy == pytest.approx([0.0, 1.0]) and own == pytest.approx(0.5)
    assert sum(slept) == pytest.approx(waits)


def test_a_process_that_computes_itself_is_no_load():
    begin = Moment.now()
    while time.process_time() < begin.own + 0.2:  # however long that takes on a busy machine
        sum(range(1000))
    end = Moment.now()
    assert end.own - begin.own >= 0.2 and sum(end.busy) - sum(begin.busy) > 0.1


def test_what_somebody_says_comes_first(monkeypatch):
    monkeypatch.setattr(threads, "loads", lambda: ([1.0] * 64, 0.0))
    monkeypatch.setattr(threads, "allowed_cores", lambda: [3, 5, 7])
    monkeypatch.setattr(threads, "cpu_limit", lambda: 8.0)
    assert choose_threads() == Threads(3, "of 3 cores, others use 3.0: 1 may be faster"), "the load decides nothing"
    assert choose_threads(before=2).count == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    assert choose_threads(before=2) == Threads(3, "OMP_NUM_THREADS")
    assert choose_threads(5, before=2) == Threads(5, "--threads")
    for wrong in (0, -1, 10**6):
        with pytest.raises(UserError, match=r"train\.threads is .* must be from 1"):
            choose_threads(wrong, name="train.threads")


def test_processes_share_the_cores_and_the_load_is_looked_at_once(monkeypatch):
    looks = []
    monkeypatch.setattr(threads, "loads", lambda: looks.append(1) or ([0.0] * 64, 0.0))
    monkeypatch.setattr(threads, "allowed_cores", lambda: list(range(8)))
    monkeypatch.setattr(threads, "cpu_limit", lambda: 6.5)
    assert [choose_threads().count for _ in range(3)] == [6, 6, 6] and len(looks) == 1
    threads_of_cores.cache_clear()
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert choose_threads().count == 1 and len(looks) == 1


def test_the_limit_of_a_container_is_read(tmp_path):
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert cpu_limit(tmp_path) == 1.5
    (tmp_path / "cpu.max").write_text("max 100000\n")
    unlimited = cpu_limit(tmp_path)
    (tmp_path / "cpu.max").unlink()
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert cpu_limit(tmp_path) == unlimited >= 1 and cpu_limit(tmp_path / "nothing") == unlimited
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("50000\n")
    assert cpu_limit(tmp_path) == 1.0


def test_libraries_follow(monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setenv("RAYON_NUM_THREADS", "1")
    try:
        assert use(Threads(2, "a test")).count == 2 == torch.get_num_threads()
    finally:
        use(Threads(before, "as before"))
