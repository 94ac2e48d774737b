"""Output layers that know at the start how frequent words are."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


@torch.no_grad()
def from_frequencies(bias: Tensor | None, frequencies: np.ndarray | None) -> None:
    """The bias of an output layer becomes the logarithm of the frequencies, in place, if it is still all zeros.

    Else the hidden states have to say it first, all of them the same: for some hundred steps they grow along one
    direction, and the vectors of all texts grow alike. frequencies: (vocabulary,) shares; None changes nothing. A model
    may have more tokens than its tokenizer: those stay at the least.
    """
    if bias is None or frequencies is None or bool(bias.any()):
        return
    logarithms = torch.from_numpy(np.log(frequencies)).to(bias)
    bias.fill_(float(logarithms.min()))
    bias[: len(logarithms)] = logarithms
