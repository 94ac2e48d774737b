"""Ray: two raylets, also with one or the driver killed in the middle, give the bytes of one machine (6 minutes)."""

from __future__ import annotations

import argparse
import http.server
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.evaluation.folders import save_model  # noqa: E402
from tests.tiny import texts, tiny_tokenizer  # noqa: E402
from textssl import tokenizer  # noqa: E402

FILES = 24
OPTIONS = ("--near-duplicates", "0.7", "--min-characters", "100")


def write_inputs(folder: Path, documents: int) -> list[str]:
    """Passages of English, some of them equal and many alike, in files."""
    rng, base = np.random.default_rng(0), [text.split() for text in texts()]
    paths = []
    for place in range(FILES):
        path = folder / f"in{place:02d}.jsonl"
        with path.open("w") as file:
            for number in range(documents):
                words = base[rng.integers(len(base))]
                start = rng.integers(max(1, len(words) - 80))
                own = rng.choice(words, 40).tolist() if number % 3 else []
                file.write(json.dumps({"text": " ".join([*words[start : start + 80], *own])}) + "\n")
        paths.append(str(path))
    return paths


def command(folder: Path, out: str, inputs: list[str], *options: str) -> list[str]:
    """`textssl prepare`, or `textssl embed` where `out` is a file."""
    given = ("--input", *inputs, "--out", str(folder / out))
    if out.endswith(".npy"):
        own = ("embed", "--model", str(folder / "model"), "--compute", "float32")
    else:
        own = ("prepare", "--tokenizer", str(folder / "tokenizer"), *OPTIONS)
    return [sys.executable, "-P", "-m", "textssl", *own, *given, *options]


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def finished(folder: Path, out: str, stage: str) -> int:
    """Tasks of a stage that are done."""
    return len(list((folder / f".{out}.stages" / stage).glob("[0-9]*/result.json")))


def wait_for(folder: Path, out: str, stage: str, tasks: int, process: subprocess.Popen[Any]) -> int:
    """How many tasks are done once `tasks` are, or once the stage has begun where there are none to wait for."""
    while process.poll() is None:
        done = finished(folder, out, stage)
        if done >= tasks and (folder / f".{out}.stages" / stage).exists():
            return done
        time.sleep(0.005)
    raise RuntimeError(f"the run ended before {tasks} tasks of `{stage}` were seen: give it more --documents")


def rows_of(folder: Path, out: str) -> int:
    """Texts that an unfinished `textssl embed` has saved."""
    try:
        return json.loads((folder / f".{out}.partial" / "progress.json").read_text())["progress"]["rows"]
    except OSError:
        return 0


def start_cluster() -> tuple[Any, Any]:
    """Two raylets with one CPU each; the second one."""
    from ray.cluster_utils import Cluster  # pyright: ignore[reportMissingImports]

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    return cluster, cluster.add_node(num_cpus=1)


@contextmanager
def web_server(folder: Path) -> Iterator[str]:
    """The URL of a web server for a folder."""
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def main(documents: int, stages: list[str]) -> int:
    if find_spec("ray") is None:
        print('Ray is not installed: pip install -c constraints.txt -e ".[ray]"')
        return 2
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer.save(tiny_tokenizer(), folder / "tokenizer")
        save_model(folder / "model", "bert")
        inputs = write_inputs(folder, documents)
        size = sum(Path(path).stat().st_size for path in inputs) / 1e6
        started = time.monotonic()
        subprocess.run(command(folder, "whole", inputs, "--workers", "2"), check=True, capture_output=True)
        print(f"one machine: {size:.1f} MB in {time.monotonic() - started:.0f} s", flush=True)
        expected = files_of(folder / "whole")
        cluster, second = start_cluster()

        def check(out: str, process: subprocess.Popen[Any], what: str) -> None:
            nonlocal failed
            printed = process.communicate()[0].decode()
            same = process.returncode == 0 and files_of(folder / out) == expected
            left = [path.name for path in folder.glob(f".{out}*")]
            print(f"{what}: same bytes {same}{f', left behind {left}' if left else ''}", flush=True)
            if not same or left:
                failed += 1
                print(printed[-3000:], flush=True)
            shutil.rmtree(folder / out, ignore_errors=True)

        def start(out: str, paths: list[str] = inputs) -> subprocess.Popen[Any]:
            options = ("--engine", "ray", "--address", cluster.address)
            return subprocess.Popen(
                command(folder, out, paths, *options), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )

        try:
            started = time.monotonic()
            check("two", start("two"), "two raylets")
            print(f"  in {time.monotonic() - started:.0f} s", flush=True)
            for stage in stages:
                process = start("killed")
                done = wait_for(folder, "killed", stage, 3 if stage in ("read", "encode") else 0, process)
                cluster.remove_node(second, allow_graceful=False)
                check("killed", process, f"a raylet killed after {done} tasks of `{stage}`")
                second = cluster.add_node(num_cpus=1)
            with web_server(folder) as url:
                process = start("web", [f"{url}/{Path(path).name}" for path in inputs])
                process.communicate()
            arrays = {name: data for name, data in expected.items() if name.endswith(".npy")}
            same = {name: data for name, data in files_of(folder / "web").items() if name.endswith(".npy")} == arrays
            print(f"two raylets, inputs from a web server: same shards {same}", flush=True)
            failed += not same
            process = start("resumed")
            done = wait_for(folder, "resumed", "encode", 6, process)
            process.kill()
            process.communicate()
            check("resumed", start("resumed"), f"a driver killed after {done} tasks of `encode`, and run again")
            vectors = [folder / "whole.npy", folder / "whole.ids.jsonl"]
            subprocess.run(command(folder, "whole.npy", inputs[:6], "--workers", "2"), check=True, capture_output=True)
            process = start("killed.npy", inputs[:6])
            while (rows := rows_of(folder, "killed.npy")) < 2000:
                if process.poll() is not None:
                    raise RuntimeError("the run ended before 2,000 texts were seen: give it more --documents")
                time.sleep(0.02)
            cluster.remove_node(second, allow_graceful=False)
            process.communicate()
            made = [folder / file.name.replace("whole", "killed") for file in vectors]
            same = [file.read_bytes() for file in made if file.exists()] == [file.read_bytes() for file in vectors]
            print(f"embed, a raylet killed after {rows:,} texts: same bytes {same}", flush=True)
            failed += not same
        finally:
            cluster.shutdown()
    print("the same bytes everywhere" if not failed else f"{failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=2000, help="of each input file")
    parser.add_argument("--stages", nargs="+", default=["read", "encode", "similar", "shard"])
    sys.exit(main(**vars(parser.parse_args())))
