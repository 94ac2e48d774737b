"""The sections of a configuration: their keys, types, defaults and what they mean."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, Field, field_validator, model_validator

from textssl.section_base import INTEGERS, Section
from textssl.system.files import expanded
from textssl.system.subprocesses import MOST_WORKERS

Beta = Annotated[float, Field(ge=0, lt=1)]


FilePath = Annotated[str, AfterValidator(expanded)]  # `~` is the home folder, as the shell has it


class CorpusShare(Section):
    """One corpus of a mixture: a prepared folder and its share of the samples (relative to the other weights)."""

    path: FilePath = Field(description="prepared folder")
    weight: float = Field(default=1.0, gt=0, description="its share of the samples, relative to the other weights")


class DataConfig(Section):
    corpus: list[CorpusShare] = Field(
        default=[],
        description="prepared folder, or a list of {path, weight}; finetune: the corpus of model.pretrained, in which "
        "labelled texts are looked for; empty: the one that its run names",
    )
    held_out: FilePath | None = Field(
        default=None,
        description="prepared folder to evaluate on; default: CORPUS/held-out, of several corpora the first's",
    )
    pairs: FilePath | None = Field(
        default=None, description="file of text_a, text_b, and where known negative(_N), label or score"
    )
    train: FilePath | None = Field(
        default=None, description="finetune: labelled file (text and label or score, or pairs)"
    )
    validation: FilePath | None = Field(default=None, description="finetune: labelled file to choose the checkpoint by")
    test: FilePath | None = Field(
        default=None, description="finetune: labelled file that is looked at once, at the end"
    )
    validation_share: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="share of the training texts, where no validation file is given; 0: all train",
    )
    test_share: float = Field(default=0.2, gt=0, lt=1, description="share of data.train, where no test file is given")
    shots: int | None = Field(default=None, gt=0, description="finetune: train on this many texts of each class only")
    sequence_length: int = Field(default=128, ge=8, description="tokens in a row, special tokens included")
    window_tokens: int = Field(default=2**22, gt=0, description="tokens that are shuffled and packed together")

    @field_validator("corpus", mode="before")
    @classmethod
    def one_or_many(cls, value: Any) -> Any:
        return [{"path": value}] if isinstance(value, str) else value


class ModelConfig(Section):
    """Exactly one of preset, config and pretrained says what the backbone is."""

    preset: str | None = Field(
        default=None, description="a named size, e.g. llama-nano; modernbert-nano where no other key is given"
    )
    config: dict[str, Any] | None = Field(
        default=None, description="any transformers configuration, e.g. {model_type: bert}"
    )
    pretrained: FilePath | None = Field(default=None, description="a model folder to start from")
    embeddings: Literal["lsa", "random"] = Field(
        default="lsa",
        description="pretrain, a new transformer: token vectors begin with latent semantic analysis of the corpora, "
        "which finds in seconds what takes hundreds of steps, or with random numbers",
    )
    attention: Literal["auto", "sdpa", "eager", "dense", "flex_attention", "flash_attention_2", "varlen"] = Field(
        default="auto",
        description="auto: sdpa; on GPUs in bfloat16, for packed rows, varlen (torch's flash kernels); "
        "on CPUs, in bfloat16, dense (eager, with scores in bfloat16) below 1,024 tokens",
    )
    dropout: float | None = Field(default=None, ge=0, lt=1, description="in every layer; null: the configuration's own")
    reinitialise: bool = Field(default=False, description="with pretrained: its architecture with random weights")
    frozen_layers: int = Field(
        default=0, ge=0, description="the embeddings and this many lowest layers keep their weights; 0: all learn"
    )
    pooling: Literal["mean", "cls", "lasttoken", "weightedmean", "max"] | None = Field(
        default=None, description="sentence encoders: tokens to one vector; null: the folder's own, else mean"
    )
    dense_width: int | None = Field(
        default=None, gt=0, description="sentence encoders: a linear layer behind the pooling, of this width"
    )
    normalize: bool | None = Field(
        default=None, description="sentence encoders: vectors of length 1; null: the folder's own, else true"
    )

    @model_validator(mode="after")
    def one_source(self):
        given = [key for key in ("preset", "config", "pretrained") if getattr(self, key) is not None]
        if len(given) > 1:
            raise ValueError(f"give one of preset, config and pretrained, not {' and '.join(given)}")
        if self.reinitialise and self.pretrained is None:
            raise ValueError("reinitialise is for pretrained: a preset or config always starts from random weights")
        if self.embeddings == "random" and self.pretrained is not None:
            raise ValueError(
                "embeddings=random is for a preset or config: a pretrained model has its own, and "
                "reinitialise=true makes all of its weights random"
            )
        if not given:
            self.preset = "modernbert-nano"
        return self


class OptimizerConfig(Section):
    name: Literal["adamw", "muon"] = Field(
        default="muon", description="muon: for hidden matrices, with adamw for everything else"
    )
    lr: float = Field(
        default=3e-3, gt=0, description="peak learning rate of the matrices (muon) or of everything (adamw)"
    )
    adamw_lr: float | None = Field(
        default=None, gt=0, description="muon: peak rate of embeddings, norms and heads; null: lr"
    )
    layer_decay: float = Field(
        default=1.0, gt=0, le=1, description="the rate of each layer as a share of the one above it; 1: all alike"
    )
    weight_decay: float = Field(default=0.01, ge=0, description="decoupled; embeddings, norms and biases have none")
    momentum: float = Field(default=0.95, ge=0, lt=1, description="muon's Nesterov momentum")
    betas: tuple[Beta, Beta] = Field(default=(0.9, 0.98), description="adamw's running averages")
    eps: float = Field(default=1e-8, gt=0, description="adamw: added to the denominator")


class ScheduleConfig(Section):
    name: Literal["constant", "linear", "cosine", "wsd"] = Field(
        default="wsd", description="after the warmup: linear and cosine fall at once, wsd at the end, constant never"
    )
    warmup_steps: int | None = Field(
        default=None, ge=0, description="steps of linear warmup; null: warmup_fraction instead"
    )
    warmup_fraction: float = Field(default=0.05, ge=0, le=1, description="share of the run's length spent on warmup")
    decay_fraction: float = Field(
        default=0.4, gt=0, le=1, description="wsd: share of the run's length spent on the decay"
    )
    final_ratio: float = Field(default=0.0, ge=0, le=1, description="learning rate at the end, as a share of the peak")


class TrainConfig(Section):
    max_steps: int | None = Field(
        default=None,
        gt=0,
        description="global steps; of several lengths the first to be reached ends the run, and one given as an "
        "override replaces those of the file; none given: 1000",
    )
    max_tokens: int | None = Field(default=None, gt=0, description="non-padding tokens through the backbone")
    max_seconds: float | None = Field(default=None, gt=0, description="seconds of training, evaluation apart")
    max_epochs: float | None = Field(default=None, gt=0, description="passes over the data, rounded up to steps")
    num_seeds: int = Field(default=1, gt=0, description="finetune: runs with the seeds seed, seed + 1, ...")
    batch_size: int = Field(default=32, gt=0, description="rows, sentences or documents of one global step")
    micro_batch_size: int | None = Field(
        default=None, gt=0, description="samples of one forward on one process; null: all"
    )
    micro_batch_tokens: int | None = Field(
        default=None, gt=0, description="sentences: tokens of one forward on one process, padding included; null: all"
    )
    max_grad_norm: float | None = Field(default=1.0, gt=0, description="gradients are clipped to it; null: never")
    precision: Literal["auto", "float32", "bfloat16", "float64"] = Field(
        default="auto",
        description="auto: bfloat16 autocast on GPUs and CPUs that multiply matrices in it, else float32",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto: a GPU where torch can use one")
    shard: Annotated[int, Field(ge=1)] | Literal["all"] = Field(
        default=1,
        description="several processes: 1 holds all parameters on each; N shards parameters, gradients and optimizer "
        "state over groups of N and replicates across groups; all shards them over all processes",
    )
    deterministic: bool = Field(
        default=False,
        description="GPUs: only kernels whose result is the same each time, so that a resume is exact to the byte",
    )
    compile: bool = Field(default=False, description="torch.compile of the backbone; the first steps take longer")
    gradient_checkpointing: bool = Field(
        default=False, description="activations are computed again in the backward: less memory, more time"
    )
    workers: int | None = Field(
        default=None, ge=0, le=MOST_WORKERS, description="loader processes; null: 0 on CPU, 2 on a GPU"
    )
    threads: int | None = Field(
        default=None,
        gt=0,
        description="compute threads; null: OMP_NUM_THREADS, else as before a resume, else as many as cores; "
        "RUN/config.yaml has the number that was taken",
    )
    log_every: int = Field(default=10, gt=0, description="steps between lines of metrics.jsonl")
    checkpoint_every: int | None = Field(default=500, gt=0, description="steps; null: only at the end")
    keep_checkpoints: int = Field(default=2, ge=1, description="how many of the newest checkpoints stay")
    resume: Literal["auto", "never", "restart"] = Field(
        default="auto",
        description="where the run folder holds checkpoints: auto continues, never refuses, restart begins anew in a "
        "sub-folder",
    )
    stop_on_collapse: bool = Field(
        default=False, description="end the run when features collapse, instead of only warning"
    )
    max_skipped_steps: int = Field(default=5, ge=1, description="non-finite steps in a row before the run stops")
    timeout_seconds: float = Field(
        default=1800.0,
        ge=1,
        le=10**7,
        description="how long a rank waits for another that gives no sign, before it ends and names it; longer than "
        "what the first rank does alone (evaluation.suite, baselines)",
    )
    tensorboard: bool = Field(default=False, description="write the figures for TensorBoard too, below the run folder")

    @model_validator(mode="after")
    def some_end(self):
        if all(end is None for end in (self.max_steps, self.max_tokens, self.max_seconds, self.max_epochs)):
            self.max_steps = 1000
        return self


class EvaluationConfig(Section):
    every: int | None = Field(
        default=200, gt=0, description="steps between held-out evaluations; null: only at the end"
    )
    max_rows: int = Field(default=512, gt=0, description="samples of one held-out evaluation")
    best: str | None = Field(
        default=None, description="figure by which the checkpoint to export is chosen, e.g. eval/loss; null: the last"
    )
    patience: int | None = Field(
        default=None, gt=0, description="end after this many evaluations without a better `best`; null: never early"
    )
    suite: FilePath | None = Field(
        default=None, description="quick, full or FILE.yaml: tasks to evaluate during the run"
    )
    suite_every: int | None = Field(default=None, gt=0, description="steps between them; null: only at the end")
    tasks: list[str] | None = Field(default=None, description="which tasks of the suite; null: all")
    baselines: list[Literal["majority", "tfidf", "probe", "finetune", "scratch"]] = Field(
        default=["majority", "tfidf"],
        description="finetune: baselines on the same test texts; probe: frozen features, finetune: plain "
        "fine-tuning beside contrast, scratch: the same run from random weights",
    )

    @model_validator(mode="after")
    def patience_needs_a_figure(self):
        if self.patience is not None and self.best is None:
            raise ValueError("patience needs evaluation.best, the figure that has to get better")
        return self


class Config(Section):
    """A whole run."""

    name: str = Field(default="run", description="a label of your own, kept in config.yaml")
    out: FilePath = Field(default="runs/run", description="the run folder")
    seed: int = Field(default=0, ge=0, lt=INTEGERS, description="of initial weights, data order, masks and dropout")
    tokenizer: FilePath | None = Field(
        default=None, description="tokenizer folder or sample; with model.pretrained its own is the default"
    )
    data: DataConfig = Field(default_factory=DataConfig)
    model: ModelConfig = Field(default_factory=ModelConfig)
    objective: dict[str, Any] = Field(default_factory=lambda: {"name": "mlm"})
    optimizer: OptimizerConfig = Field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = Field(default_factory=ScheduleConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig)

    @model_validator(mode="after")
    def seeds_fit(self):
        if self.seed + self.train.num_seeds > INTEGERS:
            raise ValueError("seed + train.num_seeds must be at most 2^63")
        return self

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
