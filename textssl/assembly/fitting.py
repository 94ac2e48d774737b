"""Whether a run fits its device: the attention that works there, and the memory."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import torch
from torch import nn
from transformers import PreTrainedTokenizerFast

from textssl import distributed
from textssl.distributed import Accelerator
from textssl.errors import OutOfMemory, UserError
from textssl.models.attention import varlen
from textssl.models.attention.isolation import MASKED, MASKING, dense_mask_bytes
from textssl.models.attention.varlen import VARLEN
from textssl.models.heads import LanguageModel
from textssl.models.layers import transformer_layers
from textssl.models.sentence import token_reader
from textssl.objectives.base import FORWARDS, Objective
from textssl.sections import Config
from textssl.sharding import count_shards, shard_module
from textssl.tokenizer.folder import check_reads_back

log = logging.getLogger(__name__)

OUT_OF_MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory|bad_alloc", re.IGNORECASE)


def fit_attention(
    config: Config, backbone: nn.Module, device: torch.device, precision: str, sets_direction: bool = False
) -> None:
    """Check that attention suits device, precision and objective; "auto" becomes varlen where that works, in place.

    Every rank calls it, and all have the same attention: varlen works on the GPUs of all of them, or nowhere.
    sets_direction: the objective chooses the direction in which tokens attend, which takes attention with masks.
    Raises UserError where `model.attention` cannot do what is asked.
    """
    chosen = config.model.attention
    reader = token_reader(backbone)
    isolating = isinstance(reader, LanguageModel) and reader.model.config.model_type in MASKING
    if chosen == VARLEN and not isolating:
        raise UserError(
            "model.attention is varlen, which is for pretraining (a classifier reads padded texts) of the families "
            f"{', '.join(sorted(MASKING))}: leave it out"
        )
    if sets_direction and chosen not in ("auto", *MASKED):
        raise UserError(
            f"model.attention is {chosen}, which has no masks, and objective.name={config.objective['name']} reads "
            "rows in two directions by a mask: leave it out"
        )
    if chosen == "flex_attention" and device.type != "cuda":
        raise UserError("model.attention is flex_attention, which trains on GPUs alone: leave it out")
    if device.type != "cuda":
        return
    if chosen == "flash_attention_2" and precision != "bfloat16":
        raise UserError(
            f"model.attention is flash_attention_2, which works in bfloat16; the run's precision is {precision}: "
            "leave it out, or say train.precision=bfloat16"
        )
    if isolating and chosen in (VARLEN, "auto"):
        assert isinstance(reader, LanguageModel)
        why = "this objective reads rows in two directions by a mask"
        if not sets_direction:
            why = distributed.reason_of_any(lambda: varlen.unsuited(reader.model.config, device, precision))
        if why is None:
            varlen.register()
            reader.model.set_attn_implementation(VARLEN)
        elif chosen == VARLEN:
            raise UserError(f"model.attention is varlen, but {why}: leave it out")
        elif distributed.rank() == 0:
            log.warning("documents are isolated by a dense mask, slower than varlen attention: %s", why)


def check_tokenizer(backbone: nn.Module, words: PreTrainedTokenizerFast) -> None:
    """UserError where the exported folder would be read with other tokens than it was trained on."""
    model = getattr(token_reader(backbone), "model", None)
    if model is not None:
        check_reads_back(words, model.config)


def check_masks(config: Config, backbone: nn.Module, device: torch.device) -> None:
    """Raise UserError, naming what would fit, where the dense masks of a micro-batch alone exceed the free memory."""
    if not isinstance(backbone, LanguageModel):
        return
    length, share = config.data.sequence_length, -(-config.train.batch_size // distributed.world_size())
    rows = min(config.train.micro_batch_size or share, share)
    needed = dense_mask_bytes(backbone.model, rows, length)
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    if needed <= free:
        return
    fitting = free * rows // needed  # rows
    shorter = int(length * (free / needed) ** 0.5)
    advice = f"train.micro_batch_size={fitting}, or " if fitting else ""
    raise UserError(
        f"data.sequence_length is {length}: the attention masks of {rows} rows take {needed / 2**30:,.0f} GiB and "
        f"{free / 2**30:,.0f} GiB are free: {advice}rows of at most {shorter} tokens"
    )


def spread(objective: Objective, config: Config, accelerator: Accelerator) -> None:
    """Bring an objective that was built on the CPU to the devices of all processes, in place, with the weights of the
    first process. No device holds more of it at a time than a layer, or embeddings and heads, beside its own part.

    Raises UserError where memory does not suffice.
    """
    with telling_of_memory():
        if accelerator.num_processes == 1:
            objective.to(accelerator.device)
            return
        distributed.broadcast_module(objective, accelerator.device)
        shard_module(
            *(objective, transformer_layers(objective), FORWARDS),
            device=accelerator.device,
            shards=count_shards(config.train.shard, accelerator.num_processes),
            timeout_seconds=config.train.timeout_seconds,
        )


@contextmanager
def telling_of_memory() -> Iterator[None]:
    """Turn an out-of-memory error, on any device, into an OutOfMemory that says what helps."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        lines = str(error).strip().splitlines()
        if not isinstance(error, MemoryError) and OUT_OF_MEMORY.search(str(error)) is None:
            raise
        raise OutOfMemory(
            f"there is not enough memory ({lines[0] if lines else 'MemoryError'}): lower train.micro_batch_size (the "
            "result stays the same), data.sequence_length or what the objective keeps (queue_size), shard the model "
            "over several processes (train.shard), or choose a smaller one"
        ) from error
