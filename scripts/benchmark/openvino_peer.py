"""SentenceTransformer.encode through OpenVINO, in another Python than ours.

sentence-transformers needs optimum-intel for that, which allows only older versions of transformers than ours:

    python3 -m venv PEER
    PEER/bin/pip install torch==2.13.0 sentence-transformers 'optimum-intel[openvino]'
    PEER/bin/pip uninstall torchvision    # that comes along, and may be of another build of torch
    python scripts/benchmark/embedding.py --model minilm --openvino-python PEER/bin/python
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


class OpenVINOPeer:
    """The other Python's process, from here. OpenVINO computes as it does by default: in bfloat16 where the processor
    has it.

    python: the other interpreter. folder: of a model in sentence-transformers' layout. texts: all that it will be asked
    for. max_tokens: where they are cut.
    """

    def __init__(self, python: Path, folder: Path, texts: list[str], max_tokens: int | None, threads: int) -> None:
        self.process = subprocess.Popen(
            [python, "-P", __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.used = 0.0  # seconds of processor time
        self.versions = self.ask({"folder": str(folder), "texts": texts, "max_tokens": max_tokens, "threads": threads})

    def ask(self, wanted: Any) -> Any:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{json.dumps(wanted)}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"the peer's Python ended with {self.process.wait()}")
        return json.loads(answer)

    def encode(self, batch_size: int, count: int | None = None) -> None:
        """Embed the first `count` texts, or all."""
        self.used += self.ask({"batch_size": batch_size, "count": count})

    def vectors(self, count: int) -> np.ndarray:
        """Of the first `count` texts."""
        import numpy as np

        with tempfile.NamedTemporaryFile(suffix=".npy") as file:
            self.ask({"batch_size": 32, "count": count, "out": file.name})
            return np.load(file.name)

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()  # which closes the pipes too


def main() -> None:
    """In the other Python: a model and texts come, then what to embed."""
    import numpy as np
    import openvino  # pyright: ignore[reportMissingImports] (not a requirement)
    import sentence_transformers

    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print must not mix with the answers
    given = json.loads(sys.stdin.readline())
    settings = {"INFERENCE_NUM_THREADS": given["threads"]}
    model = sentence_transformers.SentenceTransformer(
        given["folder"], backend="openvino", device="cpu", model_kwargs={"ov_config": settings}
    )
    if given["max_tokens"] is not None:
        model.max_seq_length = given["max_tokens"]
    versions = f"sentence-transformers {sentence_transformers.__version__}, OpenVINO {openvino.__version__}"
    print(json.dumps(versions), file=answers, flush=True)
    for line in sys.stdin:
        wanted = json.loads(line)
        used = time.process_time()
        texts = given["texts"][: wanted["count"]]
        vectors = model.encode(texts, batch_size=wanted["batch_size"], show_progress_bar=False)
        if "out" in wanted:
            np.save(wanted["out"], np.asarray(vectors))
        print(json.dumps(time.process_time() - used), file=answers, flush=True)


if __name__ == "__main__":
    main()
