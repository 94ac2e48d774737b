"""Training, validation and test texts of a labelled set: given as files, or split off by class."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from textssl.data.keyed_random import LABELLED, generator
from textssl.data.labelled.connected import connected, whole_groups
from textssl.data.labelled.labelled_set import Labeled, Target, read_labeled, text_hash
from textssl.data.text.drops import DropReport
from textssl.errors import UserError, excerpt
from textssl.sample_types import LabelFacts
from textssl.sections import DataConfig

DUPLICATE, CONFLICTING = "duplicate text", "text with two labels"
IN_TEST, IN_VALIDATION = "training text that is also in the test set", "training text that is also in validation"
SCORE_BINS = 10  # number of quantile bins by which scores are stratified


@dataclass
class Splits:
    """A labelled set in three parts; validation is None where all that is not tested trains.

    report: what was dropped and why. given: the parts that are files of their own. few: whether the training part is
    data.shots texts of each class.
    """

    train: Labeled
    validation: Labeled | None
    test: Labeled | None
    report: DropReport = field(default_factory=DropReport)
    given: tuple[str, ...] = ()
    few: bool = False

    @property
    def learnable(self) -> Labeled:
        """What a model that chooses nothing by validation may learn from: train and, unless `few`, validation texts."""
        train, validation = self.train, self.validation
        if validation is None or self.few:
            return train
        return Labeled(
            train.name,
            [*train.texts, *validation.texts],
            [*train.labels, *validation.labels],
            None if train.text_b is None else [*train.text_b, *(validation.text_b or ())],
            None if train.scores is None else [*train.scores, *(validation.scores or ())],
        )

    @property
    def parts(self) -> dict[str, Labeled]:
        named = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: part for name, part in named.items() if part is not None}

    @property
    def facts(self) -> LabelFacts:
        if self.train.scores is not None:
            scores = np.array(self.train.scores)
            mean = float(scores.mean())
            # The computed deviation of equal scores may be 1e-17, not 0; any unit of their magnitude will do.
            return LabelFacts(mean=mean, deviation=float(scores.std()) if np.ptp(scores) else abs(mean) or 1.0)
        counts = {name: len(places) for name, places in by_class(self.train.labels).items()}
        return LabelFacts(tuple(counts), tuple(counts.values()))

    @property
    def untested(self) -> list[str]:
        """The classes of which no test text is."""
        return [] if self.test is None else sorted(set(self.train.labels) - set(self.test.labels))

    @property
    def fingerprint(self) -> str:
        """Changes when any text, label, score or part does."""
        found = [[part.texts, part.labels, part.text_b, part.scores] for part in self.parts.values()]
        return hashlib.sha256(json.dumps(found).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def read_splits(data: DataConfig, seed: int, target: Target = "auto") -> Splits:
    """The parts that a configuration names; those that it does not name are split off the training file.

    Test and validation texts are never trained on. A part that is split off holds a share of every class (scores: of
    every tenth of them, or of fewer ranges where texts are few), chosen by the hash of the text, so that it is the same
    whatever the seed or the order of the file. Pairs that share a text stay in one part, and shares are approximate.
    data.shots keeps this many texts of each class to train on, drawn with `seed`; no validation part is then split off,
    as with data.validation_share=0.
    Raises UserError where a file cannot be used or a part would be empty.
    """
    if data.train is None:
        raise UserError("data.train is missing: name a labelled file, e.g. data.train=reviews.csv or sample:bbc")
    report = DropReport()
    train = read_labeled(data.train, report=report, target=target)
    others = {}
    for name in ("validation", "test"):
        path = getattr(data, name)
        if path is not None:
            others[name] = read_labeled(path, report=report, target=target, varied=False)
            check_alike(train, others[name], f"data.{name}={path}")
    train = without_repeats(train, report, data.train)
    validation, test = others.get("validation"), others.get("test")
    if test is not None:
        train = without(train, test, report, IN_TEST, data.train)
        validation = None if validation is None else without(validation, test, report, IN_TEST, str(data.validation))
    if validation is not None:  # before a test part is split off, which must not hold them either
        train = without(train, validation, report, IN_VALIDATION, data.train)
    if test is None:
        train, test = split_off(train, data.test_share)
    if validation is None and data.shots is None and data.validation_share:
        train, validation = split_off(train, data.validation_share)
    if data.shots is not None:
        train = few_labels(train, data.shots, seed)
    splits = Splits(train, validation, test, report, tuple(others), few=data.shots is not None)
    check_parts(splits, data)
    return splits


def check_alike(train: Labeled, other: Labeled, name: str) -> None:
    if train.kind != other.kind:
        raise UserError(f"{name} holds {other.kind}, but data.train holds {train.kind}: give both the same columns")


def check_parts(splits: Splits, data: DataConfig) -> None:
    """UserError where a part is empty, or the training part has a single class or lacks one of another part."""
    for name, part in splits.parts.items():
        if not len(part):
            if name in splits.given:
                raise UserError(f"data.{name}={getattr(data, name)}: all its texts are in the test file too")
            raise UserError(f"data.train={data.train}: {why_empty(name, splits, data)}{_dropped(splits.report)}")
    train = splits.train
    if train.scores is None and len(set(train.labels)) < 2:
        raise UserError(
            f"data.train={data.train}: all texts left to train on have the label {excerpt(train.labels[0])}"
            f"{_dropped(splits.report)}"
        )
    for name, part in splits.parts.items():
        unknown = sorted(set(part.labels) - set(train.labels))
        if unknown:
            more = f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""
            count = sum(label in unknown for label in part.labels)
            where = f"data.{name}={getattr(data, name)}" if name in splits.given else f"the {name} part"
            raise UserError(
                f"{where}: {count:,} of {len(part):,} texts have the label {excerpt(unknown[0])}{more}, which no "
                "training text has: leave them out, or give such texts to train on"
            )


def why_empty(name: str, splits: Splits, data: DataConfig) -> str:
    """Why no text is left for a part that is not a file of its own, and what would help."""
    if name == "train":
        return "no text is left to train on, all are in the test or the validation file too"
    few, train = f"too few texts to split off a {name} part", splits.train
    if max(map(len, strata(train, hashes_of(train), getattr(data, f"{name}_share")))) < 2:
        group = "class" if train.scores is None else "range of scores"
        return f"{few}: no {group} has two of the {len(train):,} different ones; give data.{name}, or more texts"
    if train.text_b is not None and (groups := connected(list(zip(train.texts, train.text_b, strict=True)))):
        largest = max(map(len, groups))
        if largest > 1:
            return (
                f"no {name} part can be split off, as pairs that share a text stay together and {largest:,} of the "
                f"{len(train):,} pairs do, directly or through others: give data.{name}"
            )
    return f"{few}: give data.{name}, or a larger data.{name}_share"


def _dropped(report: DropReport) -> str:
    return f"; dropped: {report.summary()}" if report.total else ""


def without_repeats(labeled: Labeled, report: DropReport, file: str) -> Labeled:
    """Each text once, whatever its white space, with the first of its labels or scores; `report` has the others."""
    seen: dict[str, int] = {}
    for place in range(len(labeled)):
        first = seen.setdefault(labeled.words(place), place)
        if first != place:
            same = labeled.scores[first] == labeled.scores[place] if labeled.scores else (
                labeled.labels[first] == labeled.labels[place]
            )  # fmt: skip
            report.add(DUPLICATE if same else CONFLICTING, file, labeled.texts[place][:40])
    return labeled.take(list(seen.values()))


def without(labeled: Labeled, other: Labeled, report: DropReport, reason: str, file: str) -> Labeled:
    """The records of `file` whose text, whatever its white space, is not in `other`; `report` has the rest."""
    taken = {other.words(place) for place in range(len(other))}
    kept = []
    for place in range(len(labeled)):
        if labeled.words(place) in taken:
            report.add(reason, file, labeled.texts[place][:40])
        else:
            kept.append(place)
    return labeled.take(kept)


def split_off(labeled: Labeled, share: float) -> tuple[Labeled, Labeled]:
    """(the rest, a share of every stratum by the hash of the text); the rest keeps at least one record of each.

    Pairs that share a text go to the same side, so that their share is approximate.
    """
    hashes = hashes_of(labeled)
    layers = strata(labeled, hashes, share)
    wanted = [min(int(share * len(places) + 0.5), len(places) - 1) for places in layers]
    chosen: set[int] = set()
    if labeled.text_b is not None:
        groups = connected(list(zip(labeled.texts, labeled.text_b, strict=True)))
        chosen = whole_groups(groups, layers, wanted, hashes)
    else:
        for places, count in zip(layers, wanted, strict=True):
            chosen.update(sorted(places, key=lambda place: hashes[place])[:count])
    everything = range(len(labeled))
    return labeled.take([p for p in everything if p not in chosen]), labeled.take(sorted(chosen))


def hashes_of(labeled: Labeled) -> list[int]:
    return [text_hash(labeled.key(place)) for place in range(len(labeled))]


def strata(labeled: Labeled, hashes: list[int], share: float) -> list[list[int]]:
    """Indices of the records by class, or by quantiles of the scores, where hashes break ties.

    There are SCORE_BINS quantiles, but no more than leave one record or more of each to a `share`.
    """
    if labeled.scores is None:
        return list(by_class(labeled.labels).values())
    bins = min(SCORE_BINS, max(1, int(share * len(labeled))))
    order = np.lexsort((np.array(hashes, np.uint64), np.array(labeled.scores)))
    return [part.tolist() for part in np.array_split(order, bins) if len(part)]


def by_class(labels: Sequence[str]) -> dict[str, list[int]]:
    """Indices of the records of each class, in the order of the classes' names."""
    found: dict[str, list[int]] = defaultdict(list)
    for place, label in enumerate(labels):
        found[label].append(place)
    return dict(sorted(found.items()))


def few_labels(labeled: Labeled, shots: int, seed: int) -> Labeled:
    """`shots` texts of each class (all of a class that has fewer), drawn with the seed. UserError for scores."""
    if labeled.scores is not None:
        raise UserError("data.shots counts texts of each class, but the texts have scores: leave it out")
    rng = generator(seed, LABELLED, shots)
    chosen = [place for places in by_class(labeled.labels).values() for place in rng.permutation(places)[:shots]]
    return labeled.take(sorted(chosen))
