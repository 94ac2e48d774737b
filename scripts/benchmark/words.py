"""What the vectors of a sentence encoder know of single words: similarity (WordSim-353) and analogies.

python scripts/benchmark/words.py RUN/model [MODEL ...]

A line of JSON for each model, and first for its own random start: Spearman's rank correlation with the judges of
sample:wordsim, and of the questions of sample:analogies the share whose answer is nearest to b - a + c by cosine, among
all words of the questions (3CosAdd, arXiv:1301.3781, section 4.1), with a, b and c as possible answers and without.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def analogies(encoder: Any) -> dict[str, float]:
    """Shares of right answers, over all questions."""
    from textssl.commands.explore import sample_analogies
    from textssl.evaluation.figures import analogies as figures

    found = figures.analogies(encoder.embed, sample_analogies())
    return {
        "analogies": round(found.with_query_words, 4),
        "analogies_without_query_words": round(found.without_query_words, 4),
        "questions": found.questions,
    }


def measured(encoder: Any) -> dict[str, Any]:
    from textssl.evaluation.tasks.similarity import WordSimilarity

    ((_, figure),) = WordSimilarity("wordsim", "sample:wordsim").run(encoder)
    interval = [round(figure.low, 3), round(figure.high, 3)]
    return {"wordsim": round(figure.mean, 3), "wordsim_interval": interval, **analogies(encoder)}


def main(models: list[Path]) -> None:
    from textssl.inference.encoders import load_encoder, random_encoder

    for model in models:
        print(json.dumps({"model": "random", **measured(random_encoder(model, seed=0))}), flush=True)
        print(json.dumps({"model": str(model), **measured(load_encoder(model))}), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    sys.path.insert(0, str(ROOT))
    main(parser.parse_args().models)
