"""The documents of a step as arrays are those that the plan gives one by one, with their random numbers."""

from typing import Any

import numpy as np
import pytest

from tests.data.corpus.test_corpus import write
from textssl.batch import Texts
from textssl.data.batches.batching import Limits, TextDealing
from textssl.data.batches.loader import StepDataset
from textssl.data.corpus.corpus import Corpus
from textssl.data.plan import plan as plans
from textssl.data.plan import windows
from textssl.data.plan.plan import Plan
from textssl.objectives.crops import Crops
from textssl.objectives.pairs import Pairs
from textssl.sample_types import RowFormat
from textssl.views.kinds import CropsView, DeletionView

FORM = RowFormat(prefix=(2,), suffix=(3,), pad=0)


@pytest.fixture(params=[2**16, 40], ids=["whole", "excerpts"])
def plan(tmp_path, monkeypatch, request):
    """Two corpora of several shards and windows, whose longest documents may be cut."""
    monkeypatch.setattr(plans, "LONGEST_DOCUMENT_TOKENS", request.param)
    monkeypatch.setattr(windows, "LONGEST_DOCUMENT_TOKENS", request.param)
    corpora = []
    for number, weight in enumerate((1.0, 3.0)):
        (tmp_path / str(number)).mkdir()
        lengths = np.random.default_rng(number).integers(1, 90, 150)
        write(tmp_path / str(number), lengths, block_tokens=500, shard_tokens=2000)
        corpora.append((Corpus.open(tmp_path / str(number)), weight))
    return Plan(corpora, kind="documents", length=8, form=FORM, seed=3, window_tokens=3000)


def test_they_are_those_of_the_plan(plan):
    indices = range(700, 1000)  # of later epochs
    many = plan.many(indices)
    samples = [plan.sample(index) for index in indices]
    assert len(many.shards) > 4 and many.lengths.tolist() == [len(sample.ids) for sample in samples]
    assert (many.words(7) == [plan.rng(index).bit_generator.random_raw(7) for index in indices]).all()
    places = np.arange(-2, 95) + np.zeros((len(samples), 1), np.int64)
    for row, sample in zip(many.marks(places), samples, strict=True):
        assert row[:2].tolist() == [0, 0] and row[2 : 2 + len(sample.marks)].tolist() == sample.marks.tolist()
        assert not row[2 + len(sample.marks) :].any()
    view = CropsView()
    for number, sample in enumerate(samples):
        assert np.array_equal(many.all_marks(number), sample.marks)
        assert many.sources()[number] == view(sample, np.random.default_rng(0), 0.0).source
        assert np.array_equal(many.one(number)[0].ids, sample.ids)
    spans = np.stack([np.zeros_like(many.lengths), many.lengths, many.lengths - 1, many.lengths], axis=1)
    for (whole, last), sample in zip(many.texts(spans.reshape(-1, 2, 2)), samples, strict=True):
        assert whole.dtype == np.int64 and np.array_equal(whole, sample.ids) and last.tolist() == [sample.ids[-1]]


def steps(plan, view, at_once, **options):
    never: Any = None  # nothing is collated where texts are dealt
    dealing = TextDealing(FORM, 20, Limits(tokens=300))
    return StepDataset(plan, view, never, batch_size=50, dealing=dealing, at_once=at_once, **options)


@pytest.mark.parametrize("options", [{}, {"world_size": 60, "rank": 59}], ids=["alone", "a rank without samples"])
def test_a_step_is_the_same_either_way(plan, options):
    view = CropsView(min_tokens=2, max_tokens=18, max_gap=6)
    for step in (0, 11):
        one_by_one, at_once = (steps(plan, view, make, **options)[step] for make in (None, view.at_once))
        assert len(one_by_one) == len(at_once) and (options or len(at_once) > 1)
        for ours, theirs in zip(at_once, one_by_one, strict=True):
            assert isinstance(ours, Texts)
            for name in ("ids", "lengths", "samples", "text", "source"):
                assert getattr(ours, name).tolist() == getattr(theirs, name).tolist()


def test_what_arrays_cannot_tell_is_done_one_by_one(plan, monkeypatch):
    view, indices = CropsView(), range(30)

    def nothing_known(documents, *_):
        return np.zeros((len(documents.lengths), 2, 2), np.int64), np.arange(len(documents.lengths))

    monkeypatch.setattr("textssl.views.kinds.many_spans", nothing_known)
    for made, index in zip(view.at_once(plan.many(indices)), indices, strict=True):
        expected = view(plan.sample(index), plan.rng(index), 0.0)
        assert [[*ids] for ids in made.texts if ids is not None] == [
            [*ids] for ids in expected.texts if ids is not None
        ]


def test_sources_are_remembered_up_to_a_number(plan, monkeypatch):
    first = plan.many(range(40)).sources()
    assert plan.many(range(40)).sources() == first and 1 < len(plan.sources) <= 40
    monkeypatch.setattr(plans, "REMEMBERED_SOURCES", 10)
    plan.many(range(1))
    assert not plan.sources


def test_only_objectives_whose_view_it_is_make_it_at_once():
    class Cut(Crops):
        def make_view(self, sample, rng, progress):
            return super().make_view(sample, rng, progress)

    assert Crops(view=CropsView()).views_at_once is not None
    assert Cut(view=CropsView()).views_at_once is None
    assert Crops(view=DeletionView()).views_at_once is None
    assert Pairs().views_at_once is None
