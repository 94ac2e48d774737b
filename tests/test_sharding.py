"""Parameters over processes: gradients, norms, Muon and checkpoints of a sharded module are those of a whole one."""

import json

import pytest

from tests.forked import Ranks
from tests.tiny import make_corpus
from textssl.errors import UserError
from textssl.sharding import count_shards


@pytest.mark.parametrize("wanted, world, shards", [(1, 4, 1), (2, 4, 2), (4, 4, 4), ("all", 4, 4), ("all", 1, 1)])
def test_groups_of_any_size_that_divides_the_world(wanted, world, shards):
    assert count_shards(wanted, world) == shards


@pytest.mark.parametrize("wanted, world", [(3, 4), (8, 4), (2, 1)])
def test_other_groups_are_refused(wanted, world):
    with pytest.raises(UserError, match=f"train.shard is {wanted}, which does not divide the {world} process"):
        count_shards(wanted, world)


@pytest.mark.slow
@pytest.mark.parametrize("processes, shards", [(3, 3), (4, 2), (2, 1)], ids=["sharded", "hybrid", "replicated"])
def test_a_sharded_module_learns_as_a_whole_one_and_is_restored(tmp_path, processes, shards):
    ranks = Ranks(["-m", "tests.sharded", str(tmp_path), str(shards)], processes)
    _, errors = ranks.communicate(timeout=120)
    assert ranks.returncode == 0, errors[-3000:]
    manifest = json.loads((tmp_path / "step-00000001" / "manifest.json").read_text())
    assert manifest["parts"] == shards and len(manifest["sha256"]) == 2 * shards + 2


OLDER = """
import sys
from pathlib import Path

from torch.distributed.fsdp import FSDPModule

from tests.tiny import tiny_config
from textssl.commands.pretrain import pretrain

del FSDPModule.set_reduce_scatter_unused_params
pretrain(tiny_config(Path(sys.argv[1]), "mlm", "train.shard=all", "train.max_steps=2"))
"""


@pytest.mark.slow
def test_a_launch_of_one_process_needs_no_new_torch(tmp_path):
    """Without what torch has from 2.13 on, two processes are refused, and one trains as if nobody had launched it."""
    make_corpus(tmp_path)
    for processes, code in ((1, 0), (2, 1)):
        ranks = Ranks(["-c", OLDER, str(tmp_path)], processes)
        _, errors = ranks.communicate(timeout=120)
        assert ranks.returncode == code, errors[-3000:]
        assert ("training in several processes needs torch 2.13 or newer" in errors) == (processes > 1)
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["steps"] == 2
