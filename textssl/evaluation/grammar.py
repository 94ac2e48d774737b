"""Sentences of a small grammar whose factors are known: who did what, where and when."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FACTORS: dict[str, Sequence[str]] = {
    "subject": ("teacher", "farmer", "doctor", "lawyer", "singer", "pilot"),
    "number": ("singular", "plural"),
    "negation": ("affirmed", "denied"),
    "verb": ("bought", "sold", "lost", "found", "painted", "cleaned"),
    "object": ("car", "house", "boat", "piano", "bicycle", "garden"),
    "place": ("in London", "in Paris", "at home", "at school", "near the river", "on the island"),
    "time": ("yesterday", "last week", "on Monday", "in winter", "at night", "years ago"),
}


def sentences(count: int, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Texts, and (count, factors) the number of each factor's value; factors are drawn independently of each other."""
    rng = np.random.default_rng(seed)
    drawn = np.stack([rng.integers(len(values), size=count) for values in FACTORS.values()], axis=1)
    return [sentence(row) for row in drawn.tolist()], drawn


def sentence(numbers: Sequence[int]) -> str:
    """The sentence of one value of each factor, by their numbers."""
    of = {name: values[number] for (name, values), number in zip(FACTORS.items(), numbers, strict=True)}
    subject = f"{of['subject']}s" if of["number"] == "plural" else of["subject"]
    never = "never " if of["negation"] == "denied" else ""
    return f"The {subject} {never}{of['verb']} the {of['object']} {of['place']} {of['time']}."
