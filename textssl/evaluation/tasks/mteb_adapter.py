"""mteb on our model folders, and our files as tasks of mteb: its arithmetic, without its hub.

Needs the extra: pip install 'textssl[eval]'. Any task of mteb takes an MtebEncoder; the tasks here read local files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, DatasetDict

from textssl.errors import UserError
from textssl.evaluation.tasks.classification import Classification
from textssl.evaluation.tasks.similarity import Similarity
from textssl.inference.encoders import load_encoder
from textssl.inference.features import DEFAULT_MAX_TOKENS
from textssl.inference.loading import find_model, weights_hash

try:
    import mteb
    from mteb import ResultCache
    from mteb.abstasks import AbsTask, AbsTaskClassification, AbsTaskSTS
    from mteb.abstasks.task_metadata import TaskMetadata
    from mteb.models import ModelMeta
    from mteb.models.abs_encoder import AbsEncoder
    from mteb.models.model_meta import ScoringFunction
except ImportError as error:
    raise UserError("mteb is not installed: pip install -c constraints.txt 'textssl[eval]'") from error

MAIN_SCORES = {"STS": "cosine_spearman", "Classification": "accuracy"}


class MtebEncoder(AbsEncoder):
    """A model folder as mteb sees a model: texts -> unit vectors, compared by cosine.

    mteb keeps scores by name and revision, and all models without a name share one. So the name is the hash of the
    weights, and the revision one of everything else that changes features: configuration, tokenizer, max_tokens.
    """

    def __init__(self, model: str | Path, *, max_tokens: int = DEFAULT_MAX_TOKENS) -> None:
        folder = find_model(model)
        self.model = load_encoder(folder, max_tokens=max_tokens)
        self.mteb_model_meta = ModelMeta.create_empty(
            {
                "name": f"textssl/{weights_hash(folder)}",
                "revision": settings_hash(folder, max_tokens),
                "embed_dim": self.model.width,
                "max_tokens": self.model.max_tokens,
                "similarity_fn_name": ScoringFunction.COSINE,
                "framework": ["PyTorch"],
            }
        )

    def encode(self, inputs: Any, **options: Any) -> np.ndarray:
        """(texts, width) of batches of {"text": texts}; which task, split and prompt they belong to changes nothing."""
        return self.model.embed([text for batch in inputs for text in batch["text"]])


def settings_hash(folder: Path, max_tokens: int) -> str:
    """sha256 over max_tokens and all files of a model folder but its weights, the first 16 hexadecimal digits."""
    digest = hashlib.sha256(str(max_tokens).encode())
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.suffix not in (".safetensors", ".bin"):
            digest.update(str(file.relative_to(folder)).encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


class LocalSTS(AbsTaskSTS):
    """Pairs with scores (text_a, text_b, score) out of any file, as a task of mteb."""

    def __init__(self, name: str, path: str, **options: Any) -> None:
        left, right, scores = Similarity(name, path, **options).sides
        self.columns = {"sentence1": left, "sentence2": right, "score": scores.tolist()}
        self.min_score, self.max_score = scores.min(), scores.max()
        self.metadata = _metadata(name, path, "STS", [*left, *right, *map(str, scores)])
        super().__init__()

    def load_data(self, num_proc: int | None = None, **options: Any) -> None:
        self.dataset = DatasetDict({"test": Dataset.from_dict(self.columns)})  # type: ignore[assignment]
        self.data_loaded = True

    def unload_data(self) -> None:
        self.dataset, self.data_loaded = None, False  # mteb's own also drops `metadata`, which it keeps on the class


class LocalClassification(AbsTaskClassification):
    """A labelled set (text, label) out of any file, split as in our own probes, as a task of mteb."""

    def __init__(self, name: str, path: str, **options: Any) -> None:
        split = Classification(name, path, **options).split
        self.columns = {
            "train": {"text": split.train_texts, "label": split.train_labels.tolist()},
            "test": {"text": split.test_texts, "label": split.test_labels.tolist()},
        }
        labels = [split.classes[label] for label in (*split.train_labels, *split.test_labels)]
        self.metadata = _metadata(name, path, "Classification", [*split.train_texts, *split.test_texts, *labels])
        super().__init__()

    def load_data(self, num_proc: int | None = None, **options: Any) -> None:
        parts = {part: Dataset.from_dict(columns) for part, columns in self.columns.items()}
        self.dataset = DatasetDict(parts)  # type: ignore[assignment]
        self.data_loaded = True

    def unload_data(self) -> None:
        self.dataset, self.data_loaded = None, False


def _metadata(name: str, path: str, kind: Any, content: Sequence[str]) -> TaskMetadata:
    """What mteb wants to know about a task; the revision is a hash of the content, which keeps its scores apart.

    The hash is in the name too: two files of one name and revision would share a place in the cache.
    """
    digest = hashlib.sha256()
    for text in content:
        digest.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
    revision = digest.hexdigest()[:16]
    return TaskMetadata(
        dataset={"path": path, "revision": revision},
        name=f"{name}-{revision}",
        description=f"{name}, out of {path}",
        type=kind,
        category="t2t",
        eval_splits=["test"],
        eval_langs=["mul-Latn"],
        main_score=MAIN_SCORES[kind],
    )


def evaluate_with_mteb(
    encoder: MtebEncoder, tasks: Sequence[AbsTask], *, cache: str | Path | None = None
) -> dict[str, dict[str, Any]]:
    """{task: {score: value}} of the test split of each task.

    cache: a folder where mteb keeps scores and finds them again; None keeps none.
    """
    kept = ResultCache(Path(cache)) if cache is not None else None
    results = mteb.evaluate(encoder, tasks, cache=kept, co2_tracker=False, show_progress_bar=False)  # type: ignore[arg-type]
    return {result.task_name: dict(result.scores["test"][0]) for result in results.task_results}
