"""Records of a comparison as `textssl compare` keeps them, without a run: figures, costs, curves and maps."""

from __future__ import annotations

from typing import Any

import numpy as np

from textssl.report.comparison.rows import make_rows

FIGURES = {
    **{f"news/probe_{shots}": 0.4 + 0.05 * place for place, shots in enumerate((2, 8, 64))},
    "news/probe_all": 0.7,
    "news/knn": 0.6,
    "sts/spearman": 0.5,
    "clusters/v_measure": 0.3,
    "retrieval/recall_1": 0.2,
    "geometry/rankme": 40.0,
}
LABELS = ["sport", "</script><b>economy</b>"]


def figure(mean: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - 0.02, "high": mean + 0.03}


def record(name: str, seed: int, gain: float, *, bits: float | None = None) -> dict[str, Any]:
    """Of a run that ended. gain: how much better than the figures above."""
    rng = np.random.default_rng(seed)
    means = {key: mean + gain for key, mean in FIGURES.items()}
    if bits is not None:
        means["text/bits_per_byte"] = bits
    differences = {key: {"difference": gain, "low": gain - 0.1, "high": gain + 0.1, "p": 0.01} for key in FIGURES}
    return {
        "name": name,
        "seed": seed,
        "model": "modernbert-nano",
        "peak_bytes": 500_000_000 + seed,
        **{"tokens": 1_000_000, "parameters": 4_000_000, "seconds": 120.5 + seed, "steps": 50, "loss": 1.0},
        "figures": {key: figure(mean) for key, mean in means.items()},
        "above_random": differences,
        "above_tfidf": {key: {**one, "p": 0.5} for key, one in differences.items()},
        "random": {"figures": {key: figure(mean) for key, mean in FIGURES.items()}, "map": places(99)},
        "map": places(seed),
        "curves": {
            "train/loss": [[step * 1e4, step, 9 - step / 10 + float(rng.random())] for step in range(30)],
            "features/rankme": [[step * 1e4, step, 10 + step] for step in range(30)],
            "features/mean_cosine": [[step * 1e4, step, 1 / (1 + step)] for step in range(30)],
            "eval/news/probe_8": [[step * 1e5, step, 0.4 + step / 50] for step in range(5)],
        },
    }


def places(seed: int) -> list[list[float]]:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(40, 2)) + 3 * np.array([[text % 2, 0] for text in range(40)])).round(2).tolist()


def runs() -> list[tuple[str, str, dict[str, Any]]]:
    """Two seeds of an objective, one of another, one that failed and one that has not been run."""
    return [
        ("worse", "modernbert-nano", record("worse", 0, 0.01, bits=2.5)),
        ("better", "modernbert-nano", record("better", 0, 0.1)),
        ("better", "modernbert-nano", record("better", 1, 0.2)),
        ("broken", "modernbert-nano", {"name": "broken", "seed": 0, "failed": "data.pairs is missing <b>"}),
        ("coming", "modernbert-nano", {}),
    ]


def comparison() -> dict[str, Any]:
    """As results.json has it."""
    records = runs()
    baselines = {
        "tfidf": {"words": "TF-IDF", "figures": {key: figure(mean) for key, mean in FIGURES.items()}, "map": places(7)},
        "random_1": {"words": "random initialisation", **records[0][2]["random"]},
    }
    return {
        "settings": {"budget": "120s", "suite": "quick", "models": ["nano"], "overrides": ["tokenizer=words"]},
        "rows": make_rows(records, baselines),
        "entries": {f"{name}-{number}": one for number, (name, _, one) in enumerate(records)},
        "baselines": baselines,
        "map": {"texts": [f"text {n}" for n in range(40)], "labels": [LABELS[n % 2] for n in range(40)]},
    }
