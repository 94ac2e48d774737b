"""MLM and CLM training against transformers.Trainer set up as its run_mlm and run_clm examples are.

python scripts/benchmark/training.py --objective mlm              tokens/s, alternating in one run
python scripts/benchmark/training.py --objective mlm --minutes 4  also the time to the loss that the peer has after 4

Both sides: the same architecture (modernbert-nano or llama-nano, vocabulary 8,192), rows of 128, batches of 32, one
text (sample:news), threads; ours with train.precision=auto, the peer in float32, and where the processor multiplies
matrices in bfloat16 also in that with eager attention, its best setting. The peer concatenates and cuts, as the
examples do. Tokens are non-padding tokens through the backbone. Each measurement is a process of its own; the sides
take turns.

Time to a loss: the peer has the best of its settings, and trains for --minutes with a schedule over them (--peer-lr and
--peer-batch: the best that we found). Its loss is the better of two: on its own kind of rows, and on ours. We are as in
configs/OBJECTIVE.yaml, with a schedule over a quarter of that time, then over a half and over all of it, until a run
ends with a loss as low.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import yaml

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from scripts.benchmark.figures import Figure, add_json, after_warmup, in_turns, write  # noqa: E402

LENGTH, BATCH, MASK_RATE, VOCABULARY = 128, 32, 0.3, 8192
PRESET = {"mlm": "modernbert-nano", "clm": "llama-nano"}
PEER_LR = {"mlm": 1e-3, "clm": 2e-3}  # of these and 4e-3 (mlm alone), for the loss after four minutes
WARMUP_SECONDS = 8.0
SHARES = (0.25, 0.5, 1.0)  # of the peer's time, that we get to reach its loss
SIDES = {"ours": "ours", "theirs": "Trainer", (BEST := "theirs-best"): "Trainer, bfloat16, eager"}


def make_inputs(folder: Path) -> None:
    """FOLDER/tokenizer and FOLDER/corpus from sample:news."""
    from textssl.commands.prepare import prepare
    from textssl.commands.tokenizer import train_tokenizer

    train_tokenizer(input=["sample:news"], out=folder / "tokenizer", vocab_size=VOCABULARY)
    prepare(input=["sample:news"], tokenizer=str(folder / "tokenizer"), out=folder / "corpus")


def ours(folder: Path, objective: str, seconds: float, optimizer: str, *, to_loss: bool) -> dict:
    """A run of `seconds` with the peer's batches. to_loss: as configs/OBJECTIVE.yaml says, and evaluated at the end."""
    from textssl.commands.pretrain import pretrain
    from textssl.config import parse_config

    options = {"mask_rate": MASK_RATE} if objective == "mlm" else {}
    with tempfile.TemporaryDirectory() as out:
        values = {
            "out": out,
            "tokenizer": str(folder / "tokenizer"),
            "data": {"corpus": str(folder / "corpus"), "sequence_length": LENGTH},
            "model": {"preset": PRESET[objective]},
            "objective": {"name": objective, **options},
            "optimizer": {"name": optimizer, "lr": 3e-3 if optimizer == "muon" else 2e-3},
            "train": {"max_seconds": seconds, "batch_size": BATCH, "log_every": 5, "checkpoint_every": None},
            "evaluation": {"every": None, "max_rows": 256},
        }
        if to_loss:
            recipe = yaml.safe_load((ROOT / "configs" / f"{objective}.yaml").read_text(encoding="utf-8"))
            values |= {"optimizer": recipe["optimizer"], "schedule": recipe["schedule"]}
            values["train"]["batch_size"] = recipe["train"]["batch_size"]
        summary = pretrain(parse_config(values))
        lines = [json.loads(line) for line in Path(out, "metrics.jsonl").read_text().splitlines()]
    logs = [line for line in lines if "train/loss" in line]
    first, last = after_warmup(logs, WARMUP_SECONDS)
    speed = (last["tokens"] - first["tokens"]) / (last["seconds"] - first["seconds"])
    return {"tokens_per_second": speed, "loss": summary.loss, "tokens": summary.tokens}


