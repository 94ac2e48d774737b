"""A configuration becomes the data of a run: the steps to train on, and those to evaluate on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sparse
from rich.console import Console
from transformers import PreTrainedTokenizerFast

from textssl import distributed, tokenizer
from textssl.data.batches.batching import Limits, TextDealing
from textssl.data.batches.labelled_examples import LabelPairs
from textssl.data.batches.loader import JoinedSteps, StepDataset, Steps
from textssl.data.batches.standalone import StandaloneTokens
from textssl.data.batches.token_reader import TokenReader
from textssl.data.corpus.corpus import Corpus
from textssl.data.labelled.given_pairs import PairOrder, read_pairs
from textssl.data.plan.plan import Order, Plan
from textssl.data.text.drops import DropReport
from textssl.errors import UserError
from textssl.objectives.base import Objective
from textssl.sample_types import Document, Views, content_key
from textssl.sections import Config
from textssl.training.tracking import announce

COUNTED_TOKENS = 2**25
DOCUMENTS_AT_ONCE = 1_024  # per rank, in a pass over the corpus
SHOWN_SECONDS = 2.0  # a check of a corpus that takes longer is announced


@dataclass
class Data:
    """What a run trains on: prepared corpora with their weights, and given pairs where there are any.

    standalone: tokenizes pieces of the corpora as texts of their own; needed where an objective embeds such pieces.
    """

    corpora: list[tuple[Corpus, float]]
    pairs: PairOrder | LabelPairs | None = None
    standalone: StandaloneTokens | None = None

    @property
    def num_documents(self) -> int:
        """Documents of the corpora; without corpora, given pairs."""
        return sum(corpus.documents for corpus, _ in self.corpora) or (len(self.pairs.pairs) if self.pairs else 0)

    def counts(self, size: int, most: int = COUNTED_TOKENS) -> sparse.csr_matrix:
        """(size, documents): how often each token occurs in each document, over the first `most` tokens.

        Corpora and given pairs share that number equally; a given pair counts as a document.
        """
        sources = [corpus_documents(corpus) for corpus, _ in self.corpora]
        if self.pairs is not None:
            sources.append(np.concatenate([pair.left, pair.right]) for pair in self.pairs.pairs)
        ids, lengths = [], []
        for documents in sources:
            left = most // len(sources)
            for document in documents:
                ids.append(document[:left])
                lengths.append(len(ids[-1]))
                left -= lengths[-1]
                if left <= 0:
                    break
        columns = np.repeat(np.arange(len(lengths)), lengths)
        flat = np.concatenate(ids)
        return sparse.csr_matrix((np.ones(len(flat)), (flat, columns)), shape=(size, len(lengths)))

    def frequencies(self, size: int) -> np.ndarray:
        """(size,): the share of each token in the first COUNTED_TOKENS of the corpora, with add-one smoothing."""
        counts = np.ones(size)
        for corpus, _ in self.corpora:
            left = COUNTED_TOKENS // len(self.corpora)
            for document in corpus_documents(corpus):
                np.add.at(counts, document[:left], 1.0)
                left -= len(document)
                if left <= 0:
                    break
        return counts / counts.sum()

    def fingerprints(self, config: Config) -> dict[str, str]:
        """Fingerprints of the corpora and pairs by path, which a resumed run must share."""
        found = {str(corpus.path): corpus.fingerprint for corpus, _ in self.corpora}
        return found | ({str(config.data.pairs): self.pairs.fingerprint} if self.pairs else {})


def corpus_documents(corpus: Corpus) -> Iterator[np.ndarray]:
    """Token ids of every document, (tokens,) each."""
    for shard, begin, end in corpus.document_bounds():
        yield np.asarray(corpus.shard(shard).tokens[begin:end])


def open_data(
    config: Config, objective: Objective, words: PreTrainedTokenizerFast, source: str, console: Console
) -> Data:
    """Open what the configuration names, check it against the tokenizer, and tell the objective about given pairs.

    source: the tokenizer's name, for messages. Raises UserError.
    """
    for key in ("train", "validation", "test", "shots"):
        if getattr(config.data, key) is not None:
            raise UserError(f"data.{key} is for `textssl finetune`, which learns labels: leave it out")
    pairs = given_pairs(config, objective, words, console)
    if not config.data.corpus:
        if sample_kinds(objective) == {"pairs"}:
            return Data([], pairs)
        raise UserError("data.corpus is missing: name a folder made by `textssl prepare`, e.g. data.corpus=DIR")
    corpora = [open_checked(share.path, console) for share in config.data.corpus]
    for corpus in corpora:
        check_tokenizer(corpus, words, source)
    weights = [share.weight for share in config.data.corpus]
    cuts = any(part.deals != "rows" and part.draws != "pairs" for part in objective.leaves)
    return Data(
        list(zip(corpora, weights, strict=True)), pairs, StandaloneTokens(words.backend_tokenizer) if cuts else None
    )


def check_tokenizer(corpus: Corpus, words: PreTrainedTokenizerFast, source: str) -> None:
    """Raise UserError where a corpus was prepared with another tokenizer. source: the name of this one."""
    if corpus.tokenizer_hash != tokenizer.tokenizer_hash(words):
        raise UserError(f"the corpus {corpus.path} was prepared with another tokenizer than {source}: prepare it again")


def open_checked(path: str | Path, console: Console) -> Corpus:
    """Open a corpus and check its files; where that takes long, the first rank says so. Raises UserError."""
    corpus, started = Corpus.open(path), time.monotonic()
    read = check_files(corpus)
    seconds = time.monotonic() - started
    if seconds > SHOWN_SECONDS and distributed.rank() == 0:
        announce(console, f"checked the {read / 2**20:,.0f} MiB of {path} in {seconds:.0f} s, once until they change")
    return corpus


def check_files(corpus: Corpus) -> int:
    """Check that the files of a corpus are those that prepare wrote: on the first rank, and on one of each host that
    has a copy of its own. Returns the bytes that the first rank read. Raises UserError on every rank.
    """
    if distributed.world_size() == 1:
        return corpus.check()
    read, first = distributed.from_first_rank(lambda: (corpus.check(), corpus.identity()))
    distributed.agree(lambda: corpus.check() if distributed.first_of_host() and corpus.identity() != first else 0)
    return read


def given_pairs(
    config: Config, objective: Objective, words: PreTrainedTokenizerFast, console: Console
) -> PairOrder | None:
    if config.data.pairs is None:
        return None
    taker = next((part for part in objective.leaves if part.takes_pairs), objective)
    report, reader = DropReport(), TokenReader(words, special_tokens=False)
    pairs = read_pairs(
        config.data.pairs,
        lambda texts: reader.read(texts).rows,
        seed=config.seed,
        length=config.data.sequence_length,
        score_range=getattr(taker, "score_range", (0.0, 1.0)),
        target=getattr(taker, "target", "none"),
        report=report,
    )
    if report.total and distributed.rank() == 0:
        announce(console, f"data.pairs: {report.total:,} records dropped: {report.summary()}", style="yellow")
    objective.take_pairs(pairs.facts)
    return pairs


def training_steps(config: Config, objective: Objective, data: Data, progress: Callable[[int], float]) -> Steps:
    """This rank's share of every step."""
    return build_steps(config, objective, data, config.seed, progress=progress)


