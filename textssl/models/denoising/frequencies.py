"""Output layers whose bias starts at the logarithm of the token frequencies."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


@torch.no_grad()
def from_frequencies(bias: Tensor | None, frequencies: np.ndarray | None) -> None:
    """The bias of an output layer becomes the logarithm of the frequencies, in place, if it is still all zeros.

    Otherwise the hidden states have to learn the frequencies first, all in the same way: for a few hundred steps they
    grow along one direction, and the vectors of all texts become alike. frequencies: (vocabulary,) shares; None changes
    nothing. A model may have more tokens than its tokenizer: those get the lowest value.
    """
    if bias is None or frequencies is None or bool(bias.any()):
        return
    logarithms = torch.from_numpy(np.log(frequencies)).to(bias)
    bias.fill_(float(logarithms.min()))
    bias[: len(logarithms)] = logarithms
