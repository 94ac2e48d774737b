"""The nodes of a Ray cluster answer requests, in the place of subprocesses of this machine (extra `ray`).

A request is a task of Ray: each of its processes prepares itself once from the first request, as a subprocess does, and
a task whose process or node is lost is done again elsewhere.
"""

from __future__ import annotations

import os
import signal
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from textssl.errors import UserError, excerpt
from textssl.system.interrupts import ENDING
from textssl.system.subprocesses import reply_of

ENGINES = ("local", "ray")  # the values of --engine
MISSING = '--engine ray needs Ray, which is not installed: pip install "textssl[ray]"'
RETRIES = 10  # of a task whose process or node was lost
CONNECT_SECONDS = 10
COUNT_SECONDS = 5.0  # for which the size of the cluster is taken for granted
STORE_BYTES = 2**29  # shared memory of a local cluster, for results on their way
_answers: dict[str, tuple[Any, Callable[[Any], Any]]] = {}  # in a process of a node: what it prepared, by key


def check_engine(engine: str, address: str | None, workers: int | None) -> bool:
    """Whether it is Ray that works. Raises UserError for an unknown engine, for one that is not installed, and for
    options that belong to the other one."""
    if engine not in ENGINES:
        raise UserError(f"--engine is {excerpt(engine)}, it must be one of {', '.join(ENGINES)}")
    if address is not None and engine != "ray":
        raise UserError("--address is of a Ray cluster: give --engine ray as well")
    if engine == "ray" and find_spec("ray") is None:
        raise UserError(MISSING)
    if address is not None and workers is not None:
        raise UserError("--workers is of this machine, --address of a cluster with CPUs of its own: leave one out")
    return engine == "ray"


