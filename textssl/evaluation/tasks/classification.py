"""Classification as a task: few-label probes, nearest neighbours and fine-tuning on one labelled set."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from textssl.data.labelled.labelled_set import read_labeled
from textssl.data.text.drops import DropReport
from textssl.errors import UserError
from textssl.evaluation.baselines import majority
from textssl.evaluation.figures.figure import Accuracy, trained_repeatedly
from textssl.evaluation.figures.neighbors import nearest_neighbours
from textssl.evaluation.figures.probe import probe
from textssl.evaluation.split import Split, few_label_draws, split_by_hash

# method ("finetune" or "contrast"), training texts, their class numbers, test texts, seed -> (test,) class numbers
Tuner = Callable[[str, Sequence[str], np.ndarray, Sequence[str], int], np.ndarray]
TUNED = re.compile(r"(finetune|contrast)_([1-9]\d*|all)")


class Classification:
    """Figures `probe_8`, `probe_64` (one for each of `shots`), `probe_all` and `knn` of any features.

    name: the task's. path: a labelled set (text, label). test: another one, to test on; without it the hash of the text
    decides. max_train, max_test: caps, which `facts` shows. The set is read when it is first needed.
    tuned: further figures of training the whole model, METHOD_LABELS such as `finetune_all`, `finetune_8`, `contrast_8`
    (labels: so many a class, or all), the mean of `tuned_draws` draws, which are the probe's first ones.
    """

    kind = "classification"
    floor = "majority"
    tfidf: ClassVar[dict[str, bool] | None] = {"phrases": True, "rare_words": False}

    def __init__(
        self,
        name: str,
        path: str,
        *,
        test: str | None = None,
        max_train: int | None = None,
        max_test: int | None = None,
        shots: tuple[int, ...] = (8, 64),
        draws: int = 10,
        tuned: tuple[str, ...] = (),
        tuned_draws: int = 3,
        seed: int = 0,
    ) -> None:
        """Raises UserError for an unknown name in `tuned`, or no draw."""
        self.name, self.path, self.test = name, path, test
        self.max_train, self.max_test = max_train, max_test
        self.shots, self.draws, self.seed = shots, draws, seed
        self.tuned, self.tuned_draws = tuned, tuned_draws
        for wanted in tuned:
            if not TUNED.fullmatch(wanted):
                raise UserError(
                    f"{name}: tuned names {wanted!r}; it takes finetune or contrast with a number of labels a class or "
                    "all, such as finetune_all, finetune_8, contrast_8"
                )
        if tuned_draws < 1:
            raise UserError(f"{name}: tuned_draws is {tuned_draws}, it must be at least 1")

    @cached_property
    def split(self) -> Split:
        self.report = DropReport()
        texts, labels = _texts_and_labels(self.path, self.report)
        test = _texts_and_labels(self.test, self.report) if self.test else None
        return split_by_hash(self.name, texts, labels, test=test, max_train=self.max_train, max_test=self.max_test)

    def facts(self) -> dict[str, Any]:
        """How many examples stand behind the figures."""
        split = self.split
        counts = np.bincount(split.train_labels)
        wanted = max((shots for shots in self.shots if shots < counts.max()), default=0)  # as figures have them
        return {
            "kind": self.kind,
            "source": self.path,
            "classes": split.classes,
            "train_examples": len(split.train_texts),
            "test_examples": len(split.test_texts),
            "distinct_texts": split.available,
            "duplicates_dropped": split.duplicates,
            "conflicting_labels": split.conflicting,
            "dropped": self.report.as_dict(),
            "majority_share": float(np.bincount(split.test_labels).max() / len(split.test_labels)),
            "short_classes": {split.classes[c]: int(counts[c]) for c in np.flatnonzero(counts < wanted)},
        }

    def run(self, encoder: Any, progress: str | None = None) -> Iterator[tuple[str, Accuracy]]:
        """(name, figure) of an encoder, which has `fit(texts, labels)` and `embed(texts, progress=...)`."""
        split = self.split
        encoder.fit(split.train_texts, split.train_labels)
        train = encoder.embed(split.train_texts, progress=progress)
        test = encoder.embed(split.test_texts, progress=progress)  # apart: clustering may read the same texts
        sides = (train, split.train_labels, test, split.test_labels)
        for shots in (*self.shots, None):
            figure = probe(*sides, shots=shots, draws=self.draws, seed=self.seed)
            if figure is not None:
                yield f"probe_{shots or 'all'}", figure
        yield "knn", nearest_neighbours(*sides, seed=self.seed)

    def run_tuned(self, tuner: Tuner) -> Iterator[tuple[str, Accuracy]]:
        """(name, figure) of those in `tuned`; as for the probe, none where no class has more labels than asked for."""
        split = self.split
        counts = np.bincount(split.train_labels)
        for name in self.tuned:
            method, labels = name.split("_")
            if labels == "all":
                chosen = [np.arange(len(split.train_labels))]
            elif counts.max() <= int(labels):
                continue
            else:
                chosen = list(few_label_draws(split.train_labels, int(labels), self.tuned_draws, self.seed))
            predictions = []
            for draw, places in enumerate(chosen):
                texts = [split.train_texts[place] for place in places]
                seed = self.seed + draw
                predictions.append(np.asarray(tuner(method, texts, split.train_labels[places], split.test_texts, seed)))
            yield name, trained_repeatedly(split.test_labels, predictions, len(chosen[0]), self.seed)

    def run_floor(self) -> Iterator[tuple[str, Accuracy]]:
        """The same names for the majority class."""
        figure = majority(self.split.train_labels, self.split.test_labels, seed=self.seed)
        for name in (*(f"probe_{shots}" for shots in self.shots), "probe_all", "knn"):
            yield name, figure


def _texts_and_labels(path: str, report: DropReport) -> tuple[list[str], list[str]]:
    labeled = read_labeled(path, report=report)
    if labeled.text_b is not None or labeled.scores is not None:
        raise UserError(f"{path} holds pairs or scores; classification needs the columns text and label")
    return labeled.texts, labeled.labels
