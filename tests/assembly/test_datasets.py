"""A configuration becomes the data of a run: pairs beside a corpus, held-out steps, and what is refused."""

import json
import shutil
from math import isfinite
from typing import Any

import pytest
from rich.console import Console

from tests.tiny import make_corpus, sentence_config, texts, tiny_config, write_corpus
from textssl import distributed, tokenizer
from textssl.assembly.datasets import Data, build_steps, check_files, planned
from textssl.assembly.held_out_text import held_out_steps
from textssl.assembly.pretraining import assemble
from textssl.assembly.runs import start_accelerator
from textssl.commands.pretrain import pretrain
from textssl.data.corpus.corpus import Corpus
from textssl.errors import UserError
from textssl.objectives import resolve_objective

PAIRS = [
    {"text_a": f"question {n}", "text_b": f"answer {n} of many", **({"negative": f"no answer {n}"} if n % 2 else {})}
    for n in range(30)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("datasets")
    make_corpus(folder)
    (folder / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in PAIRS))
    labelled = "".join(json.dumps(pair | {"label": n % 3, "score": n % 5}) + "\n" for n, pair in enumerate(PAIRS))
    (folder / "labelled.jsonl").write_text(labelled)
    scored = "".join(json.dumps(pair | {"score": n % 5}) + "\n" for n, pair in enumerate(PAIRS))
    (folder / "scored.jsonl").write_text(scored)
    return folder


def assembled(config) -> tuple[Any, Data]:
    objective, config.objective = resolve_objective(config.objective)
    trainer, data, _ = assemble(config, objective, start_accelerator(config), Console(stderr=True))
    return trainer, data


@pytest.mark.slow
@pytest.mark.parametrize("file, width", [("pairs", 3), ("labelled", 3), ("scored", 3)])
def test_given_pairs_need_no_corpus_and_bring_their_loss(folder, file, width):
    given = (f"data.pairs={folder}/{file}.jsonl", "data.corpus=[]", "objective.score_range=[0,4]")
    config = sentence_config(folder, "pairs", *given, "train.max_steps=4", out=f"given-{file}")
    summary = pretrain(config)
    assert summary.steps == 4 and isfinite(summary.loss or 0)
    chosen = {"pairs": "contrast", "labelled": "classification", "scored": "regression"}[file]
    trainer, data = assembled(sentence_config(folder, "pairs", *given, out=f"looked-at-{file}"))
    assert trainer.objective.chosen_loss == chosen and data.corpora == [] and trainer.evaluations == []
    (batch,) = trainer.dataset[0]
    assert set((batch.samples % width).tolist()) == {0, 1, 2}


def test_dropped_pairs_are_reported(folder, capsys):
    with (folder / "some.jsonl").open("w") as file:
        file.write((folder / "pairs.jsonl").read_text() + json.dumps({"text_a": "", "text_b": ""}) + "\n")
    config = sentence_config(folder, "pairs", f"data.pairs={folder}/some.jsonl", "train.max_steps=1", out="some")
    pretrain(config)
    assert "data.pairs: 1 records dropped: empty text: 1, first" in " ".join(capsys.readouterr().err.split())


def test_pairs_and_a_corpus_train_together_and_hold_out_the_corpus(folder):
    parts = "objective={name: sum, parts: [{name: pairs, batch_size: 4}, {name: crops, view: {max_tokens: 16}}]}"
    config = tiny_config(folder, "sum", parts, f"data.pairs={folder}/pairs.jsonl", "train.max_steps=3", out="both")
    summary = pretrain(config)
    assert summary.steps == 3 and isfinite(summary.loss or 0)
    lines = [json.loads(line) for line in (folder / "both" / "metrics.jsonl").read_text().splitlines()]
    assert {"train/pairs", "train/crops"} <= lines[0].keys()
    assert "eval/loss" in lines[-1] and "eval/pairs" not in lines[-1]


def test_a_sum_of_given_pairs_alone_has_nothing_held_out(folder):
    parts = "objective={name: sum, parts: [{name: pairs}]}"
    config = tiny_config(folder, "sum", parts, f"data.pairs={folder}/pairs.jsonl", "train.max_steps=2", out="alone")
    assert pretrain(config).steps == 2


@pytest.mark.parametrize("objective", ["crops", "pairs", "sum"])
def test_held_out_steps_are_whole_and_do_not_depend_on_the_seed(folder, objective):
    found = []
    for seed in (0, 5):
        config = sentence_config(folder, objective, f"seed={seed}", "train.batch_size=4", "evaluation.max_rows=9")
        trainer, data = assembled(config)
        steps, corpus = held_out_steps(config, trainer.objective, data, pytest.fail) or pytest.fail("nothing held out")
        assert corpus.manifest["split"] == "held-out"
        for part in planned(steps):
            if trainer.objective.has_batch_loss and part.dealing is not None:
                assert part.num_samples == 8 and len(part) == 2
        found.append([batch.samples.tolist() for step in range(len(steps)) for batch in steps[step]])
        found.append([batch.tokens for step in range(len(steps)) for batch in steps[step]])
    assert found[:2] == found[2:]


