"""Momentum teachers: a copy of a model that follows it slowly."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

from textssl.sharding import local

Module = TypeVar("Module", bound=nn.Module)


def momentum_copy(student: Module) -> Module:
    """A copy that no gradient reaches."""
    teacher = copy.deepcopy(student)
    for parameter in teacher.parameters():
        parameter.requires_grad_(False)
    return teacher


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """teacher <- momentum * teacher + (1 - momentum) * student (arXiv:1911.05722, eq. 2), each tied weight once.

    Buffers (running statistics, counters) are copied: an average of integers means nothing.
    """
    for (name, slow), (other, fast) in zip(teacher.named_parameters(), student.named_parameters(), strict=True):
        assert name == other
        local(slow).lerp_(local(fast).to(slow.dtype), 1 - momentum)  # both are sharded alike
    for slow, fast in zip(teacher.buffers(), student.buffers(), strict=True):
        slow.copy_(fast)
