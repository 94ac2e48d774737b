"""An objective on a tiny encoder, features to give to its loss, and what equal contents must never do."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.tiny import MODELS, tiny_tokenizer
from textssl.assembly.pretraining import token_head
from textssl.batch import Texts, stack_texts
from textssl.data.batches.batching import frame
from textssl.models.build import build_model
from textssl.models.heads import LanguageModel
from textssl.models.sentence import build_sentence_model
from textssl.objectives import resolve_objective
from textssl.objectives.base import Facts
from textssl.sample_types import PairFacts, Row, Views
from textssl.sections import ModelConfig
from textssl.tokenizer.vocabulary import Vocabulary

WIDTH = 8
BERT = {
    "model_type": "bert",
    "hidden_size": WIDTH,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}


def built(name: str, facts: PairFacts | None = None, model: dict[str, Any] = BERT, **options: Any) -> Any:
    """The objective on a sentence model (default: a BERT that is 8 wide), in float64."""
    words = tiny_tokenizer()
    objective, _ = resolve_objective({"name": name, **options})
    if facts is not None:
        objective.take_pairs(facts)
    spec = ModelConfig(config=model, dropout=None if model["model_type"] == "static" else 0.1)
    torch.manual_seed(0)
    backbone = build_sentence_model(spec, words, head=token_head(objective), sequence_length=32, seed=0)
    objective.build(backbone, Facts(Vocabulary.of(words), sequence_length=32, num_documents=100, num_steps=10))
    return objective.double()


def draw(rows: int, width: int = WIDTH, seed: int = 0) -> Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def two_view_features(samples: int, width: int = WIDTH) -> dict[str, Tensor]:
    """As encode gives them, gathered: vectors of views 0 and 1 of every sample; all contents differ."""
    rows = 2 * samples
    text = torch.arange(rows) + 1000
    source = torch.arange(rows) // 2 + 5000
    return {"text": draw(rows, width), "content": torch.stack([text, source], dim=1)}


def loss_of(objective: Any, features: dict[str, Tensor]) -> float:
    """The one loss of an objective."""
    (loss,) = objective.batch_loss(features).values()
    return float(loss.detach())


def moved(features: dict[str, Tensor], name: str, rows: Any) -> dict[str, Tensor]:
    """The same features with other vectors in these rows."""
    changed = features[name].clone()
    changed[rows] = draw(len(changed), changed.shape[1], seed=99)[rows]
    return {**features, name: changed}


def row_objective(name: str, config: dict[str, Any] | None = None, batch_size: int = 4, **options: Any) -> Any:
    """An objective on packed rows and a tiny model (default: the ModernBERT of tests.tiny), in float64."""
    words = tiny_tokenizer()
    objective, _ = resolve_objective({"name": name, **options})
    spec = ModelConfig(config=config or MODELS["modernbert"])
    torch.manual_seed(0)
    model = build_model(spec, words, causal=token_head(objective), sequence_length=64, seed=0)
    facts = Facts(Vocabulary.of(words), 64, num_documents=100, num_steps=10, batch_size=batch_size)
    objective.build(LanguageModel(model), facts)
    return objective.double()


def packed_rows(objective: Any, count: int) -> list[Row]:
    """Rows of 64 tokens, each of two documents and some padding."""
    form, size = objective.row_format(), objective.vocabulary.size
    numbers = np.random.default_rng(0)
    rows = []
    for _ in range(count):
        ids, documents, positions, special = [], [], [], []
        for number, length in ((1, int(numbers.integers(20, 30))), (2, int(numbers.integers(20, 30)))):
            tokens = [*form.prefix, *numbers.integers(10, size, length).tolist(), *form.suffix]
            ids += tokens
            documents += [number] * len(tokens)
            positions += range(len(tokens))
            special += [place < len(form.prefix) or place >= len(form.prefix) + length for place in range(len(tokens))]
        rest = 64 - len(ids)
        arrays = (ids + [form.pad] * rest, documents + [0] * rest, positions + list(range(rest)))
        ids, documents, positions = (np.array(values, dtype=np.int64) for values in arrays)
        marks = np.ones(64, np.uint8)
        rows.append(Row(ids, documents.astype(np.int32), positions, marks, np.array(special + [True] * rest)))
    return rows


def rows_of(objective: Any, count: int, chosen: list[int] | None = None) -> Any:
    """The batch of a step of so many rows, or those of its rows that are chosen."""
    views = [
        objective.make_view(row, np.random.default_rng(number), 0.0)
        for number, row in enumerate(packed_rows(objective, count))
    ]
    chosen = list(range(count)) if chosen is None else chosen
    return objective.collate([views[place] for place in chosen], chosen)


def easy_batch(objective: Any, step: int, count: int = 4) -> Any:
    """A batch of a language that is easily learned: each document is one word, over and over."""
    rng, rows = np.random.default_rng(step), packed_rows(objective, count)
    for row in rows:
        words = rng.integers(10, 40, 3)  # of padding, and of the two documents
        row.ids[~row.special] = words[row.documents[~row.special]]
    views = [objective.make_view(row, np.random.default_rng((step, n)), 0.0) for n, row in enumerate(rows)]
    return objective.collate(views, range(count))


def train_easily(objective: Any, steps: int) -> None:
    """So many steps of Adam on `easy_batch`."""
    optimizer = torch.optim.Adam(objective.parameters(), lr=3e-3)
    for step in range(steps):
        optimizer.zero_grad()
        batch = easy_batch(objective, step)
        terms, counts = objective(batch).terms, objective.counts(batch)
        torch.stack([term.weight * term.total / counts[name] for name, term in terms.items()]).sum().backward()
        optimizer.step()


def row_texts(objective: Any, views: list[Views]) -> Texts:
    """The texts of samples that stay together, framed, as one micro-batch."""
    form = objective.row_format()
    texts = [
        (sample * len(view.texts) + number, frame(ids, form, 32), view.source, view.target)
        for sample, view in enumerate(views)
        for number, ids in enumerate(view.texts)
        if ids is not None
    ]
    return stack_texts(*(zip(*texts, strict=True) if texts else ([], [], [], [])))
