"""Start-up, memory and look-up time of the plan on a simulated corpus of a trillion tokens in 10,000 shards.

python scripts/benchmark/plan.py
"""

import resource
import tempfile
import time
from pathlib import Path

from tests.data.plan.test_plan import make, simulated_corpus


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        simulated_corpus(Path(folder) / "corpus.json", shards=10_000, blocks_per_shard=96, block_tokens=2**20)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        plan = make(folder)
        print(f"start       {time.perf_counter() - start:6.2f} s")
        epoch = plan.epochs[0]
        for number in range(3):
            start = time.perf_counter()
            order, _ = epoch._order(number)
            print(f"find a step {1000 * (time.perf_counter() - start):6.1f} ms (first of epoch {number})")
        start = time.perf_counter()
        plan.place(10**9)
        epoch._order(2)
        print(f"find a step {1000 * (time.perf_counter() - start):6.3f} ms (epoch in hand)")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"memory      {(peak - before) / 1024:6.0f} MB over {before / 1024:.0f} MB; blocks {len(order):,}")


if __name__ == "__main__":
    main()
