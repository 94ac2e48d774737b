"""The limits in a model card: sentences that follow from the facts of a run."""

from __future__ import annotations

from collections.abc import Iterator

from textssl.report.facts import Facts
from textssl.report.folder import ModelFolder
from textssl.report.markdown import escape
from textssl.report.paths import shown

FEW_EXAMPLES = 20  # of a class, below which its figures say little


def limits(model: ModelFolder, facts: Facts) -> list[str]:
    """The limits, each a whole sentence, the most important first."""
    return [*amount(facts), *of_labels(facts), *of_reading(model, facts), *of_behaviour(model), *facts.limits]


def amount(facts: Facts) -> Iterator[str]:
    if facts.texts:
        size = sum(text.bytes for text in facts.texts)
        if facts.started_from:
            start = escape(facts.started_from)
            yield f"Beyond {start} it has seen {size / 1e6:,.1f} MB of text; other text suits it less."
        else:
            yield f"It has seen {size / 1e6:,.1f} MB of text and knows nothing else."
        if any(text.held_out_documents for text in facts.texts):
            yield "Held-out figures are of text from the same sources; on other text expect less."
    if facts.texts or facts.pairs or facts.labelled:
        yield from of_language(facts)
    if not facts.figures and not (facts.labelled and facts.labelled.test):
        yield "No text was held out, so nothing here says how well it does on new text."


def of_language(facts: Facts) -> Iterator[str]:
    kept = list(dict.fromkeys(code for text in facts.texts for code in text.options.get("keep_languages") or ()))
    left_out = "nothing was left out for its language"
    if kept:
        left_out = f"documents in other languages than {', '.join(kept)} were left out"
    if not facts.languages:
        yield f"The language of the text is not known; {left_out}."
        return
    how = "as `prepare --language` was told" if facts.language_given else "by a guess from common words"
    yield f"Its text is in {', '.join(facts.languages)} ({how}; {left_out})."


def of_labels(facts: Facts) -> Iterator[str]:
    if not facts.labelled:
        return
    if facts.labelled.classes:
        yield (
            f"It knows {len(facts.labelled.classes)} labels and gives one of them to every text, also to those that "
            "belong to none."
        )
    few = [name for name, count in facts.labelled.classes.items() if count < FEW_EXAMPLES]
    if few:
        yield f"These labels had fewer than {FEW_EXAMPLES} training examples: {', '.join(map(escape, few))}."
    test = facts.labelled.others.get("test")
    source = f"from {escape(shown(test))}" if test else "from the same source as its training examples"
    yield f"Its test examples come {source}; on other text expect less."


def of_reading(model: ModelFolder, facts: Facts) -> Iterator[str]:
    trained = facts.config["data"]["sequence_length"]
    if model.kind == "static":
        yield "It does not see the order of words: a text is the set of its tokens."
    elif model.max_tokens is not None:
        longer = f", and it was trained on at most {trained:,}" if trained < model.max_tokens else ""
        yield f"It reads at most {model.max_tokens:,} tokens of a text{longer}."
    if model.lowercases:
        yield "The tokenizer lowercases, so capital letters play no part."


def of_behaviour(model: ModelFolder) -> Iterator[str]:
    if model.kind == "causal":
        yield (
            "It was not tuned to follow instructions or for safety: what it writes may be false, offensive, or a "
            "passage of its training text."
        )
    else:
        yield "It was not examined for bias: it repeats the associations of the text that it was trained on."