def theirs(folder: Path, objective: str, seconds: float, lr: float, batch: int, *, best: bool) -> dict:
    """transformers.Trainer on concatenated and cut rows, to the end of its own linear schedule after `seconds`.

    best: in bfloat16 with eager attention.
    """
    from datasets import Dataset
    from transformers import DataCollatorForLanguageModeling, Trainer, TrainerCallback, TrainingArguments

    from textssl import tokenizer
    from textssl.models.build import build_model
    from textssl.sections import ModelConfig

    words = tokenizer.load(folder / "tokenizer")
    causal = objective == "clm"
    spec = ModelConfig(preset=PRESET[objective], attention="eager" if best else "auto")
    model = build_model(spec, words, causal=causal, sequence_length=LENGTH, seed=0)
    rows = {split: Dataset.from_dict(concatenated(folder / path, words)) for split, path in
            (("train", "corpus"), ("held_out", "corpus/held-out"))}  # fmt: skip

    class Clock(TrainerCallback):
        """Stops after `seconds`; the schedule's length is set once the speed is known."""

        started = warm = spent = 0.0
        step = warm_step = 0

        def on_step_begin(self, args, state, control, **_):
            self.started = self.started or time.perf_counter()

        def on_step_end(self, args, state, control, **_):
            spent = time.perf_counter() - self.started
            if not self.warm and spent > WARMUP_SECONDS:
                self.warm, self.warm_step = spent, state.global_step
            control.should_training_stop = spent >= seconds
            self.spent, self.step = spent, state.global_step

    class TimedTrainer(Trainer):
        """A linear schedule with warmup over the clock, as kind to the peer as to us."""

        def create_scheduler(self, num_training_steps, optimizer=None):
            def factor(step):
                done = min(1.0, (time.perf_counter() - clock.started) / seconds if clock.started else 0.0)
                return min(1.0, (done + 1e-3) / 0.05) * (1.0 - done)

            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, factor)  # pyright: ignore[reportArgumentType]
            return self.lr_scheduler

    clock = Clock()
    with tempfile.TemporaryDirectory() as out:
        arguments = TrainingArguments(
            output_dir=out, per_device_train_batch_size=batch, per_device_eval_batch_size=BATCH, max_steps=10**6,
            learning_rate=lr, weight_decay=0.01, use_cpu=not torch.cuda.is_available(), report_to="none",
            save_strategy="no", logging_steps=50, seed=0, disable_tqdm=True, bf16=best,
        )  # fmt: skip
        trainer = TimedTrainer(
            model=model, args=arguments, train_dataset=rows["train"], eval_dataset=rows["held_out"], callbacks=[clock],
            data_collator=DataCollatorForLanguageModeling(words, mlm=not causal, mlm_probability=MASK_RATE),
        )  # fmt: skip
        trainer.train()
        torch.manual_seed(0)
        own = trainer.evaluate()["eval_loss"]
    tokens = (clock.step - clock.warm_step) * batch * LENGTH
    speed = tokens / (clock.spent - clock.warm)
    return {
        "tokens_per_second": speed,
        "loss_own_rows": own,
        "loss": min(own, our_loss(folder, objective, model, words)),
    }


def concatenated(corpus: Path, words, length: int = LENGTH) -> dict[str, list]:
    """All documents with their special tokens in one stream, cut into rows: the examples' group_texts."""
    from textssl.data.corpus.corpus import Corpus

    opened, stream = Corpus.open(corpus), []
    for index in range(len(opened.manifest["shards"])):
        shard = opened.shard(index)
        bounds = shard.bounds(0, len(shard.documents)).tolist()
        for begin, end in itertools.pairwise(bounds):
            stream += [words.cls_token_id, *shard.tokens[begin:end].tolist(), words.sep_token_id]
    total = len(stream) // length * length
    return {"input_ids": [stream[at : at + length] for at in range(0, total, length)]}


