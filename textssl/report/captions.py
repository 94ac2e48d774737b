"""The words around the figures of a suite: headings, captions, and the legend below all tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textssl.evaluation.figures.figure import METRICS
from textssl.evaluation.figures.paired import FEWEST
from textssl.evaluation.suite import ENGLISH, SUITES

LANGUAGE = ("language", "minimal_pairs", "lm_eval")  # kinds that read a language model
LEVEL = 0.05  # of the adjusted p, below which a difference is marked


def metric_words(name: str, facts: Mapping[str, Any]) -> str:
    return METRICS[name].words if name in METRICS else heading(name, facts)


def is_tuned(name: str) -> bool:
    return name.startswith(("finetune_", "contrast_"))


def heading(name: str, facts: Mapping[str, Any]) -> str:
    """`probe_8` -> "8 a class", `finetune_all` -> "fine-tuned, all 1,000"."""
    if is_tuned(name):
        method, labels = name.split("_")
        words = {"finetune": "fine-tuned", "contrast": "contrastive"}[method]
        return f"{words}, {heading(f'probe_{labels}', facts)}"
    if name == "probe_all":
        return f"all {facts['train_examples']:,}"
    if name.startswith("probe_"):
        return f"{name.removeprefix('probe_')} a class"
    return {"knn": "k-NN"}.get(name, name)


def caption(facts: Mapping[str, Any]) -> str:
    """How many examples the figures of a task are based on."""
    kind = facts.get("kind", "classification")
    if kind == "classification":
        words = (
            f"{facts['train_examples']:,} training and {facts['test_examples']:,} test texts "
            f"of {facts['distinct_texts']:,}, {len(facts['classes'])} classes"
        )
    elif kind == "clustering":
        words = f"{facts['texts']:,} texts of {facts['distinct_texts']:,}, {len(facts['classes'])} classes"
    elif kind in ("similarity", "word_similarity", "minimal_pairs"):
        words = f"{facts['pairs']:,} pairs" + _of(facts["pairs"], facts["available_pairs"])
    elif kind == "language":
        words = {"in": "in domain, ", "out": "out of domain, "}.get(facts["domain"], "")
        words += f"{facts['texts']:,} texts, {facts['tokens']:,} tokens, {facts['bytes']:,} bytes"
    elif kind == "lm_eval":
        words = f"lm-eval tasks {', '.join(facts['tasks'])}" + (f", {facts['limit']:,} each" if facts["limit"] else "")
    else:
        query, document = facts["columns"]
        words = f"{facts['queries']:,} x {query}, {facts['documents']:,} x {document}"
        words += _of(facts["documents"], facts["distinct_documents"])
    if facts.get("short_classes"):
        short = ", ".join(f"{name} {count}" for name, count in facts["short_classes"].items())
        words += f"; classes with fewer: {short}"
    if facts.get("conflicting_labels"):
        words += f"; {facts['conflicting_labels']:,} repeated texts with another label, of which the first counts"
    if facts.get("dropped"):
        words += "; dropped " + ", ".join(f"{count:,} for {reason}" for reason, count in facts["dropped"].items())
    if facts.get("truncated_share", 0) >= 0.005:
        words += f"; {facts['truncated_share']:.0%} of the texts cut at {facts['max_tokens']} tokens"
    return words


def _of(used: int, available: int) -> str:
    return f" of {available:,}" if used < available else ""


def legend(results: Mapping[str, Any]) -> str:
    """What the figures of all tables are."""
    kinds = {facts.get("kind", "classification") for facts in results["data"].values()}
    lines = ["\u00b1 is half a 95 % interval. Every row and column has the same examples."]
    if results.get("suite") in SUITES:
        lines.append(ENGLISH)
    if "classification" in kinds:
        lines.append(
            f"Accuracy: logistic regression on frozen features; for few labels the interval is over {results['draws']} "
            "draws of them, else over the test texts."
        )
    if results.get("baselines", {}).get("tfidf"):
        lines.append(
            "TF-IDF counts words or character n-grams: the better in cross-validation on the training texts where they "
            "have labels, elsewhere what suits the script."
        )
    if any(is_tuned(name) for figures in results.get("tasks", {}).values() for name in figures):
        lines.append(
            "Trained: all weights, with the labels alone (fine-tuned) or first as pairs of texts that share a label "
            "(contrastive); TF-IDF has a probe on as many labels."
        )
    if kinds - {"classification", "geometry", *LANGUAGE}:
        lines.append(
            "Compared by cosine: intervals are over pairs or queries. V-measure: over starts of k-means or mixtures of "
            "Gaussians with diagonal covariances; LSA is the SVD of TF-IDF."
        )
    if "geometry" in kinds:
        lines.append(
            "Geometry: spread is 1 for vectors in all directions alike and 0 at collapse, where the mean cosine is 1; "
            "RankMe counts directions. Of alignment (texts that belong together) and uniformity less is better, but "
            "only of both: a collapsed model aligns everything."
        )
    if "language" in kinds:
        lines.append(
            "Bits per byte: less is better; those of a diffusion model are an upper bound; pseudo ones (each token "
            "hidden in turn) compare among masked models."
        )
    if "minimal_pairs" in kinds:
        lines.append("Minimal pairs: the share whose right sentence is the more probable one; chance is 0.5.")
    if results.get("differences"):
        count = sum(map(len, results["differences"].values()))
        lines.append(
            "p: how likely so large a difference is where both models are equally good, by McNemar's exact test (right "
            "or wrong on test texts), a paired bootstrap (of pairs, queries and texts; of test texts and draws of "
            f"labels; of texts and starts) or a jackknife (geometry); fewer than {FEWEST} examples are not compared. "
            f"{count} figures are compared, and of so many some differ by chance: p adjusted allows for it (Holm), and "
            f"a difference is bold where it is below {LEVEL}."
        )
    return "\n".join(lines)
