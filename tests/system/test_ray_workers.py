"""Ray in the place of subprocesses: what is refused, and on a cluster answers, errors and lost processes.

The cluster is started where Ray is installed (extra `ray`); `scripts/verify.sh ray` loses a whole node.
"""

import os
import signal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from textssl.errors import UserError
from textssl.system import ray_workers
from textssl.system.ray_workers import RayWorkers, check_engine, ray_cluster


def prepare(first: int) -> tuple[str, Any]:
    """On a node: adds to the number that came first."""
    if first < 0:
        raise UserError(f"{first} is negative")

    def answer(request: Any) -> Any:
        if isinstance(request, str) and not Path(request).exists():
            Path(request).write_text("here once")
            os.kill(os.getpid(), signal.SIGKILL)
        return (first + request, os.environ["GIVEN"]) if isinstance(request, int) else Path(request).read_text()

    return f"ready with {first}", answer


def test_what_is_refused(monkeypatch):
    with pytest.raises(UserError, match="--engine is 'dask', it must be one of local, ray"):
        check_engine("dask", None, None)
    with pytest.raises(UserError, match="--address is of a Ray cluster"):
        check_engine("local", "auto", None)
    monkeypatch.setattr(ray_workers, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'pip install "textssl\[ray\]"'):
        check_engine("ray", None, None)
    monkeypatch.setattr(ray_workers, "find_spec", lambda name: name)
    with pytest.raises(UserError, match="leave one out"):
        check_engine("ray", "auto", 2)
    check_engine("ray", "auto", None)
    check_engine("ray", None, 2)


def test_a_task_that_was_lost_is_named():
    for words in (
        "No module named 'textssl.system.ray_workers'",
        "The remote function failed to import on the worker.",
    ):
        missing = ray_workers.lost("a task", RuntimeError(words))
        assert isinstance(missing, UserError) and "not installed on all nodes" in str(missing)
    assert "a task was lost, after 10 more tries: out of memory" in str(
        ray_workers.lost("a task", OSError("out of memory"))
    )


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed (extra `ray`)")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Ray 2.49 leaves its Popen objects
def test_a_cluster_answers_as_subprocesses_do(tmp_path: Path):
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with ray_cluster(None, num_cpus=2) as ray:
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
        workers = RayWorkers(ray, "a task", __name__, 10, {"GIVEN": "here"})
        assert workers.prepared == ["ready with 10"] and workers.size == 2
        answers = [workers.submit(number) for number in range(5)]
        assert [answer.result() for answer in answers] == [(10 + number, "here") for number in range(5)]
        assert [answer.result() for answer in workers.everywhere(1)] == [(11, "here")]
        with pytest.raises(RuntimeError, match=r"a task failed:\n(.|\n)*TypeError"):
            workers.submit(None).result()
        assert workers.submit(str(tmp_path / "seen")).result() == "here once", "its first process was killed"
        with pytest.raises(UserError, match=r"on the node \S+: .*: Is a directory"):
            workers.submit(str(tmp_path)).result()
        with pytest.raises(UserError, match="-1 is negative"):
            RayWorkers(ray, "a task", __name__, -1, {})
        workers.close()
    assert not ray.is_initialized()


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed (extra `ray`)")
def test_an_address_without_a_cluster():
    with (
        pytest.raises(UserError, match=r"--address 127\.0\.0\.1:1: no Ray cluster can be joined there"),
        ray_cluster("127.0.0.1:1"),
    ):
        pass