@pytest.mark.parametrize("objective, rows", [("diffusion", 8), ("mlm", 9)])
def test_held_out_rows_whose_rates_are_spread_over_a_step_are_whole_steps(folder, objective, rows):
    config = tiny_config(folder, objective, "train.batch_size=4", "evaluation.max_rows=9")
    trainer, data = assembled(config)
    steps, _ = held_out_steps(config, trainer.objective, data, pytest.fail) or pytest.fail("nothing held out")
    batches = [batch for step in range(len(steps)) for batch in steps[step]]
    assert sum(map(len, batches)) == rows
    if objective == "diffusion":  # the loss is an integral over rates: each quarter has as many rows
        shares = [1 / float(row.max()) for batch in batches for row in batch.numbers]  # type: ignore[attr-defined]
        assert sorted(int(4 * share) for share in shares) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_the_held_out_text_of_a_mixture_is_read_by_every_part(folder):
    config = sentence_config(folder, "sum", "train.batch_size=4", "evaluation.max_rows=16")
    trainer, data = assembled(config)
    steps, _ = held_out_steps(config, trainer.objective, data, pytest.fail) or pytest.fail("nothing held out")
    crops, mlm = planned(steps)
    assert len(crops) < len(mlm) == len(steps)  # the shorter part ends, the longer one goes on
    rows = [len(batch) for step in range(len(steps)) for batch in steps[step] if batch.name == "mlm"]  # pyright: ignore
    assert sum(rows) == mlm.num_samples


def test_held_out_text_of_one_corpus_of_several_or_of_none_is_said(folder, tmp_path):
    write_corpus(tmp_path / "other", texts()[:20], "train")

    def told(*overrides):
        config = tiny_config(folder, "mlm", *overrides)
        trainer, data = assembled(config)
        said: list[str] = []
        assert held_out_steps(config, trainer.objective, data, said.append) is not None
        return " ".join(said)

    both = f"data.corpus=[{{path: {folder}/corpus}}, {{path: {tmp_path}/other}}]"
    assert f"that of {folder}/corpus alone, the first of several" in told(both)
    assert told() == told(both, f"data.held_out={folder}/corpus/held-out") == ""
    assert "is trained on too" in told(f"data.held_out={folder}/corpus")


def test_a_default_split_without_such_samples_is_said_and_a_named_one_refused(folder, tmp_path):
    write_corpus(tmp_path / "corpus", texts()[:20], "train")
    write_corpus(tmp_path / "corpus" / "held-out", ["one sentence"], "held-out")
    said: list[str] = []
    config = sentence_config(folder, "pairs", f"data.corpus={tmp_path / 'corpus'}", "train.batch_size=4")
    trainer, data = assembled(config)
    assert held_out_steps(config, trainer.objective, data, said.append) is None
    assert "holds no two sentences in one document" in said[0]
    config.data.held_out = str(tmp_path / "corpus" / "held-out")
    with pytest.raises(UserError, match="no two sentences"):
        held_out_steps(config, trainer.objective, data, pytest.fail)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("objective", "override", "message"),
    [
        ("crops", "data.pairs=FOLDER/pairs.jsonl", "data.pairs is for objective.name=pairs"),
        ("sum", "data.pairs=FOLDER/pairs.jsonl", "data.pairs is for the objective pairs"),
        ("pairs", "data.corpus=[]", "data.corpus is missing"),
        ("pairs", "data.pairs=FOLDER/nowhere.jsonl", "there is no file"),
        ("pairs", "data.pairs=FOLDER/scored.jsonl", r"the score 2 is outside objective.score_range=\[0.0, 1.0\]"),
        ("pairs", "objective.loss=regression", "needs data.pairs with the column score"),
        ("simcse", "model.dropout=0", "makes its views by dropout"),
        ("crops", "objective.matryoshka=[64]", "matryoshka names 64, but the vectors are 32 wide"),
        ("mlm", "model={preset: static-nano}", "static-nano is a static encoder, which predicts no tokens"),
        ("sum", "model={preset: static-nano}", "a static encoder predicts no tokens"),
        ("crops", "model={preset: statc-nano}", "did you mean static-nano"),
        ("crops", "data.sequence_length=1", "data.sequence_length"),
        ("crops", "data.sequence_length=16", "objective.view.max_tokens is 20, but texts are cut at 14 tokens"),
        ("crops", "train.batch_size=1", "it needs 2 or more"),
        ("pairs", "train.batch_size=1", "it needs 2 or more"),
        ("crops", "model={config: {model_type: static, sif: 0}}", "model.config.sif"),
        ("crops", "model={config: {model_type: static, hidden_size: -4}}", "model.config.hidden_size"),
        ("crops", "model={preset: static-nano, dropout: 0.1}", "neither dropout nor attention"),
        ("crops", "model={config: {model_type: t5}}", "t5 cannot be used to embed text"),
        (
            "sum",
            "objective.parts=[{name: crops, view: {min_token: 2}}]",
            "mean objective.parts.0.view.min_tokens",
        ),
    ],
)
def test_what_does_not_go_together_is_said_before_anything_is_written(folder, objective, override, message):
    make = tiny_config if objective == "mlm" else sentence_config
    with pytest.raises(UserError, match=message):
        pretrain(make(folder, objective, override.replace("FOLDER", str(folder)), "train.max_steps=1", out="wrong"))
    assert not (folder / "wrong").exists()


