"""Vectors of texts against SentenceTransformer.encode, on the same model, text and threads.

python scripts/benchmark/embedding.py                   both models, sentences and documents
python scripts/benchmark/embedding.py --model static --threads 1

Sentences are those of news articles (sample:news) with their lines that stand alone, so of mixed length; documents are
whole articles, cut at --max-tokens by both sides. Models: sample:minilm, and a static table of 256 numbers a word under
its tokenizer. The peer runs with its default batch_size of 32 and with the best one of a list, found beforehand; ours
is `load_encoder(...).embed`, which `textssl embed` writes down. The sides take turns; ratios are medians over rounds of
a round's own ratio, so that a busy machine troubles both alike; beside them stands the ratio of processor time, which
other programs hardly change (with --threads 1 it says the same; with more, threads that wait for each other count).
Vectors have to agree to 1e-5. Where the processor has bfloat16, MiniLM runs in that too, on both sides. On the static
model model2vec runs too, where it is installed, one process as ours. Where OpenVINO is installed (extra `export`),
MiniLM is exported to it, and our encoder of that folder is one more side, in both formats; and so is one whose
feed-forward layers have 8-bit weights (scripts/benchmark/eight_bits.py), as far as every cosine stays above 0.999. With
--openvino-python the peer goes through OpenVINO too (scripts/benchmark/openvino_peer.py says what that needs).
"""

from __future__ import annotations

import argparse
import atexit
import itertools
import json
import os
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[2]))

from scripts.benchmark.eight_bits import compress_weights
from scripts.benchmark.figures import Figure, add_json, in_turns, write
from scripts.benchmark.openvino_peer import OpenVINOPeer

if TYPE_CHECKING:
    import numpy as np

BATCH_SIZES = (1, 4, 8, 16, 64, 128, 512)
NARROW, EXPORTED, EIGHT_BITS = "ours, bfloat16", "ours, OpenVINO", "ours, OpenVINO, 8-bit weights"
# The layers of MiniLM with 8-bit weights: those behind attention and behind the feed-forward layers' activation, and in
# the lower half those before it. Queries, keys and values lose most and gain nothing.
NARROWED = re.compile(r"\.output\.dense|layer\.[012]\.intermediate")
PEER = "SentenceTransformer.encode, batches of {}"
SAME_TEXTS = 128  # that all sides have to embed alike
PROBE_TEXTS = {"sentences": 512, "documents": 128}  # of MiniLM, for finding the peer's best batch size


def sentences(articles: list[str], count: int) -> list[str]:
    from textssl.data.language.sentences import sentence_starts

    found: list[str] = []
    for article in articles:
        starts = [*sentence_starts(article), len(article)]
        pieces = [article[begin:end].strip() for begin, end in itertools.pairwise(starts)]
        found += [piece for piece in pieces if piece]
        if len(found) >= count:
            break
    return found[:count]


def model_folder(name: str, folder: Path) -> Path:
    """The folder of a model; the static one is made."""
    from textssl.data.samples.cache import sample_path

    minilm = sample_path("sample:minilm")
    if name == "minilm":
        return minilm
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer

    torch.manual_seed(0)
    words = Tokenizer.from_file(str(minilm / "tokenizer.json"))
    words.no_truncation()  # minilm's file cuts at 128, which a static model has no need of
    SentenceTransformer(modules=[StaticEmbedding(words, embedding_dim=256)]).save(str(folder / name))
    return folder / name