class RayWorkers:
    """Workers (textssl.system.subprocesses) that are the nodes of the cluster that this process is connected to.

    what, module, first, environment: as for Helper; `module` has a function `prepare`, as answer_requests takes
    it. cpus, gpus: of each task. Raises UserError if `prepare` does there.
    """

    def __init__(
        self,
        ray: Any,
        what: str,
        module: str,
        first: Any,
        environment: Mapping[str, str],
        *,
        cpus: int = 1,
        gpus: int = 0,
    ) -> None:
        self.ray, self.what, self.cpus, self.gpus = ray, what, cpus, gpus
        self.key, self.first = uuid.uuid4().hex, ray.put(first)
        self.task = ray.remote(answer)
        self.options: dict[str, Any] = {"max_retries": RETRIES, "num_cpus": cpus, "num_gpus": gpus or None}
        self.given = (module, self.key, dict(environment))
        self.references: set[Any] = set()  # of tasks under way
        self.at_once, self.counted = 1, -COUNT_SECONDS  # tasks that the cluster runs at once, and when that was counted
        self.prepared = [self._submit(None, wanted="prepared").result()]

    @property
    def size(self) -> int:
        """Tasks that the cluster runs at once now."""
        now = time.monotonic()
        if now > self.counted + COUNT_SECONDS:
            resources = self.ray.cluster_resources()
            each = (("CPU", self.cpus), ("GPU", self.gpus))
            self.at_once = max(1, int(min(resources.get(name, 0) // count for name, count in each if count)))
            self.counted = now
        return self.at_once

    def submit(self, request: Any) -> Future[Any]:
        return self._submit(request)

    def everywhere(self, request: Any) -> list[Future[Any]]:
        strategies = import_module("ray.util.scheduling_strategies")
        nodes = [node for node in self.ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
        at = [strategies.NodeAffinitySchedulingStrategy(node["NodeID"], soft=True) for node in nodes]
        return [self._submit(request, strategy=one) for one in at]

    def _submit(self, request: Any, wanted: str = "answer", strategy: Any = "SPREAD") -> Future[Any]:
        task = self.task.options(**self.options, scheduling_strategy=strategy)
        reference = task.remote(*self.given, self.first, request, wanted)
        self.references.add(reference)
        result: Future[Any] = Future()
        reference.future().add_done_callback(partial(self._settle, result, reference))
        return result

    def _settle(self, result: Future[Any], reference: Any, done: Future[Any]) -> None:
        self.references.discard(reference)
        with suppress(InvalidStateError):  # nobody waits any longer
            if (error := done.exception()) is not None:
                result.set_exception(lost(self.what, error))
                return
            kind, value = done.result()
            if kind == "answer":
                result.set_result(value)
            elif kind == "wrong input":
                result.set_exception(UserError(value))
            else:
                result.set_exception(RuntimeError(f"{self.what} failed:\n{value}"))

    def close(self) -> None:
        for reference in list(self.references):
            with suppress(Exception):  # the cluster may be gone
                self.ray.cancel(reference, force=True)


def cluster_words(ray: Any) -> str:
    """How large the cluster is now: `2 Ray nodes with 64 CPUs`."""
    nodes = len([node for node in ray.nodes() if node["Alive"]])
    counts = [(int(ray.cluster_resources().get(name, 0)), name) for name in ("CPU", "GPU")]
    held = " and ".join(f"{count} {name}{'s' * (count != 1)}" for count, name in counts if count)
    return f"{nodes} Ray node{'s' * (nodes != 1)} with {held}"


def check_versions(wanted: Mapping[str, str], found: Mapping[str, str]) -> None:
    """UserError where this process has other versions than the machine that asked; the message names this one.

    To be called where a process prepares itself, so that a node which comes late is asked too. By name both.
    """
    for name, number in wanted.items():
        if (own := found.get(name, "missing")) != number:
            raise UserError(
                f"the node {socket.gethostname()} has {name} {own}, where the command runs it is {number}: install the "
                "same versions"
            )


def installed(*packages: str) -> dict[str, str]:
    """The versions of those packages that there are, by name."""
    found: dict[str, str] = {}
    for name in packages:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def lost(what: str, error: BaseException) -> Exception:
    """What to say of a task that did not come to its end."""
    text = str(error)
    if "failed to import on the worker" in text or "No module named 'textssl" in text:
        return UserError("this version of textssl is not installed on all nodes of the cluster: install it there")
    return RuntimeError(f"{what} was lost, after {RETRIES} more tries: {text}")


def answer(
    module: str, key: str, environment: dict[str, str], first: Any, request: Any, wanted: str
) -> tuple[str, Any]:
    """In a process of a node: the kind of an answer, and its value."""
    try:
        if key not in _answers:
            _answers.clear()  # what was prepared for others would stay in memory
            os.environ.update(environment)
            _answers[key] = import_module(module).prepare(first)
        prepared, function = _answers[key]
        return "answer", prepared if wanted == "prepared" else function(request)
    except UserError as error:
        return reply_of(error)
    except Exception as error:
        kind, words = reply_of(error)
        return kind, f"on the node {socket.gethostname()}: {words}"


def check_address(address: str) -> None:
    """OSError where nothing listens at host:port, for which Ray would wait a minute."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()


@contextmanager
def ray_cluster(address: str | None, num_cpus: int | None = None) -> Iterator[Any]:
    """The module `ray`, connected to a cluster; a connection that this process has already is used.

    address: as Ray takes it (auto, host:port, ray://host:port); None: a cluster of num_cpus CPUs is started on this
    machine and ends with the block. Raises UserError where Ray is not installed or no cluster answers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # as newer versions do by themselves
    import ray  # pyright: ignore[reportMissingImports]

    if ray.is_initialized():
        yield ray
        return
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    if not address:
        settings |= {"num_cpus": num_cpus, "include_dashboard": False, "object_store_memory": STORE_BYTES}
    handlers = {number: signal.getsignal(number) for number in ENDING}
    try:
        try:
            if address:
                check_address(address)
            ray.init(address=address or "local", **settings)
        except Exception as error:  # of Ray, of gRPC and of sockets
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            if not address:
                raise UserError(f"Ray cannot be started here ({reason})") from error
            hint = (
                "" if os.environ.get("RAY_AUTH_MODE") else "; one that asks for a token needs RAY_AUTH_MODE=token here"
            )
            raise UserError(f"--address {address}: no Ray cluster can be joined there ({reason}){hint}") from error
        finally:
            for number, handler in handlers.items():  # Ray sets its own
                with suppress(ValueError):  # not in the main thread
                    signal.signal(number, handler)
        yield ray
    finally:
        ray.shutdown()
