"""Run under torchrun: the first steps of every objective in float64, and a short run of it. Not a test itself.

torchrun --nproc_per_node N tests/training/worlds.py FOLDER MICRO_BATCH PARTS[:STEPS],... [run:STEPS:NAME,...] [NAME...]
"""

import os
import sys
from pathlib import Path

import torch
from rich.console import Console
from safetensors.torch import save_file
from torch.distributed.tensor import DTensor, Replicate, Shard

from tests.labelled import finetune_config, write_scores
from tests.tiny import JOINT, SENTENCE_MODELS, make_corpus, sentence_config, tiny_config
from textssl import distributed
from textssl.assembly.pretraining import assemble
from textssl.assembly.runs import start_accelerator
from textssl.assembly.tokenizers import open_tokenizer
from textssl.assembly.tuning import assemble_tuning
from textssl.commands.finetune import finetune
from textssl.commands.pretrain import pretrain
from textssl.data.labelled.splits import read_splits
from textssl.objectives import SUPERVISED, resolve_objective
from textssl.objectives.supervised import Supervised
from textssl.sections import Config
from textssl.sharding import count_shards, whole
from textssl.training.signals import StopSignals
from textssl.training.step import StepGradient, even_out
from textssl.training.trainer import Trainer

OBJECTIVES = {"mlm": "mlm", "clm": "clm", "two_crops": "tests.objectives.contrastive:TwoCrops"}
OBJECTIVES |= {name: name for name in ("infilling", "replaced_token", "diffusion", "data2vec", "hybrid")}
CLUSTERING, PREDICTIVE = ("swav", "deepcluster"), ("cpc", "order", "skipgram")
VARIANTS = {  # name -> objective and options; views of simcse that dropout does not make, as it differs between ranks
    "simcse": ("simcse", "objective.view={name: deletion}"),
    "static": ("crops", "model={config: {model_type: static, hidden_size: 32, identity_size: 8}}"),
    "anew": ("deepcluster", "objective.head=anew", "objective.refresh_every=2"),
}
LARGER = {"byol": 16}  # samples of a step: batch normalisation over eight magnifies rounding beyond 1e-5
SENTENCES = ("crops", "moco", *JOINT, *CLUSTERING, *PREDICTIVE, "tsdae", "pairs", "sum", *VARIANTS)
OWN = {"rebuilt": "tests.objectives.clustered:Rebuilt", "clustered": "tests.objectives.clustered:Clustered"}
# AdamW's default eps of 1e-8 makes whole steps of gradients that are rounding alone: where the terms of an embedding's
# number cancel to 1e-7, float32 has it to a few per cent, and a curve of crops moves by up to 3e-5, on one process too.
STEADY = "optimizer.eps=1e-2"
SMOOTH = ("optimizer.name=adamw", STEADY)
ALL = (*OBJECTIVES, *SENTENCES, *OWN, *SUPERVISED)
STEPS = 3  # of a loop in float64, after the gradient of the first step, unless said


def make_data(folder: Path) -> None:
    """What the configurations of all objectives read."""
    make_corpus(folder)
    finetune_config(folder)  # with a pretrained model and labelled texts
    write_scores(folder / "scores.jsonl", factor=7.0, offset=100.0)


def config_of(folder: Path, name: str, micro_batch: int, *overrides: str, out: str = "run") -> Config:
    micro = f"train.micro_batch_size={micro_batch}"
    if name in SUPERVISED:
        data = (f"data.train={folder}/scores.jsonl",) if name == "regression" else ()
        return finetune_config(folder, f"objective.name={name}", "model.dropout=0", *data, micro, *overrides, out=out)
    if name == "infilling":  # the gradient of relu jumps at zero, where rounding decides on which side a number is
        overrides = ("model.config.feed_forward_proj=gelu", *overrides)
    if name not in ("static", "skipgram", "infilling", "data2vec"):
        overrides = ("model.config.num_hidden_layers=2", *overrides)  # more layers, no more ways to share them
    if name in OBJECTIVES or name in OWN:
        return tiny_config(folder, {**OBJECTIVES, **OWN}[name], micro, *overrides, out=out)
    objective, *own = VARIANTS.get(name, (name,))
    assert objective in SENTENCE_MODELS
    if name in LARGER:
        overrides = (f"train.batch_size={LARGER[name]}", *overrides)
    dropout = [] if name == "skipgram" else ["model.dropout=0"]
    return sentence_config(folder, objective, *dropout, *own, micro, *overrides, out=out)