def openvino_folder(source: Path, out: Path, narrowed: re.Pattern[str] | None = None) -> Path:
    """The folder of MiniLM with an OpenVINO graph in place of the weights, as sentence-transformers lays it out.

    narrowed: names of layers whose weights are in 8 bits.
    """
    import openvino  # pyright: ignore[reportMissingImports] (not a requirement)
    import torch
    from transformers import AutoModel

    class Hidden(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = AutoModel.from_pretrained(source, attn_implementation="eager").eval()

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            return self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

    ids = torch.randint(5, 50, (2, 7))
    graph = openvino.convert_model(Hidden(), example_input={"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    if narrowed is not None:
        compress_weights(graph, narrowed)
    shutil.copytree(source, out, ignore=shutil.ignore_patterns("*.safetensors", "pytorch_model.bin"))
    (out / "openvino").mkdir()
    openvino.save_model(graph, out / "openvino" / "openvino_model.xml", compress_to_fp16=False)
    return out


def model2vec_of(peer):
    """The same table under the same tokenizer in model2vec, made to keep the unknown words that it would drop."""
    from model2vec import StaticModel  # pyright: ignore[reportMissingImports] (not a requirement)
    from tokenizers import Tokenizer

    table = peer[0].embedding.weight.detach().numpy()
    words = Tokenizer.from_str(peer.tokenizer.to_str())
    model = StaticModel(table, words, normalize=False, max_length=None)
    model.unk_token_id = None
    return model


def seconds(function: Callable[[], object], clock: Callable[[], float] = time.process_time) -> tuple[float, float]:
    """Seconds by the clock, and of processor time. clock: that of the process that does the work."""
    start, used = time.perf_counter(), clock()
    function()
    return time.perf_counter() - start, clock() - used


def cosines(vectors: np.ndarray, exact: np.ndarray) -> str:
    """How alike the rows are."""
    from textssl.inference.features import unit_rows

    found = (unit_rows(vectors) * unit_rows(exact)).sum(1)
    return f"mean {found.mean():.5f}, least {found.min():.5f}"


def compare(
    name: str, kind: str, texts: list[str], folder: Path, scratch: Path, arguments: argparse.Namespace
) -> list[Figure]:
    import numpy as np
    import torch
    from sentence_transformers import SentenceTransformer

    from textssl.inference.encoders import load_encoder
    from textssl.system.hardware import native_bfloat16

    peer = SentenceTransformer(str(folder), device="cpu").eval()
    limit = None if name == "static" else arguments.max_tokens
    if limit is not None:
        peer.max_seq_length = limit
    ours = load_encoder(folder, max_tokens=limit, normalize=None)

    def encode(size: int, some: list[str] = texts, model: SentenceTransformer = peer) -> np.ndarray:
        return np.asarray(model.encode(some, batch_size=size, show_progress_bar=False))

    def best_size(encode: Callable[[int], object]) -> int:
        return min(sizes, key=lambda size: min(seconds(lambda: encode(size)) for _ in range(2)))

    error = float(np.abs(encode(32, texts[:SAME_TEXTS]) - ours.embed(texts[:SAME_TEXTS])).max())
    if error > 1e-5:
        sys.exit(f"the vectors differ by {error:.1e}")
    sizes = BATCH_SIZES if name == "minilm" else (64, 128, 512, 1024, 4096)
    probe = texts[: PROBE_TEXTS[kind]] if name == "minilm" else texts
    best = best_size(lambda size: encode(size, probe))
    own = {"ours": ours}  # our encoders
    sides: dict[str, Callable[[], object]] = {"ours": lambda: ours.embed(texts)}
    for size in dict.fromkeys((32, best)):
        sides[PEER.format(size)] = partial(encode, size)
    if name == "static" and find_spec("model2vec"):
        other = model2vec_of(peer)
        sides["model2vec"] = lambda: other.encode(texts, max_length=None, use_multiprocessing=False)
        apart = np.abs(ours.embed(texts[:SAME_TEXTS]) - other.encode(texts[:SAME_TEXTS], max_length=None)).max()
        if apart > 1e-5:
            sys.exit(f"the vectors of model2vec differ by {apart:.1e}")
    if name == "minilm" and native_bfloat16(cuda=False):
        half = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": torch.bfloat16}).eval()
        half.max_seq_length = peer.max_seq_length
        size = best_size(lambda size: encode(size, probe, half))
        sides[f"{PEER.format(size)}, bfloat16"] = partial(encode, size, texts, half)
        own[NARROW] = load_encoder(folder, max_tokens=limit, normalize=None, compute="bfloat16")
    if name == "minilm" and find_spec("openvino"):
        added = [(EXPORTED, None, "float32")]
        if NARROW in own:
            added += [(f"{EXPORTED}, bfloat16", None, "bfloat16"), (EIGHT_BITS, NARROWED, "bfloat16")]
        for side, narrowed, compute in added:
            exported = scratch / ("openvino" if narrowed is None else "eight-bits")
            if not exported.exists():
                openvino_folder(folder, exported, narrowed)
            own[side] = load_encoder(exported, max_tokens=limit, normalize=None, compute=compute)
    exact = ours.embed(texts)
    clocks: dict[str, Callable[[], float]] = {}
    if name == "minilm" and arguments.openvino_python:
        elsewhere = OpenVINOPeer(arguments.openvino_python, folder, texts, limit, arguments.threads)
        atexit.register(elsewhere.close)
        size = best_size(lambda size: elsewhere.encode(size, len(probe)))
        side = f"{PEER.format(size)}, OpenVINO"
        sides[side], clocks[side] = partial(elsewhere.encode, size), lambda: elsewhere.used
        found = cosines(elsewhere.vectors(SAME_TEXTS), exact[:SAME_TEXTS])
        print(f"cosine of {side} to float32: {found} ({elsewhere.versions})")
    for side, encoder in own.items():
        sides[side] = partial(encoder.embed, texts)
        if side != "ours":
            print(f"cosine of {side} to float32: {cosines(encoder.embed(texts), exact)}")
    taken: dict[str, list[tuple[float, float]]] = {side: [] for side in sides}
    for _ in range(arguments.rounds):
        for side, function in sides.items():
            taken[side].append(seconds(function, clocks.get(side, time.process_time)))
    print(f"\n{name}, {len(texts):,} {kind}, largest difference {error:.0e}", flush=True)
    return report(name, kind, len(texts), taken, list(own))


def report(
    name: str, kind: str, count: int, taken: dict[str, list[tuple[float, float]]], own: list[str]
) -> list[Figure]:
    """Each of our sides beside each of the peers'. taken: seconds by the clock and of processor time, of each round."""
    figures = []
    for mine in own:
        speed = count / statistics.median(clock for clock, _ in taken[mine])
        print(f"  {mine:<24} {speed:10,.1f} {kind}/s", flush=True)
        for side in taken:
            if side not in own:
                pairs = list(zip(taken[mine], taken[side], strict=True))
                clock, processor = ([(count / one[by], count / other[by]) for one, other in pairs] for by in (0, 1))
                what = f"embedding {kind}, {name}{mine.removeprefix('ours')}"
                figures.append(in_turns(what, side, f"{kind}/s", clock, processor))
                print(f"    {figures[-1].ratio:6.2f} times {side}'s {figures[-1].theirs:,.1f} ", end="")
                print(f"({figures[-1].cpu_ratio:.2f} by processor time)", flush=True)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=["minilm", "static", "both"], default="both")
    parser.add_argument("--texts", choices=["sentences", "documents", "both"], default="both")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of both sides")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--max-tokens", type=int, default=256, help="of the transformer, both sides")
    parser.add_argument("--share", type=float, default=1.0, help="of the texts, for a quick look")
    parser.add_argument("--openvino-python", type=Path, help="a Python with sentence-transformers and optimum-intel")
    add_json(parser)
    arguments = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": str(arguments.threads), "RAYON_NUM_THREADS": str(arguments.threads)}

    import torch

    from textssl.data.samples.cache import sample_path

    torch.set_num_threads(arguments.threads)
    lines = Path(sample_path("sample:news")).read_text(encoding="utf-8").splitlines()
    articles = [json.loads(line)["text"] for line in lines]
    names = ["minilm", "static"] if arguments.model == "both" else [arguments.model]
    kinds = ["sentences", "documents"] if arguments.texts == "both" else [arguments.texts]
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as temporary:
        for name in names:
            folder = model_folder(name, Path(temporary))
            for kind in kinds:
                count = int(arguments.share * {"sentences": 2_000, "documents": 128}[kind])
                count *= 20 if name == "static" else 1
                texts = sentences(articles, count) if kind == "sentences" else articles[:count]
                figures += compare(name, kind, texts, folder, Path(temporary), arguments)
    write(arguments.json, figures)


if __name__ == "__main__":
    main()
