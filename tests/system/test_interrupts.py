"""Programs stopped by a signal: how soon, with which code, and what they leave. Each is a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BEGIN = """
import hashlib, os, signal, sys, threading, time
sys.path.insert(0, {root!r})
from textssl.system.files import scratch_folder, written_file, written_folder
from textssl.system.interrupts import Interrupted, ended_by_signals, ending_on_signals, resumable
def ready():
    print("ready", flush=True)
def stuck():  # in one call, which no Python handler can leave
    threading.Timer(0.3, ready).start()
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
def end(work):
    with ending_on_signals():
        try:
            work()
        except Interrupted as signal:
            sys.exit(signal.code)
"""
MAKING = """
def work():
    with written_folder("model") as side, written_file("out.txt") as aside, scratch_folder(place=".") as scratch:
        (side / "half").write_text("half")
        (scratch / "half").write_text("half")
        {waiting}
end(work)
"""


def start(program: str, folder: Path, *before: str) -> subprocess.Popen[str]:
    """A process that has said "ready"."""
    command = [*before, sys.executable, "-c", BEGIN.format(root=str(ROOT)) + program]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


def stop(process: subprocess.Popen[str], number: int) -> tuple[int, float, str]:
    """Exit code, seconds until then, and what stood on standard error."""
    started = time.monotonic()
    process.send_signal(number)
    try:
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    return process.returncode, time.monotonic() - started, errors


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("waiting", ["ready(); time.sleep(60)", "stuck()"])
def test_a_signal_ends_within_two_seconds_and_leaves_nothing(number: signal.Signals, waiting: str, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old").write_text("old")
    code, seconds, errors = stop(start(MAKING.format(waiting=waiting), tmp_path), number)
    assert code == 128 + number and seconds < 2
    assert "Traceback" not in errors and (f"stopped by {number.name}" in errors) == (waiting == "stuck()")
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == ["model", "model/old"]


def test_an_interrupt_that_is_swallowed_ends_the_program_all_the_same(tmp_path):
    swallowing = """
def work():
    try:
        ready()
        time.sleep(60)
    except Interrupted:
        time.sleep(60)
end(work)
"""
    code, seconds, _ = stop(start(swallowing, tmp_path), signal.SIGTERM)
    assert code == 143 and seconds < 2


@pytest.mark.slow
def test_an_interrupt_within_a_destructor_ends_the_program_without_a_traceback(tmp_path):
    destroying = """
class Slow:
    def __del__(self):
        ready()
        time.sleep(60)
def work():
    slow = Slow()
    del slow
    time.sleep(60)
end(work)
"""
    code, seconds, errors = stop(start(destroying, tmp_path), signal.SIGTERM)
    assert code == 143 and seconds < 2 and errors.split() == ["stopped", "by", "SIGTERM"]


@pytest.mark.slow
def test_whoever_takes_the_signals_has_them(tmp_path):
    taking = """
from textssl.training.signals import StopSignals, left_alone
def work():
    with StopSignals() as signals:
        ready()
        while signals.name is None:
            time.sleep(0.01)
        time.sleep(2)
        print(signals.name, flush=True)
    with left_alone(), StopSignals() as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
end(work)
"""
    process = start(taking, tmp_path)
    process.send_signal(signal.SIGHUP)
    output, _ = process.communicate(timeout=60)
    assert (output, process.returncode) == ("SIGHUP\n", 143)


@pytest.mark.slow
def test_a_forked_child_ends_alone(tmp_path):
    forking = """
def work():
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(1)
    os.kill(child, signal.SIGTERM)
    _, status = os.waitpid(child, 0)
    time.sleep(2)
    print("ready", os.WTERMSIG(status), flush=True)
with ending_on_signals():
    work()
"""
    command = [sys.executable, "-c", BEGIN.format(root=str(ROOT)) + forking]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.returncode) == ("ready 15\n", 0)


@pytest.mark.slow
def test_what_nohup_keeps_away_stays_away(tmp_path):
    waiting = "end(lambda: (ready(), time.sleep(2), print('done')))"
    process = start(waiting, tmp_path, "nohup")
    process.send_signal(signal.SIGHUP)
    output, _ = process.communicate(timeout=60)
    assert (output, process.returncode) == ("done\n", 0)


def test_handlers_are_as_before_after_a_quiet_end():
    from textssl.system.interrupts import ending_on_signals

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with ending_on_signals():
        assert signal.getsignal(signal.SIGTERM) != before[1]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


RESUMABLE = """
with ended_by_signals():
    with resumable():
        {waiting}
"""


@pytest.mark.slow
@pytest.mark.parametrize("waiting", ["ready(); time.sleep(60)", "stuck()"])
def test_work_that_can_be_gone_on_with_ends_with_its_code(waiting: str, tmp_path):
    code, seconds, errors = stop(start(RESUMABLE.format(waiting=waiting), tmp_path), signal.SIGTERM)
    assert code == 75 and seconds < 2 and "stopped by SIGTERM: start again to continue" in errors