def our_loss(folder: Path, objective: str, model, words) -> float:
    """A model's loss on our held-out rows (packed, documents isolated)."""
    from textssl.data.batches.loader import StepDataset
    from textssl.data.corpus.corpus import Corpus
    from textssl.data.plan.plan import Plan
    from textssl.models.heads import LanguageModel
    from textssl.objectives import resolve_objective
    from textssl.objectives.base import Facts
    from textssl.tokenizer.vocabulary import Vocabulary
    from textssl.training.held_out import held_out_loss

    task, _ = resolve_objective({"name": objective, **({"mask_rate": MASK_RATE} if objective == "mlm" else {})})
    task.build(LanguageModel(model.cpu()), Facts(Vocabulary.of(words), LENGTH, 0))
    corpora = [(Corpus.open(folder / "corpus" / "held-out"), 1.0)]
    plan = Plan(corpora, kind="rows", length=LENGTH, form=task.row_format(), seed=0)
    dataset = StepDataset(plan, task.make_view, task.collate, batch_size=BATCH, num_samples=min(256, len(plan)))
    return held_out_loss(task, task, dataset, torch.device("cpu"), 1.0)["eval/loss"]


def matrix_rate() -> float:
    """The machine's float32 matrix-product rate, in floating-point operations a second (best of ten)."""
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    best = float("inf")
    for _ in range(10):
        start = time.perf_counter()
        torch.mm(a, b)
        best = min(best, time.perf_counter() - start)
    return 2 * 2048**3 / best


def flops_per_token(folder: Path, objective: str) -> float:
    """Useful operations of a training step for each token (arXiv:2204.02311, appendix B): 6 for every matrix weight it
    meets, attention, and the head."""
    from textssl import tokenizer
    from textssl.models.build import build_model
    from textssl.sections import ModelConfig

    words = tokenizer.load(folder / "tokenizer")
    spec = ModelConfig(preset=PRESET[objective])
    model = build_model(spec, words, causal=objective == "clm", sequence_length=LENGTH, seed=0)
    head = model.get_output_embeddings()
    assert head is not None
    output = head.weight
    body = sum(m.weight.numel() for m in model.modules() if isinstance(m, torch.nn.Linear) and m.weight is not output)
    predicted = MASK_RATE if objective == "mlm" else 1.0
    config = model.config
    attention = 12 * config.num_hidden_layers * config.hidden_size * LENGTH
    return 6 * body + attention + 6 * predicted * output.numel()


