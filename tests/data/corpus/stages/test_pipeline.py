"""Stages: the bytes of one pass, tasks that were done are not done again, and what the driver refuses."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.data.corpus.stages.staged import HereAndNow, files_of, in_one_pass, in_stages, job_of, write_files
from textssl.data.corpus.cleaning.filters import Cleaning
from textssl.data.corpus.stages import buckets, encoded, exact, pipeline, similar, tasks
from textssl.data.corpus.workers import ONE_CORE
from textssl.errors import UserError
from textssl.system.subprocesses import Helper, Pool

NEAR = Cleaning(near_duplicates=0.6, min_characters=200)


@pytest.fixture
def small(monkeypatch):
    """Everything that is done in runs or ranges, in many of them."""
    for module, name, value in (
        (exact, "RUN_DOCUMENTS", 7),
        (encoded, "RUN_BANDS", 300),
        (similar, "SUSPECTS_A_TASK", 20),
        (similar, "SUSPECTS_AT_ONCE", 9),
        (pipeline, "DIGESTS_AT_ONCE", 50),
        (pipeline, "BANDS_AT_ONCE", 1000),
        (tasks, "TOKENS_AT_ONCE", 700),
    ):
        monkeypatch.setattr(module, name, value)


@pytest.mark.parametrize(("cleaning", "held_out"), [(NEAR, 0.1), (Cleaning(), 0.0)], ids=["near", "exact"])
def test_the_bytes_are_those_of_one_pass(tmp_path: Path, small, cleaning, held_out):
    inputs = write_files(tmp_path)
    expected, whole = in_one_pass(tmp_path / "one", inputs, cleaning, held_out)
    dropped = json.loads(expected["corpus.json"])["dropped"]
    assert dropped["duplicate"] > 20 and dropped["invalid JSON"] == 4
    assert dropped.get("near-duplicate", 0) > (40 if cleaning.near_duplicates else -1)
    made, prepared = in_stages(work := job_of(tmp_path, inputs, cleaning), HereAndNow(work), held_out)
    assert made == expected and prepared == whole
    assert len([name for name in made if name.startswith("tokens")]) > 2
    stages = [path.name for path in work.folder.iterdir() if path.is_dir()]
    assert len(list((work.folder / "exact").iterdir())) > 1 and ("similar" in stages) == (cleaning == NEAR)
    if cleaning == NEAR:
        assert len(list((work.folder / "shared").iterdir())) > 1 and len(list((work.folder / "similar").iterdir())) > 1


@pytest.mark.slow
def test_crowded_bands_have_the_verdicts_of_one_pass(tmp_path: Path, small, monkeypatch):
    monkeypatch.setattr("textssl.data.corpus.cleaning.near_duplicates.MOST_SHARING", 2)
    inputs = write_files(tmp_path)
    cleaning = Cleaning(near_duplicates=0.9)
    expected, whole = in_one_pass(tmp_path / "one", inputs, cleaning)
    made, prepared = in_stages(work := job_of(tmp_path, inputs, cleaning), HereAndNow(work))
    assert made == expected and prepared == whole and whole.crowded > 0


@pytest.mark.slow
def test_subprocesses_do_the_tasks_too(tmp_path: Path):
    inputs = write_files(tmp_path)
    work = job_of(tmp_path, inputs, NEAR)
    with Pool([Helper("a worker", tasks.__name__, ONE_CORE) for _ in range(2)], [work, work]) as pool:
        made = in_stages(work, pool)
    assert made == in_one_pass(tmp_path / "one", inputs, NEAR)


def test_tasks_that_were_done_are_not_done_again(tmp_path: Path):
    inputs = write_files(tmp_path)
    work = job_of(tmp_path, inputs, NEAR)
    whole = HereAndNow(work)
    expected = in_stages(work, whole)
    broken = job_of(tmp_path / "broken", inputs, NEAR)
    done = []
    for more in (4, 5, 3):
        workers = HereAndNow(broken, fails_after=more)
        with pytest.raises(RuntimeError, match="pulled the plug"):
            in_stages(broken, workers)
        done += workers.stages
    half = broken.folder / "encode" / ".000001.0123"  # what a task that was killed leaves
    half.mkdir()
    workers = HereAndNow(broken)
    assert in_stages(broken, workers) == expected
    done += workers.stages
    assert sorted(stage for stage in done if stage != "hello") == sorted(whole.stages[1:])
    assert workers.stages.count("read") == 0
    again = HereAndNow(broken)
    assert in_stages(broken, again) == expected and again.stages == ["hello"]


def test_near_duplicates_of_several_tasks_go_on(tmp_path: Path, small):
    inputs = write_files(tmp_path)
    expected = in_stages(work := job_of(tmp_path, inputs, NEAR), HereAndNow(work))
    results = sorted(work.place("similar", 0).parent.glob("*/result.json"))
    assert sum(bool(json.loads(result.read_text())["examples"]) for result in results) > 1
    for stage in ("dropped", "shard"):
        shutil.rmtree(work.folder / stage)
    shutil.rmtree(results[-1].parent)
    shutil.rmtree(work.folder / "corpus")
    assert in_stages(work, HereAndNow(work)) == expected


def test_a_corpus_whose_shards_went_elsewhere_is_not_written(tmp_path: Path):
    inputs = write_files(tmp_path)
    work = job_of(tmp_path, inputs, NEAR)
    in_stages(work, HereAndNow(work))
    (work.folder / "corpus").rename(tmp_path / "in place")
    with pytest.raises(FileNotFoundError, match=r"shard"):
        in_stages(work, HereAndNow(work))


def test_a_worker_of_an_earlier_run_reads_the_new_arrays(tmp_path: Path):
    inputs = write_files(tmp_path)
    work = job_of(tmp_path, inputs, NEAR)
    in_stages(work, HereAndNow(work))
    shutil.rmtree(work.folder)
    other = job_of(tmp_path, inputs[:2], NEAR)
    assert in_stages(other, HereAndNow(other)) == in_one_pass(tmp_path / "one", inputs[:2], NEAR)


def test_relative_sources_are_found_from_elsewhere(tmp_path: Path, monkeypatch):
    write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    inputs = [f"in{place}.jsonl" for place in range(4)]
    work = job_of(tmp_path, inputs, NEAR)
    expected = in_one_pass(tmp_path / "one", inputs, NEAR)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert in_stages(work, HereAndNow(work)) == expected


def test_a_task_that_is_done_twice_at_once_gives_way(tmp_path: Path):
    work = job_of(tmp_path, write_files(tmp_path), NEAR)
    answer = HereAndNow(work).answer
    first = answer(("read", 0, {"part": 0}))
    before = files_of(work.folder)

    def slow(aside: Path):
        raise AssertionError("it is there already")

    assert tasks.run_task(work, "read", 0, slow) == first
    (work.place("read", 0) / "result.json").rename(tmp_path / "kept.json")

    def overtaken(aside: Path):
        (tmp_path / "kept.json").rename(work.place("read", 0) / "result.json")
        return first

    assert tasks.run_task(work, "read", 0, overtaken) == first
    assert files_of(work.folder) == before


def test_a_node_that_does_not_see_the_folder_is_named(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("textssl.data.corpus.stages.job.APPEARANCE_SECONDS", 0.1)
    work = job_of(tmp_path, write_files(tmp_path), NEAR)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "token").write_text("of another run")
    apart = HereAndNow(job_of(tmp_path, [*work.sources], NEAR, folder=tmp_path / "elsewhere"))
    with pytest.raises(UserError, match=r"is not on a file system that the node \S+ shares"):
        in_stages(work, apart)
    blind = HereAndNow(work)
    answer = blind.answer
    blind.answer = lambda request: {**answer(request), "left": "nothing"}
    with pytest.raises(UserError, match="is not on a file system"):
        in_stages(work, blind)


def test_a_node_with_other_versions_is_named_whenever_it_comes(tmp_path: Path):
    work = job_of(tmp_path, write_files(tmp_path), NEAR)
    needed = tasks.versions(work.tokenizer, fast=False)
    assert set(needed) == {"textssl", "engine", "tokenizers", "sentencex", "rensa"}
    tasks.prepare(replace(work, versions=needed))
    for name in needed:
        job = replace(work, versions={**needed, name: "0.0.1"})
        with pytest.raises(UserError, match=rf"the node \S+ has {name} .+, where the command runs it is 0\.0\.1"):
            tasks.prepare(job)


@pytest.mark.parametrize("change", ["one more", "another"])
def test_a_source_that_changes_meanwhile_is_named(tmp_path: Path, change):
    inputs = write_files(tmp_path)
    work = job_of(tmp_path, inputs, NEAR)
    workers = HereAndNow(work)
    answer = workers.answer

    def changing(request):
        if request[0] == "exact":
            file = Path(inputs[1])
            lines = file.read_text().splitlines()
            file.write_text("\n".join([*lines[: -1 if change == "another" else None], '{"text": "one more"}']))
        return answer(request)

    workers.answer = changing
    with pytest.raises(UserError, match=r"in1\.jsonl was changed while it was prepared"):
        in_stages(work, workers)


def test_the_first_broken_record_ends_a_strict_run(tmp_path: Path):
    work = job_of(tmp_path, write_files(tmp_path), NEAR, strict=True)
    with pytest.raises(UserError, match=r"in0\.jsonl:61: invalid JSON"):
        in_stages(work, HereAndNow(work))


def test_buckets_cut_evenly():
    assert buckets.bucket_ranges(10, 50) == [(0, 1024)]
    assert buckets.bucket_ranges(101, 50) == [(0, 256), (256, 512), (512, 768), (768, 1024)]
    assert len(buckets.bucket_ranges(10**12, 1)) == 1024
