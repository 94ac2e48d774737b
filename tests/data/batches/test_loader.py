"""What a step shows does not depend on processes, micro-batches or loader workers."""

from typing import Any

import numpy as np
import pytest
import torch

from textssl.batch import Part, Texts
from textssl.data.batches.batching import Limits, TextDealing
from textssl.data.batches.loader import JoinedSteps, StepDataset, load_steps
from textssl.data.keyed_random import SAMPLE, generator
from textssl.sample_types import RowFormat, Views, content_keys


class Numbers:
    """Samples that are their own place, and texts of 1 to 40 tokens of them."""

    def __len__(self) -> int:
        return 10

    def sample(self, index: int) -> int:
        return index

    def rng(self, index: int) -> np.random.Generator:
        return generator(3, SAMPLE, index)


def corrupt(sample: int, rng: np.random.Generator, progress: float) -> Views:
    return Views([rng.integers(0, 50, rng.integers(1, 40)) for _ in range(2)], source=sample, target=progress)


def collate(views, samples):
    raise AssertionError("texts are dealt by length")


def steps(world_size=1, rank=0, batch_size=7, **limits):
    texts = TextDealing(RowFormat(prefix=(60,)), 30, Limits(**limits))
    options = {"batch_size": batch_size, "world_size": world_size, "rank": rank, "dealing": texts}
    return StepDataset(Numbers(), corrupt, collate, progress=lambda step: step / 10, **options)


def shown(batches):
    """place -> (ids, text, source, target)"""
    found = {}
    for batch in batches:
        for at, ids in enumerate(batch.ids.split(batch.lengths.tolist())):
            place = int(batch.samples[at])
            assert place not in found
            found[place] = (ids.tolist(), int(batch.text[at]), int(batch.source[at]), float(batch.targets[at]))
    return found


def test_a_rank_reads_and_shows_its_own_samples_alone():
    asked: list[int] = []

    class Watching(Numbers):
        def sample(self, index: int) -> int:
            asked.append(index)
            return index

    dataset = steps(world_size=64, rank=17, batch_size=128)
    dataset.plan = Watching()
    shown_here = shown(dataset[2])
    assert asked == [2 * 128 + 34, 2 * 128 + 35] and sorted(shown_here) == [68, 69, 70, 71]


@pytest.mark.parametrize("step", [0, 3])
@pytest.mark.parametrize("world, limits", [(1, {"texts": 3}), (2, {}), (3, {"tokens": 50}), (4, {"texts": 1}), (9, {})])
def test_a_step_is_the_same_set_however_it_is_dealt(step, world, limits):
    expected = shown(steps()[step])
    assert list(range(14)) == sorted(expected)
    assert {source for _, _, source, _ in expected.values()} == set(range(7 * step, 7 * step + 7))
    shares = [steps(world, rank, **limits)[step] for rank in range(world)]
    assert min(len(share) for share in shares) > 0
    assert shown([batch for share in shares for batch in share]) == expected
    for ids, text, _, target in expected.values():
        assert text == content_keys(np.array(ids), np.array([len(ids)])) and target == step / 10


def test_workers_make_the_same_batches():
    one, two = (list(zip(range(4), load_steps(steps(texts=5), range(4), workers), strict=False)) for workers in (0, 2))
    for (_, first), (_, second) in zip(one, two, strict=True):
        assert shown(first) == shown(second)


def test_an_empty_share_is_a_batch_of_no_texts():
    (batch,) = steps(world_size=20, rank=19)[0]
    assert isinstance(batch, Texts) and len(batch) == 0
    assert batch.tokens == batch.padded_tokens == 0 and batch.padded(0).shape == (0, 0)
    assert batch.targets.dtype == torch.float64 and batch.ids.dtype == torch.int64


def test_parts_stand_side_by_side_and_each_has_its_own_size():
    joined = JoinedSteps({"a": steps(batch_size=4), "b": steps(batch_size=2, texts=3)})
    batches: Any = joined[1]
    assert [type(batch) for batch in batches] == [Part] * len(batches)
    assert [batch.name for batch in batches] == ["a"] + ["b"] * 2
    assert shown([batch.batch for batch in batches if batch.name == "b"]) == shown(steps(batch_size=2)[1])
    assert batches[0].tokens == batches[0].batch.tokens and len(batches[0]) == 8
    assert torch.equal(batches[0].samples, batches[0].batch.samples)
    assert joined.sample_range(1) == range(4, 8)


def test_padding_is_at_the_end_and_masked():
    batch: Any = steps()[0][0]
    padded, mask = batch.padded(99), batch.mask
    assert padded.shape == mask.shape == (14, int(batch.lengths.max()))
    assert torch.equal(padded[mask], batch.ids) and (padded[~mask] == 99).all()
    assert torch.equal(mask.sum(1), batch.lengths) and not (mask[:, 1:] & ~mask[:, :-1]).any()