def test_labels_are_for_finetune(tmp_path):
    make_corpus(tmp_path)
    with pytest.raises(UserError, match=r"data\.train is for `textssl finetune`"):
        pretrain(tiny_config(tmp_path, "mlm", "data.train=sample:bbc"))


def test_a_damaged_corpus_stops_a_run_before_its_first_step(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    file = tmp_path / "copy" / "corpus" / "tokens-00000.npy"
    data = bytearray(file.read_bytes())
    data[-2] ^= 1
    file.write_bytes(data)
    with pytest.raises(UserError, match=r"tokens-00000\.npy is not the file that prepare wrote"):
        pretrain(tiny_config(tmp_path / "copy", "mlm"))
    assert not (tmp_path / "copy" / "run").exists()


def test_a_held_out_split_that_lost_its_manifest_is_named(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "corpus" / "held-out" / "corpus.json").unlink()
    with pytest.raises(UserError, match=r"held-out is not a prepared corpus: it has no corpus\.json"):
        pretrain(tiny_config(tmp_path / "copy", "mlm"))


def test_a_contrast_needs_more_than_one_document(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy" / "corpus")
    write_corpus(tmp_path / "copy" / "corpus", ["\n\n".join(texts()[:5])], "train")
    with pytest.raises(UserError, match=r"holds 1 sample \(of kind documents\).*--one-document-per"):
        pretrain(sentence_config(tmp_path / "copy", "crops"))


@pytest.mark.parametrize("name", ["crops", "simcse", "moco", "pairs"])
def test_views_of_a_corpus_are_what_the_exported_encoder_reads(folder, name):
    """Every text of a step, special tokens included, is what the tokenizer makes of its letters."""
    trainer, data = assembled(sentence_config(folder, name, out=f"views-{name}"))
    words = tokenizer.load(folder / "tokenizer")
    words.backend_tokenizer.encode_special_tokens = True
    plain = Data(data.corpora)
    differing = texts = 0
    for batch in trainer.dataset[0]:
        for ids in batch.ids.split(batch.lengths.tolist()):
            text = str(words.decode(ids.tolist()[1:-1])).strip()
            assert words(text)["input_ids"] == ids.tolist()
            texts += 1
    without = build_steps(trainer.config, trainer.objective, plain, trainer.config.seed)
    batches: Any = [*trainer.dataset[0]], [*without[0]]
    shown = {tuple(ids.tolist()) for batch in batches[0] for ids in batch.ids.split(batch.lengths.tolist())}
    for batch in batches[1]:
        differing += sum(tuple(ids.tolist()) not in shown for ids in batch.ids.split(batch.lengths.tolist()))
    assert texts > 8 and differing


def test_a_host_with_a_copy_of_its_own_checks_it(folder, tmp_path, monkeypatch):
    """As the second rank of two, of which the first one reads FOLDER/corpus."""
    shutil.copytree(folder / "corpus", tmp_path / "copy")
    shared, copied = Corpus.open(folder / "corpus"), Corpus.open(tmp_path / "copy")
    assert shared.identity() == Corpus.open(folder / "corpus").identity() != copied.identity()
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(distributed, "from_first_rank", lambda make: (0, shared.identity()))
    monkeypatch.setattr(distributed, "agree", lambda make: make())
    check_files(copied)
    tokens = next(iter(copied.files))
    tokens.write_bytes(tokens.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match="is not the file that prepare wrote"):
        check_files(copied)
    monkeypatch.setenv("LOCAL_RANK", "1")
    check_files(copied)  # which another rank of its host does
    monkeypatch.setenv("LOCAL_RANK", "0")
    tokens.unlink()
    with pytest.raises(UserError, match="is not the file that prepare wrote"):
        check_files(copied)
