"""Model cards: RUN/model/README.md as the hub expects it, filled from the run that made the folder."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from textssl import __version__
from textssl.data.corpus.cleaning.filters import Cleaning
from textssl.evaluation.measure import versions
from textssl.report.facts import ARXIV, Facts, Labelled, TrainingText
from textssl.report.finetuned import HEADINGS, number, row_words
from textssl.report.folder import ModelFolder
from textssl.report.limits import limits
from textssl.report.markdown import block, escape, table
from textssl.report.paths import shown
from textssl.system.files import write_text

CARD = "README.md"
WHAT = {  # kind -> the first words of a card
    "masked": "A masked language model",
    "shifted": "A masked language model that predicts the next place (the logits for a gap stand one place before it)",
    "causal": "A causal language model",
    "seq2seq": "An encoder-decoder that repairs text",
    "sentence": "A sentence encoder",
    "static": "A static sentence encoder (the weighted mean of token vectors)",
    "classifier": "A text classifier",
    "regressor": "A model that gives a text a score",
    "headed": "A text classifier, which is a sentence encoder and a linear layer on its vectors",
    "encoder": "A text encoder",
    "other": "A model",
}
ITEMS = {"masked": "nats a hidden token", "causal": "nats a token", "seq2seq": "nats a written token of text"}
PREPARED = {  # defaults of `prepare`
    **{"held_out": 0.01, "text_column": "text", "one_document_per": "blank-line"},
    "language": "auto",
}


def write_card(folder: str | Path, facts: Facts) -> Path:
    """Write FOLDER/README.md, aside and then renamed; what another program left there is replaced."""
    folder = Path(folder)
    return write_text(folder / CARD, render(folder, facts))


def render(folder: Path, facts: Facts) -> str:
    """The whole card."""
    model = ModelFolder.read(folder)
    pairs = facts.labelled is not None and facts.labelled.pairs
    code = model.code(facts.examples, pairs)
    parts = [
        front_matter(model, facts),
        f"# {escape(facts.config['name'])}",
        introduction(model, facts),
        *([f"## Use\n\n{block(code, 'python')}"] if code else []),
        "## Training data\n\n" + "\n\n".join(training_data(facts)),
        "## Training\n\n" + training(facts),
        *figures(model, facts),
        "## Limits\n\n" + "\n".join(f"- {sentence}" for sentence in limits(model, facts)),
        "## To repeat it\n\n" + repeat(facts),
        "## Versions\n\n" + ", ".join(f"{name} {version}" for name, version in versions().items()),
    ]
    return "\n\n".join(parts) + "\n"


def front_matter(model: ModelFolder, facts: Facts) -> str:
    """What the hub reads: names, tags, the task; no path."""
    tags = ["textssl", "self-supervised-learning", *(method.name for method in facts.methods if ":" not in method.name)]
    if model.library == "sentence-transformers":
        tags += ["sentence-transformers", "feature-extraction"]
    values: dict[str, Any] = {"language": list(facts.languages)} if facts.languages else {}
    values["library_name"] = model.library
    if model.pipeline:
        values["pipeline_tag"] = model.pipeline
    values["tags"] = list(dict.fromkeys(tags))
    if facts.base_model:
        values["base_model"] = facts.base_model
    inputs = [name for text in facts.texts for name in text.inputs]
    datasets = [name.removeprefix("hf://").split("@")[0].split(":")[0] for name in inputs if name.startswith("hf://")]
    if datasets:
        values["datasets"] = list(dict.fromkeys(datasets))
    return f"---\n{yaml.safe_dump(values, sort_keys=False, allow_unicode=True)}---"


def introduction(model: ModelFolder, facts: Facts) -> str:
    start = f"went on from {escape(facts.started_from)}" if facts.started_from else "began with no pretrained weights"
    if model.kind == "static" and not facts.started_from:
        start = "began with no pretrained model"
    objective = facts.methods[0].name
    size = [
        escape(model.family),
        escape(model.shape),
        f"{model.parameters:,} parameters",
        f"a vocabulary of {model.vocabulary:,} tokens",
    ]
    return (
        f"{WHAT[model.kind]}: {', '.join(part for part in size if part)}. Training with `{objective}` {start}.\n"
        f"Made with textssl {__version__}; loading it needs {model.library} alone."
    )


def training_data(facts: Facts) -> Iterator[str]:
    if facts.texts:
        shares = len(facts.texts) > 1
        header = ["corpus", "made of", "documents", "tokens", "bytes", "held out", *(["share"] if shares else [])]
        rows = [
            [
                *(escape(text.name), ", ".join(map(escape, text.inputs)) or "unknown"),
                *(f"{text.documents:,}", f"{text.tokens:,}"),
                *(f"{text.bytes:,}", f"{text.held_out_documents:,} documents"),
                *([f"{text.share:.0%}"] if shares else []),
            ]
            for text in facts.texts
        ]
        yield table(header, rows, words=2)
    if facts.pairs:
        yield f"{facts.pairs[1]:,} given pairs of texts, from {escape(facts.pairs[0])}."
    if facts.labelled:
        yield from labelled_data(facts.labelled)
    for name, words in facts.licences.items():
        yield f"`{name}`: {words}."


def labelled_data(labelled: Labelled) -> Iterator[str]:
    own = {name: f" (from {escape(shown(source))})" for name, source in labelled.others.items()}
    splits = ", ".join(f"{count:,} to {name}{own.get(name, '')}" for name, count in labelled.splits.items())
    kind, source = "pairs of texts" if labelled.pairs else "texts", escape(shown(labelled.source))
    yield f"Labelled {kind} from {source}: {splits}."
    if labelled.classes:
        yield table(["label", "training examples"], ([escape(name), f"{n:,}"] for name, n in labelled.classes.items()))


def training(facts: Facts) -> str:
    """What each objective does, and below it how it was trained, as a table."""
    lines = []
    for method in facts.methods:
        options = ", ".join(
            f"{key} {escape(short(value))}" for key, value in method.options.items() if value is not None
        )
        words = ARXIV.sub(r"[arXiv:\1](https://arxiv.org/abs/\1)", method.words)
        lines.append(f"`{method.name}`: {words}" + (f" Options: {options}." if options else ""))
    if facts.labelled and facts.labelled.temperature:
        lines.append(
            f"Its probabilities are calibrated: the logits are divided by the temperature "
            f"{facts.labelled.temperature:.3g}, which is part of the weights and changes no answer. It minimises the "
            "log loss of the training texts, each answered by a linear layer that was fitted without it, on vectors of "
            "the encoder and on those from before it was tuned, of which the less sure counts. With few labels it is "
            "an estimate."
        )
    summary, config = facts.summary, facts.config
    processes = summary["num_processes"]
    rows = [
        ["steps", f"{summary['steps']:,}" + resumed(summary)],
        ["samples of a step", f"{config['train']['batch_size']:,}"],
        ["tokens through the model", f"{summary['tokens']:,}"],
        ["seconds of training", f"{summary['seconds']:,.0f}"],
        ["hardware", f"{processes} process{'es' * (processes > 1)} on {summary['device']} in {summary['precision']}"],
        ["optimizer", f"{config['optimizer']['name']}, learning rate {config['optimizer']['lr']:g}"],
        ["schedule", config["schedule"]["name"]],
        ["seed", str(config["seed"])],
    ]
    return "\n\n".join([*lines, table(["", ""], rows, words=2)])


def resumed(summary: Mapping[str, Any]) -> str:
    steps = summary.get("resumed_from") or []
    skipped = summary.get("skipped_steps") or 0
    words = [f"continued from step {', '.join(map(str, steps))}"] if steps else []
    words += [f"{skipped} not finite and skipped"] if skipped else []
    return f" ({'; '.join(words)})" if words else ""


def short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def figures(model: ModelFolder, facts: Facts) -> Iterator[str]:
    """What was measured: by the run itself, and on a labelled test split together with baselines."""
    bound = model.objective == "diffusion"
    named = {
        "eval/loss": f"held-out loss, {'nats a token, at most' if bound else ITEMS.get(model.kind, 'nats')}",
        "eval/bits_per_byte": "held-out bits per byte"
        + ", at most" * bound
        + " of what is written" * (model.kind == "seq2seq"),
        "eval/target_overflow": "tokens cut off the held-out targets",
    }
    rows = [
        [named.get(name, escape(name.removeprefix("eval/"))), f"{value:.4g}"]
        for name, value in facts.figures.items()
        if not name.endswith("seconds") and isinstance(value, int | float)
    ]
    if not rows and facts.summary.get("train_loss") is not None:
        rows = [["training loss (nothing was held out)", f"{facts.summary['train_loss']:.4g}"]]
    if rows:
        best = facts.summary.get("best")
        when = f"of step {best['step']}, the best by {best['figure']}" if best else "at the end of training"
        yield f"## Figures {when}\n\n" + table(["figure", "value"], rows)
    if facts.labelled and facts.labelled.test:
        yield "## Test\n\n" + "\n\n".join(test_figures(facts.labelled))


def test_figures(labelled: Labelled) -> Iterator[str]:
    names = list(dict.fromkeys(name for row in labelled.test.values() for name in row))
    rows = [
        [
            escape(row_words(answer, labelled.terms)),
            *(interval(name, row[name]) if name in row else "" for name in names),
        ]
        for answer, row in labelled.test.items()
    ]
    examples = labelled.splits.get("test")
    on = f" of {examples:,} examples" if examples else ""
    yield f"On the test split{on}; in brackets the 95 % interval, where there is one."
    yield table(["", *(HEADINGS.get(name, name.replace("_", " ")) for name in names)], rows)
    if labelled.confusion is not None:
        classes = [escape(name) for name in labelled.classes]
        counts = zip(classes, labelled.confusion, strict=True)
        yield "Confusion matrix of this model, a row for each true label, a column for each answer:"
        yield table(["true", *classes], ([name, *(f"{int(count):,}" for count in row)] for name, row in counts))


def interval(name: str, figure: Any) -> str:
    if not isinstance(figure, Mapping):
        return "" if figure is None else number(name, figure)
    low, mean, high = (number(name, figure[part]) for part in ("low", "mean", "high"))
    return f"{mean} ({low} to {high})" if figure["low"] < figure["high"] else mean


def repeat(facts: Facts) -> str:
    """The commands, and the whole configuration in a folded block."""
    processes = facts.summary["num_processes"]
    start = f"torchrun --nproc_per_node {processes} -m textssl" if processes > 1 else "textssl"
    commands = [*(prepare(text, facts.config["tokenizer"]) for text in facts.texts if text.inputs)]
    commands.append(f"{start} {facts.command} config.yaml")
    text = yaml.safe_dump(facts.config, sort_keys=False, allow_unicode=True)
    return (
        "Paths are shortened to names: put your own in their place.\n\n"
        + block("".join(f"{command}\n" for command in commands), "bash")
        + f"\n\n<details>\n<summary>config.yaml</summary>\n\n{block(text, 'yaml')}\n\n</details>"
    )


def prepare(text: TrainingText, tokenizer: str | None) -> str:
    words = ["textssl", "prepare", "--input", *text.inputs, "--tokenizer", tokenizer or "tokenizer", "--out", text.name]
    for key, default in PREPARED.items():
        value = text.options.get(key, default)
        if value != default:
            words += option(key, value)
    for rule in fields(Cleaning):  # what was kept out of the corpus
        if rule.name in text.options:
            words += option(rule.name, text.options[rule.name])
    return shlex.join(words)


def option(key: str, value: Any) -> list[str]:
    """An option of `textssl prepare` as it is typed."""
    name = f"--{key.replace('_', '-')}"
    if value is True:
        return [name]
    text = ",".join(value) if isinstance(value, list) else value if isinstance(value, str) else json.dumps(value)
    return [f"{name}={text}"] if text.startswith("-") else [name, text]