def build_steps(
    config: Config, objective: Objective, data: Data, seed: int, most: int | None = None, **options: Any
) -> Steps:
    """Steps of an objective or, side by side, of the parts of a mixture. most: samples, of data read once."""
    if not objective.parts:
        return build_part(config, objective, data, seed, config.train.batch_size, most, options)
    parts = objective.parts
    if most is not None:  # given pairs have no held-out part
        parts = {name: part for name, part in parts.items() if part.objective.draws != "pairs"}
    return JoinedSteps({
        name: build_part(config, part.objective, data, seed, part.batch_size or config.train.batch_size, most, options)
        for name, part in parts.items()
    })  # fmt: skip


def build_part(
    config: Config,
    objective: Objective,
    data: Data,
    seed: int,
    batch_size: int,
    most: int | None,
    options: dict[str, Any],
) -> StepDataset:
    form, order = objective.row_format(), sample_order(config, objective, data, seed)
    objective.check_length(config.data.sequence_length - form.overhead)
    if batch_size < objective.least_samples:
        raise UserError(
            f"train.batch_size is {batch_size}: this objective compares the samples of a step, it needs "
            f"{objective.least_samples} or more"
        )
    if len(order) < objective.least_samples:
        raise UserError(
            f"the text holds {len(order)} sample (of kind {objective.draws}), and this objective compares "
            "samples: give more documents, see --one-document-per of `textssl prepare`"
        )
    if most is not None:
        options = {**options, "num_samples": min(len(order), most)}
        if objective.has_batch_loss:  # a smaller last step would have fewer negatives, and another loss
            batch_size = min(batch_size, options["num_samples"])
        if objective.has_batch_loss or (objective.whole_steps and options["num_samples"] > batch_size):
            options["num_samples"] -= options["num_samples"] % batch_size
    return StepDataset(
        order,
        objective.make_view,
        objective.collate,
        batch_size=batch_size,
        micro_batch_size=config.train.micro_batch_size,
        world_size=distributed.world_size(),
        rank=distributed.rank(),
        dealing=text_dealing(config, objective, data) if objective.deals != "rows" else None,
        at_once=objective.views_at_once,
        **options,
    )


