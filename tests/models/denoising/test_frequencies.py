"""Output layers that begin at the frequencies of the corpus, which are counted."""

import numpy as np
import pytest
import torch

from tests.objectives.embedded import BERT, built
from tests.tiny import make_corpus, tiny_config, tiny_tokenizer
from textssl.assembly.datasets import Data
from textssl.assembly.pretraining import assemble
from textssl.assembly.runs import start_accelerator
from textssl.config import Config
from textssl.data.corpus.corpus import Corpus
from textssl.models.denoising.frequencies import from_frequencies
from textssl.objectives import resolve_objective
from textssl.system.terminal import Terminal


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("frequencies")
    make_corpus(folder)
    return folder


def test_a_bias_of_zeros_becomes_the_logarithm_and_one_that_learned_stays():
    shares = np.array([0.5, 0.3, 0.2])
    bias = torch.zeros(4)  # a model with one token more than its tokenizer
    from_frequencies(bias, shares)
    assert torch.allclose(bias, torch.tensor([0.5, 0.3, 0.2, 0.2]).log())
    learned = torch.tensor([0.0, 1.0, 0.0])
    for given, frequencies in ((learned, shares), (torch.zeros(3), None)):
        before = given.clone()
        from_frequencies(given, frequencies)
        assert torch.equal(given, before)
    from_frequencies(None, shares)  # an output layer without a bias


def test_the_frequencies_are_those_of_the_corpora(folder):
    corpus = Corpus.open(folder / "corpus")
    tokens = np.concatenate([corpus.shard(shard).tokens[begin:end] for shard, begin, end in corpus.document_bounds()])
    size = len(tiny_tokenizer())
    expected = np.bincount(tokens, minlength=size) + 1
    found = Data([(corpus, 1.0)]).frequencies(size)
    np.testing.assert_allclose(found, expected / expected.sum())


@pytest.mark.parametrize("name", ["replaced_token", "diffusion", "tsdae"])
def test_an_untrained_model_knows_how_frequent_words_are(folder, name):
    """Its loss is near the entropy of single tokens, not the logarithm of the vocabulary."""
    model = () if name != "tsdae" else (f"model={{config: {BERT}}}",)
    config: Config = tiny_config(folder, name, *model, out=f"run-{name}")
    objective, config.objective = resolve_objective(config.objective)
    trainer, data, words = assemble(config, objective, start_accelerator(config), Terminal(stderr=True))
    shares = data.frequencies(len(words))
    entropy = -(shares * np.log(shares)).sum()
    batches = trainer.dataset[0]
    term = "generator" if name == "replaced_token" else name
    with torch.no_grad():
        total = sum(float(objective(batch).terms[term].total) for batch in batches)
    count = sum(objective.counts(batch)[term] for batch in batches)
    assert total / count < entropy + 0.5 < np.log(len(words))


def test_without_a_corpus_nothing_is_known():
    assert not built("tsdae").decoder.bias.any()
