"""Contrastive training against SentenceTransformerTrainer with MultipleNegativesRankingLoss.

python scripts/benchmark/sentences.py --model modernbert-nano      sentences/s, alternating in one run
python scripts/benchmark/sentences.py --model static-small
python scripts/benchmark/sentences.py --model static-mini --crops --batch 1024      two spans of a document

Both sides: one model (the same folder), the same pairs of neighbouring sentences of sample:news in a file, cut at 128
tokens, batches of 128 pairs (--batch), temperature 0.05, AdamW, threads. With --crops the pairs are spans of 16 to 64
tokens of a document: ours draws them anew in every step, the peer has its own drawn beforehand, as texts. Ours with
train.precision=auto; the peer as it comes, and for transformers also with CachedMultipleNegativesRankingLoss, whose
mini-batches hold so many tokens instead of so many texts, and in bfloat16 with eager attention where the processor
multiplies matrices in it; its batches without padding need FlashAttention 2, and so a GPU. Sentences are counted after
a warmup; each measurement is a process of its own, and the sides take turns.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from textssl.data.corpus.corpus import Corpus

sys.path.insert(0, str(Path(__file__).parents[2]))

from scripts.benchmark.figures import add_json, after_warmup, in_turns, write

LENGTH, TEMPERATURE, VOCABULARY = 128, 0.05, 8192
MINI_BATCH_TOKENS = 2048
SPANS: dict[str, Any] = {"min_tokens": 16, "max_tokens": 64, "max_gap": 64}  # of configs/crops.yaml
CROPS_A_DOCUMENT = 5
PEERS = {
    "theirs": "as it comes",
    "cached": f"mini-batches of {MINI_BATCH_TOKENS:,} tokens",
    "bfloat16": "in bfloat16, eager",
}


def neighbours() -> Iterator[tuple[str, str]]:
    """Neighbouring sentences of sample:news."""
    from textssl.data.language.sentences import sentence_starts
    from textssl.data.text.documents import DropReport, read_documents

    for document in read_documents(["sample:news"], report=DropReport()):
        starts = [*sentence_starts(document.text), len(document.text)]
        sentences = [document.text[begin:end].strip() for begin, end in itertools.pairwise(starts)]
        yield from ((left, right) for left, right in itertools.pairwise(sentences) if left and right)


def crops(corpus: Corpus, words: Any) -> Iterator[tuple[str, str]]:
    """Two spans of each document, as texts, CROPS_A_DOCUMENT times."""
    from textssl.sample_types import Document
    from textssl.views.kinds import CropsView

    view, rng = CropsView(**SPANS), np.random.default_rng(0)
    for _ in range(CROPS_A_DOCUMENT):
        for index, first, end in corpus.document_bounds():
            shard = corpus.shard(index)
            document = Document(shard.tokens[first:end].astype(np.int64), shard.marks[first:end])
            left, right = words.batch_decode(list(view(document, rng, 0.0).texts))
            yield left, right


def make_inputs(folder: Path, preset: str, *, cropped: bool) -> None:
    """FOLDER/tokenizer, FOLDER/pairs.jsonl from sample:news, FOLDER/corpus with crops, and FOLDER/model, the untrained
    sentence encoder."""
    from textssl import tokenizer
    from textssl.commands.prepare import prepare
    from textssl.commands.tokenizer import train_tokenizer
    from textssl.models.sentence import build_sentence_model
    from textssl.sections import ModelConfig

    train_tokenizer(input=["sample:news"], out=folder / "tokenizer", vocab_size=VOCABULARY)
    words = tokenizer.load(folder / "tokenizer")
    pairs = neighbours()
    if cropped:
        pairs = crops(prepare("sample:news", folder / "tokenizer", folder / "corpus"), words)
    with (folder / "pairs.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"text_a": left, "text_b": right}) + "\n" for left, right in pairs)
    model = build_sentence_model(ModelConfig(preset=preset), words, head=None, sequence_length=LENGTH, seed=0)
    model.max_seq_length = LENGTH
    model.export(folder / "model", words)


def static(folder: Path) -> bool:
    return not (folder / "model" / "config.json").is_file()


def ours(folder: Path, seconds: float, warmup: float, batch: int) -> dict:
    from textssl.commands.pretrain import pretrain
    from textssl.config import parse_config

    with tempfile.TemporaryDirectory() as out:
        values = {
            "out": out,
            "tokenizer": str(folder / "tokenizer"),
            "data": {"pairs": str(folder / "pairs.jsonl"), "sequence_length": LENGTH},
            "model": {"pretrained": str(folder / "model")},
            "objective": {"name": "pairs", "temperature": TEMPERATURE},
            **(cropping(folder) if (folder / "corpus").exists() else {}),
            "optimizer": {"name": "adamw", "lr": 1e-3},
            "train": {
                "max_seconds": seconds,
                "batch_size": batch,
                "log_every": 10 if static(folder) else 2,
                "checkpoint_every": None,
            },
        }
        pretrain(parse_config(values))
        lines = [json.loads(line) for line in Path(out, "metrics.jsonl").read_text().splitlines()]
    logs = [line for line in lines if "train/loss" in line]
    first, last = after_warmup(logs, warmup)
    steps, spent = last["step"] - first["step"], last["seconds"] - first["seconds"]
    return {
        "sentences_per_second": 2 * batch * steps / spent,
        "loss": logs[-1]["train/loss"],
        "steps": logs[-1]["step"],
    }


def cropping(folder: Path) -> dict[str, Any]:
    """What a run on crops has in other words."""
    view = {"name": "crops", **SPANS}
    return {
        "data": {"corpus": str(folder / "corpus"), "sequence_length": LENGTH},
        "objective": {"name": "crops", "view": view, "temperature": TEMPERATURE},
    }


def theirs(folder: Path, seconds: float, warmup: float, batch: int, side: str) -> dict:
    """The peer in one of the settings of PEERS."""
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import (
        CachedMultipleNegativesRankingLoss,
        MultipleNegativesRankingLoss,
    )
    from transformers import TrainerCallback

    device = "cpu" if not torch.cuda.is_available() else None
    eager = {"attn_implementation": "eager"} if side == "bfloat16" else None
    model = SentenceTransformer(str(folder / "model"), device=device, model_kwargs=eager)
    rows = [json.loads(line) for line in (folder / "pairs.jsonl").read_text(encoding="utf-8").splitlines()]
    pairs = Dataset.from_dict({key: [row[key] for row in rows] for key in ("text_a", "text_b")})

    class Clock(TrainerCallback):
        """Stops after `seconds`; counts steps since the warmup."""

        started = warm = spent = 0.0
        step = warm_step = 0

        def on_step_begin(self, args, state, control, **_):
            self.started = self.started or time.perf_counter()

        def on_step_end(self, args, state, control, **_):
            spent = time.perf_counter() - self.started
            if not self.warm and spent > warmup:
                self.warm, self.warm_step = spent, state.global_step
            control.should_training_stop = spent >= seconds
            self.spent, self.step = spent, state.global_step

    clock = Clock()
    with tempfile.TemporaryDirectory() as out:
        arguments = SentenceTransformerTrainingArguments(
            output_dir=out, per_device_train_batch_size=batch, max_steps=10**5, learning_rate=1e-3, seed=0,
            use_cpu=not torch.cuda.is_available(), report_to="none", save_strategy="no", logging_steps=50,
            disable_tqdm=True, bf16=side == "bfloat16",
        )  # fmt: skip
        loss = MultipleNegativesRankingLoss(model, scale=1 / TEMPERATURE)
        if side == "cached":
            loss = CachedMultipleNegativesRankingLoss(
                model, scale=1 / TEMPERATURE, mini_batch_num_tokens=MINI_BATCH_TOKENS
            )
        trainer = SentenceTransformerTrainer(
            model=model, args=arguments, train_dataset=pairs, loss=loss, callbacks=[clock]
        )
        found = trainer.train()
    speed = 2 * batch * (clock.step - clock.warm_step) / (clock.spent - clock.warm)
    return {"sentences_per_second": speed, "loss": found.training_loss, "steps": clock.step}


def measure(side: str, folder: Path, arguments: argparse.Namespace) -> dict:
    command = [sys.executable, __file__, "--side", side, "--folder", str(folder)]
    command += ["--seconds", str(arguments.seconds), "--warmup", str(arguments.warmup), "--batch", str(arguments.batch)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def peers(folder: Path) -> list[str]:
    """The peer's settings that make sense for the model, on this machine."""
    from textssl.system.hardware import bfloat16_matrices

    if static(folder):
        return ["theirs"]
    return ["theirs", "cached", *(["bfloat16"] if bfloat16_matrices() else [])]