def text_dealing(config: Config, objective: Objective, data: Data) -> TextDealing:
    standalone = None if objective.draws == "pairs" else data.standalone  # given pairs are tokenized that way
    return TextDealing(
        *(objective.row_format(), config.data.sequence_length, limits(config, objective), standalone),
        together=objective.deals == "samples",
    )


def document_passes(config: Config, objective: Objective, data: Data) -> list[StepDataset]:
    """One pass over each corpus: the beginning of every document as a text, under the same key as its views."""
    form = objective.row_format()
    dealing = TextDealing(form, config.data.sequence_length, limits(config, objective), data.standalone)
    passes = []
    for corpus, _ in data.corpora:
        options = {"form": form, "seed": config.seed, "window_tokens": config.data.window_tokens}
        order = Plan([(corpus, 1.0)], kind="documents", length=config.data.sequence_length, **options)
        passes.append(
            StepDataset(
                *(order, first_text, objective.collate),
                batch_size=DOCUMENTS_AT_ONCE * distributed.world_size(),
                world_size=distributed.world_size(),
                rank=distributed.rank(),
                num_samples=len(order),
                dealing=dealing,
            )
        )
    return passes


def first_text(sample: Document, rng: np.random.Generator, progress: float) -> Views:
    return Views([sample.ids], content_key(sample.ids) if sample.source is None else sample.source)


def sample_order(config: Config, objective: Objective, data: Data, seed: int) -> Order:
    if objective.draws == "pairs":
        assert data.pairs is not None
        return data.pairs
    return Plan(
        data.corpora,
        kind=objective.draws,
        length=config.data.sequence_length,
        form=objective.row_format(),
        seed=seed,
        window_tokens=config.data.window_tokens,
    )


def limits(config: Config, objective: Objective) -> Limits:
    """What fits into one forward pass: micro_batch_size samples of two views, micro_batch_tokens padded tokens."""
    texts = None if config.train.micro_batch_size is None else 2 * config.train.micro_batch_size
    tokens = config.train.micro_batch_tokens
    return Limits(texts, tokens, slack=0.0) if objective.backbone.static else Limits(texts, tokens)


def sample_kinds(objective: Objective) -> set[str]:
    """The kinds of samples that an objective, or the parts of a mixture, draw."""
    return {part.draws for part in objective.leaves}


def planned(steps: Steps) -> Sequence[StepDataset]:
    return list(steps.parts.values()) if isinstance(steps, JoinedSteps) else [steps]
