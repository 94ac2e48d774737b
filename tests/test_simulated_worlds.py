"""What a rank does does not grow with the number of ranks, which are simulated (scripts/benchmark/worlds.py)."""

from typing import Any
from unittest.mock import patch

import pytest

from scripts.benchmark.worlds import Messages, config_of, groups_of, trainer_of, world_of
from tests.tiny import make_corpus
from textssl.training.step import even_out


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("worlds")
    make_corpus(folder)
    return folder


def sent(folder, ranks: int, shard: str) -> dict[str, int]:
    """Messages of start-up, a step and an evaluation, the process groups asked for, and the samples read for a step."""
    with world_of(ranks):
        with Messages() as start, groups_of() as groups:
            options = f"train.shard={shard}", "train.micro_batch_size=1", "evaluation.max_rows=2"
            trainer = trainer_of(config_of(folder, "crops", 2 * ranks, *options), ranks)
        dataset: Any = trainer.dataset
        with patch.object(dataset.plan, "many", wraps=dataset.plan.many) as read:
            batches = even_out(dataset[0], trainer.device)
        with Messages() as step:
            trainer.train_step(batches, trainer.totals(batches))
        with Messages() as evaluation:
            trainer.evaluations[0].run()
    counts = {"start": start.count, "step": step.count, "evaluation": evaluation.count}
    return counts | {"groups": len(groups), "read": sum(len(call.args[0]) for call in read.call_args_list)}


@pytest.mark.parametrize("shard", ["1", "all"])
def test_a_rank_sends_and_reads_the_same_among_few_and_many(folder, shard):
    few, many = (sent(folder, ranks, shard) for ranks in (2, 64))
    assert few == many and few["read"] == 2
    assert few["groups"] == (2 if shard == "1" else 0) and few["step"] > few["evaluation"] > 0
