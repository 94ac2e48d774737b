"""What a rank does for a step, by the number of processes: a world of 1, 64 and 512 ranks simulated in one process.

python scripts/benchmark/worlds.py                    both tables: data, messages
python scripts/benchmark/worlds.py --only data --ranks 1 8

Each rank has as many samples of a step in every world, so that a step grows with it. `data`: CPU time and memory of
dataset[step] on ranks from the first to the last, on 150,000 passages of Python's manual (160M tokens; the first step,
which makes a window of the plan, is shown apart; Python's garbage collector rests), and how many padded tokens the rank
with most of them has beside the mean of all (of 64 of them, where there are more). `messages`: a tiny model is trained
among processes that do not exist (torch's "fake" process group answers for them), and what this one sends is counted:
messages, and the bytes of its part in them, in start-up, a step, and a held-out evaluation; and the groups of processes
that it asks for.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from rich.console import Console
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.tiny import encode, make_corpus, sentence_config, texts, tiny_config, tiny_tokenizer  # noqa: E402
from textssl import sharding, tokenizer  # noqa: E402
from textssl.assembly.pretraining import assemble  # noqa: E402
from textssl.config import Config  # noqa: E402
from textssl.data.corpus.writer import CorpusWriter  # noqa: E402
from textssl.distributed import Accelerator  # noqa: E402
from textssl.objectives import resolve_objective  # noqa: E402
from textssl.training.signals import StopSignals  # noqa: E402
from textssl.training.step import even_out  # noqa: E402
from textssl.training.trainer import Trainer  # noqa: E402

WORLDS = (1, 64, 512)
SAMPLES = {"mlm": 16, "crops": 64, "simcse": 64, "cpc": 16, "order": 64}  # of a rank in a step
SENT = 2  # samples of a rank, where messages are counted
STEPS = 3  # measured, after the first


@contextmanager
def world_of(ranks: int):
    """This process as the first of so many, whose others answer with what it sends itself."""
    sharding.build_mesh.cache_clear()
    if ranks > 1:
        dist.init_process_group("fake", rank=0, world_size=ranks, store=FakeStore())
    try:
        yield
    finally:
        if ranks > 1:
            dist.destroy_process_group()


@contextmanager
def groups_of():
    """The sizes of the process groups that are asked for within the block."""
    sizes: list[int] = []
    make = dist.new_group

    def counted(ranks: Any = None, *args: Any, **options: Any) -> Any:
        sizes.append(len(ranks or ()))
        return make(ranks, *args, **options)

    dist.new_group = dist.distributed_c10d.new_group = counted
    try:
        yield sizes
    finally:
        dist.new_group = dist.distributed_c10d.new_group = make


class Messages(TorchDispatchMode):
    """Counts the collective operations of a block, and the bytes that this rank puts into them."""

    def __init__(self) -> None:
        super().__init__()
        self.count = self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "c10d":
            self.count += 1
            self.bytes += sum(tensor.nbytes for tensor in own_part(func, args))
        return func(*args, **(kwargs or {}))


def own_part(func: Any, args: Sequence[Any]) -> list[torch.Tensor]:
    """The tensors that a rank hands in: of gathers and scatters, those after the ones to be filled."""
    gathers = "gather" in str(func) or "scatter" in str(func)
    found = args[1] if gathers else args[0]
    return [one for one in tree_leaves(found) if isinstance(one, torch.Tensor)]


def write_passages(folder: Path, documents: int) -> None:
    """FOLDER/tokenizer and FOLDER/corpus of so many passages, with its held-out split of ten."""
    make_corpus(folder)
    words = tiny_tokenizer()
    encoded = [encode(text) for text in texts()[:-10]]
    ids, marks = (np.concatenate([getattr(one, name) for one in encoded]) for name in ("ids", "marks"))
    lengths, sizes = (
        np.array([len(one.ids) for one in encoded]),
        np.array([len(text.encode()) for text in texts()[:-10]]),
    )
    options = {"tokenizer_hash": tokenizer.tokenizer_hash(words), "vocab_size": len(words), "split": "train"}
    writer = CorpusWriter(folder / "corpus", **options)
    for _ in range(-(-documents // len(lengths))):
        writer.add_documents(ids, marks, lengths, sizes)
    writer.close()


def config_of(folder: Path, name: str, samples: int, *overrides: str) -> Config:
    options = [f"train.batch_size={samples}", "data.sequence_length=128", *overrides]
    return (tiny_config if name == "mlm" else sentence_config)(folder, name, *options)


def trainer_of(config: Config, ranks: int) -> Trainer:
    objective, config.objective = resolve_objective(config.objective)
    accelerator = Accelerator(torch.device("cpu"), ranks)
    trainer, _, _ = assemble(config, objective, accelerator, Console(quiet=True))
    trainer.signals, trainer.seconds_before, trainer.clock_started = StopSignals(), 0.0, 0.0
    return trainer


def milliseconds(dataset: Any, step: int) -> float:
    """CPU time of dataset[step]."""
    gc.collect()
    gc.disable()
    started = time.process_time()
    dataset[step]
    seconds = time.process_time() - started
    gc.enable()
    return 1000 * seconds


def data_table(folder: Path, worlds: Sequence[int], names: Sequence[str]) -> None:
    names_of = "dataset[step]", "ranks", "samples", "a step", "at most", "the first", "peak", "most / mean"
    print("{:14}{:>6}{:>9}{:>11}{:>11}{:>11}{:>10}{:>13}".format(*names_of))
    for name in names:
        for ranks in worlds:
            first, later, peaks = [], [], []
            with world_of(ranks):
                dataset: Any = trainer_of(config_of(folder, name, SAMPLES[name] * ranks), ranks).dataset
            for dataset.rank in sorted({0, ranks // 2, ranks - 1}):
                first.append(milliseconds(dataset, 0))
                later += [milliseconds(dataset, step) for step in range(1, 1 + STEPS)]
                tracemalloc.start()
                dataset[1 + STEPS]
                peaks.append(tracemalloc.get_traced_memory()[1] / 2**20)
                tracemalloc.stop()
            work = []
            for dataset.rank in np.linspace(0, ranks - 1, min(ranks, 64)).astype(int).tolist():
                work.append(sum(batch.padded_tokens for batch in dataset[2 + STEPS]))
            print(
                f"{name:14}{ranks:>6}{SAMPLES[name] * ranks:>9,}{statistics.mean(later):>8.1f} ms{max(later):>8.1f} ms"
                f"{max(first):>8.1f} ms{max(peaks):>7.1f} MB{max(work) / statistics.mean(work):>13.2f}",
                flush=True,
            )


def messages_table(folder: Path, worlds: Sequence[int], names: Sequence[str]) -> None:
    names_of = "messages", "ranks", "shard", "start-up", "a step", "evaluation", "groups", "start-up CPU"
    print("{:14}{:>6}{:>7}{:>18}{:>20}{:>20}{:>8}{:>14}".format(*names_of))
    for name in names:
        for ranks in worlds:
            for shard in ("1", "all") if ranks > 1 else ("1",):
                config = config_of(folder, name, SENT * ranks, f"train.shard={shard}", "train.micro_batch_size=1")
                with world_of(ranks):
                    start, evaluation, step = Messages(), Messages(), Messages()
                    began = time.process_time()
                    with start, groups_of() as groups:
                        trainer = trainer_of(config, ranks)
                    seconds = time.process_time() - began
                    for number in range(2):  # the second one is as all later ones
                        step = Messages()
                        with step:
                            batches = even_out(trainer.dataset[number], trainer.device)
                            trainer.train_step(batches, trainer.totals(batches))
                    with evaluation:
                        trainer.evaluations[0].run()
                counts = "".join(f"{one.count:>8}{one.bytes / 1024:>9,.0f} kB" for one in (start, step, evaluation))
                print(f"{name:14}{ranks:>6}{shard:>7}{counts}{len(groups):>8}{seconds:>12.2f} s", flush=True)


def main(folder: Path, worlds: Sequence[int], only: str | None, names: Sequence[str], documents: int) -> None:
    write_passages(folder, documents)
    if only in (None, "data"):
        data_table(folder, worlds, names)
    if only in (None, "messages"):
        messages_table(folder, worlds, names)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, nargs="+", default=list(WORLDS))
    parser.add_argument("--only", choices=("data", "messages"))
    parser.add_argument("--objectives", nargs="+", default=list(SAMPLES), choices=list(SAMPLES))
    parser.add_argument("--documents", type=int, default=150_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        main(Path(name), options.ranks, options.only, options.objectives, options.documents)