def measure(side: str, folder: Path, arguments: argparse.Namespace, seconds: float, *, to_loss: bool = False) -> dict:
    command = [sys.executable, __file__, "--side", side, "--folder", str(folder), "--objective", arguments.objective]
    command += ["--seconds", str(seconds), "--peer-lr", str(arguments.peer_lr), "--optimizer", arguments.optimizer]
    command += ["--peer-batch", str(arguments.peer_batch), *(["--to-loss"] if to_loss else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def one_side(arguments: argparse.Namespace) -> None:
    folder = Path(arguments.folder)
    if arguments.side == "ours":
        found = ours(folder, arguments.objective, arguments.seconds, arguments.optimizer, to_loss=arguments.to_loss)
    else:
        batch, best = arguments.peer_batch if arguments.to_loss else BATCH, arguments.side == BEST
        found = theirs(folder, arguments.objective, arguments.seconds, arguments.peer_lr, batch, best=best)
    found["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(found))


def peers() -> list[str]:
    """The peer's settings that are measured here, the best one last."""
    from textssl.system.hardware import bfloat16_matrices

    return ["theirs", BEST] if bfloat16_matrices() else ["theirs"]


def compare(arguments: argparse.Namespace, folder: Path) -> None:
    sides = [*peers(), "ours"]
    rounds = [
        {side: measure(side, folder, arguments, arguments.seconds) for side in sides} for _ in range(arguments.rounds)
    ]
    for number, one in enumerate(rounds, 1):
        print(f"round {number}: " + ", ".join(f"{SIDES[side]} {one[side]['tokens_per_second']:,.0f}" for side in sides))
    speed = {side: statistics.median(one[side]["tokens_per_second"] for one in rounds) for side in sides}
    share = speed["ours"] * flops_per_token(folder, arguments.objective) / matrix_rate()
    print(f"\n{arguments.objective}, {PRESET[arguments.objective]}, {torch.get_num_threads()} threads, ", end="")
    print(f"ours with {arguments.optimizer}, medians of {arguments.rounds}; ours beside each: ratio of tokens/s")
    for side in sides:
        memory = max(one[side]["peak_mb"] for one in rounds)
        ratios = [one["ours"]["tokens_per_second"] / one[side]["tokens_per_second"] for one in rounds]
        print(f"{SIDES[side]:<26}{speed[side]:8,.0f} tokens/s {memory:7,.0f}M ", end="")
        print("" if side == "ours" else f" {statistics.median(ratios):5.2f}")
    print(f"model flops   ours {share:.0%} of the measured float32 matrix-product rate")
    what = f"{arguments.objective} training, {PRESET[arguments.objective]}"
    figures = [
        in_turns(
            *(what, f"transformers.{SIDES[side]}", "tokens/s"),
            [(one["ours"]["tokens_per_second"], one[side]["tokens_per_second"]) for one in rounds],
        )
        for side in peers()
    ]
    if arguments.minutes:
        figures += time_to_loss(arguments, folder)
    write(arguments.json, figures)


def time_to_loss(arguments: argparse.Namespace, folder: Path) -> list[Figure]:
    budget = 60 * arguments.minutes
    peer = measure(peers()[-1], folder, arguments, budget, to_loss=True)
    print(f"held-out loss Trainer after {budget:.0f} s: {peer['loss']:.3f} (own rows {peer['loss_own_rows']:.3f})")
    reached = 0.0  # losses an hour, if never
    for share in SHARES:
        found = measure("ours", folder, arguments, share * budget, to_loss=True)
        print(f"              ours after {share * budget:.0f} s: {found['loss']:.3f}", flush=True)
        if found["loss"] <= peer["loss"]:
            reached = 3600 / (share * budget)
            break
    print(f"as low in {share:.2f} of the time" if reached else "not as low in the same time")
    what = f"{arguments.objective}: as low a held-out loss as the peer's after {arguments.minutes:g} minutes"
    return [in_turns(what, f"transformers.{SIDES[peers()[-1]]}", "losses an hour", [(reached, 3600 / budget)])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objective", choices=["mlm", "clm"], default="mlm")
    parser.add_argument("--optimizer", choices=["muon", "adamw"], default="muon", help="ours; the peer's is AdamW")
    parser.add_argument("--seconds", type=float, default=40.0, help="of each throughput measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=0.0, help="of the peer's run to its loss; 0: leave out")
    parser.add_argument("--peer-lr", type=float, help="by default the best that we found")
    parser.add_argument("--peer-batch", type=int, default=BATCH, help="of its run to its loss")
    add_json(parser)
    parser.add_argument("--folder", help="where tokenizer and corpus are kept between runs")
    parser.add_argument("--side", choices=list(SIDES), help=argparse.SUPPRESS)
    parser.add_argument("--to-loss", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer_lr is None:
        arguments.peer_lr = PEER_LR[arguments.objective]
    if arguments.side:
        one_side(arguments)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(arguments.folder or temporary)
        if not (folder / "corpus" / "corpus.json").is_file():
            make_inputs(folder)
        compare(arguments, folder)


if __name__ == "__main__":
    main()