def assembled(config: Config) -> Trainer:
    objective, config.objective = resolve_objective(config.objective)
    accelerator, console = start_accelerator(config), Console(stderr=True)
    if not isinstance(objective, Supervised):
        return assemble(config, objective, accelerator, console)[0]
    splits, (words, _) = read_splits(config.data, config.seed), open_tokenizer(config)
    return assemble_tuning(config, objective, splits, words, accelerator, console)[0]


def learn(config: Config) -> tuple[int, str | None]:
    """A whole run; returns how many steps it made, and which signal stopped it."""
    if config.objective["name"] in SUPERVISED:
        tuned = finetune(config)
        return tuned.summary["steps"], tuned.stopped_by
    summary = pretrain(config)
    return summary.steps, summary.stopped_by


def gradients(config: Config, steps: int = STEPS) -> dict[str, torch.Tensor]:
    """The summed gradient of the first step; then what the first step makes of parameters and buffers, and `steps`."""
    trainer = assembled(config)
    objective = trainer.objective
    shards = count_shards(config.train.shard, distributed.world_size())
    for name, parameter in objective.named_parameters():
        assert distributed.world_size() == 1 or parameter.ndim == 0 or lies_in(parameter, shards), name
    trainer.signals, trainer.seconds_before, trainer.clock_started = StopSignals(), 0.0, 0.0
    trainer.refresh()
    objective.train()
    batches = even_out(trainer.dataset[0], trainer.device)
    gradient = StepGradient(
        *(objective, trainer.encode, trainer.totals(batches).counts, config.seed, 0),
        cache=config.train.micro_batch_size is not None,
    )
    gradient.run(batches)
    parameters = list(objective.named_parameters())
    found = {f"gradient/{name}": whole(p.grad).clone() for name, p in parameters if p.grad is not None}
    objective.zero_grad()
    for step in range(steps):
        batches = even_out(trainer.dataset[step], trainer.device)
        trainer.train_step(batches, trainer.totals(batches))
        trainer.refresh()
        if step in (0, steps - 1):
            state = [*objective.named_parameters(), *objective.named_buffers()]
            found |= {f"after-{step + 1}/{name}": whole(value.detach()).clone() for name, value in state}
    return found


def lies_in(parameter: torch.Tensor, shards: int) -> bool:
    """Whether a parameter lies over the processes in so many parts."""
    if not isinstance(parameter, DTensor):
        return False
    *copies, kind = parameter.placements
    parts = parameter.device_mesh.size(parameter.device_mesh.ndim - 1)
    return copies in ([], [Replicate()]) and kind == Shard(0) and parts == shards


def main(
    folder: Path, micro_batch: int, kinds: list[tuple[int, int]], names: list[str], run_steps: int, runs: list[str]
) -> None:
    """kinds: in how many parts parameters lie, and the steps of each. names: of objectives. runs: of those that also
    make a run of so many steps, sharded as the first kind is."""
    world = int(os.environ["WORLD_SIZE"])
    for name in names:
        for parts, steps in kinds:
            options = "train.precision=float64", f"train.shard={parts}", *SMOOTH
            found = gradients(config_of(folder, name, micro_batch, *options), steps)
            if distributed.rank() == 0:
                save_file(found, folder / f"{name}-{label(world, micro_batch, parts)}.safetensors")
    parts = kinds[0][0]
    for name in runs:
        options = f"train.shard={parts}", f"train.max_steps={run_steps}", f"evaluation.every={run_steps // 2}", STEADY
        learn(config_of(folder, name, micro_batch, *options, out=f"run-{name}-{label(world, micro_batch, parts)}"))


def steps_of(word: str, steps: int = STEPS) -> tuple[str, int]:
    """ "2:1" is ("2", 1)."""
    before, colon, after = word.partition(":")
    return before, int(after) if colon else steps


def label(world: int, micro_batch: int, shards: int) -> str:
    return f"{world}x{micro_batch}x{shards}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, micro_batch, shards, *words = sys.argv[1:]
    kinds = [(int(parts), steps) for parts, steps in map(steps_of, shards.split(","))]
    names = [word for word in words if not word.startswith("run")] or list(ALL)
    _, run_steps, chosen = ([word for word in words if word.startswith("run")] or ["::"])[0].split(":")
    main(Path(folder), int(micro_batch), kinds, names, int(run_steps or 0), chosen.split(",") if chosen else [])
