"""What the collapse monitor sees of objectives that model rows token by token: the mean state of each row."""

from __future__ import annotations

import torch
from torch import Tensor

from textssl.batch import Rows
from textssl.objectives.base import Objective, Watched


class WatchedRows(Objective):
    """An objective whose `forward` gives the feature `row`, of `row_states`; that of a subclass need not."""

    def row_features(self, hidden: Tensor, batch: Rows) -> dict[str, Tensor]:
        """The feature `row`, of what the backbone gives: (rows, length, width). None where that is logits: the token
        frequencies that they share would be taken for a collapse."""
        return {"row": row_states(hidden, batch)} if self.backbone.supports_partial_logits else {}

    def watched(self, features: dict[str, Tensor]) -> Watched | None:
        """The mean state of each row with tokens. Means of many are alike by nature: their rank tells nothing."""
        rows = features.get("row")
        if rows is None:
            return None
        written = rows.any(1)  # the zeros of a row of padding alone would hide that all others are equal
        return Watched(rows[written] if written.any() else rows, ranked=False)


@torch.no_grad()
def row_states(states: Tensor, batch: Rows) -> Tensor:
    """(rows, width), the mean state of each row's tokens, without a gradient. states: (rows, length, width)."""
    text = (batch.documents > 0).to(states.dtype)
    shares = text / text.sum(1, keepdim=True).clamp(min=1)
    return torch.bmm(shares.unsqueeze(1), states).squeeze(1)