def compare(arguments: argparse.Namespace, folder: Path) -> None:
    sides, rounds = [*peers(folder), "ours"], []
    for number in range(1, arguments.rounds + 1):
        rounds.append({side: measure(side, folder, arguments) for side in sides})
        print(f"round {number}: ", end="")
        speeds = {side: found["sentences_per_second"] for side, found in rounds[-1].items()}
        print(
            ", ".join(f"{PEERS.get(side, side)} {speed:,.0f} sentences/s" for side, speed in speeds.items()), flush=True
        )
    figures = [
        in_turns(
            *(
                f"contrastive training, {arguments.model}, {arguments.batch} {'crops' if arguments.crops else 'pairs'}",
                f"SentenceTransformerTrainer {PEERS[side]}",
                "sentences/s",
            ),
            [(one["ours"]["sentences_per_second"], one[side]["sentences_per_second"]) for one in rounds],
        )
        for side in sides[:-1]
    ]
    memory = {side: max(one[side]["peak_mb"] for one in rounds) for side in sides}
    print(f"\n{arguments.model}, {torch.get_num_threads()} threads, medians of {arguments.rounds}")
    print(f"ours {figures[0].ours:,.0f} sentences/s, peak memory {memory['ours']:,.0f}M")
    for side, figure in zip(sides, figures, strict=False):
        print(f"{figure.peer} {figure.theirs:,.0f}, {memory[side]:,.0f}M: ours {figure.ratio:.2f} times as fast")
    write(arguments.json, figures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="modernbert-nano", help="a preset, static ones too")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each measurement")
    parser.add_argument("--warmup", type=float, default=6.0, help="seconds that do not count")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=128, help="pairs of a step")
    parser.add_argument("--crops", action="store_true", help="train on crops of documents")
    add_json(parser)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    parser.add_argument("--side", choices=["ours", *PEERS], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        given = Path(arguments.folder), arguments.seconds, arguments.warmup, arguments.batch
        found = ours(*given) if arguments.side == "ours" else theirs(*given, arguments.side)
        found["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(found))
        return
    with tempfile.TemporaryDirectory() as temporary:
        make_inputs(Path(temporary), arguments.model, cropped=arguments.crops)
        compare(arguments, Path(temporary))


if __name__ == "__main__":
    main()
