"""What a stock class cannot know of a language model: how the objective that trained it reads it.

It travels in config.json as `textssl: {objective, prediction_offset}`, and stands there only where stock classes would
read the model in another way than it was trained.
"""

from __future__ import annotations

from typing import Any, NamedTuple

KEY = "textssl"


class Pretext(NamedTuple):
    """objective: the name. prediction_offset: the place that is predicted, minus the place where its logits stand."""

    objective: str
    prediction_offset: int = 0


def write_pretext(config: Any, pretext: Pretext | None) -> None:
    """Put it into a transformers configuration; None takes out what an earlier objective has left."""
    if pretext is not None:
        setattr(config, KEY, pretext._asdict())
    elif hasattr(config, KEY):
        delattr(config, KEY)


def read_pretext(config: Any) -> Pretext | None:
    """What a configuration says, None where it says nothing that can be read."""
    found = getattr(config, KEY, None)
    if not isinstance(found, dict) or not isinstance(found.get("objective"), str):
        return None
    offset = found.get("prediction_offset", 0)
    return Pretext(found["objective"], offset if isinstance(offset, int) else 0)
