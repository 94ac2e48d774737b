import json
from dataclasses import asdict, replace

from textssl.training.summary import Summary

SUMMARY = Summary(
    run="runs/a",
    loss=1.5,
    train_loss=1.4,
    bits_per_byte=0.75,
    steps=20,
    tokens=4096,
    seconds=61.0,
    tokens_per_second=67.1,
    parameters=10,
    num_processes=1,
    skipped_steps=0,
    resumed_from=[10],
    stopped_by=None,
    device="cpu",
    precision="float32",
)


def test_file_holds_every_figure(tmp_path):
    summary = replace(SUMMARY, run=str(tmp_path))
    summary.write()
    assert json.loads((tmp_path / "summary.json").read_text()) == asdict(summary)


def test_line_says_what_is_known():
    line = SUMMARY.line()
    for part in ("loss 1.5000", "0.7500 bits per byte", "4,096 tokens in 1m01s", "runs/a/model"):
        assert part in line
    assert "bits" not in replace(SUMMARY, bits_per_byte=None).line()


def test_line_of_a_stopped_run_says_how_to_go_on():
    line = replace(SUMMARY, stopped_by="SIGTERM").line()
    assert line == "stopped by SIGTERM after step 20, saved; start again to continue"


def test_figures_that_are_not_finite_are_null_in_the_file(tmp_path):
    best = {"figure": "eval/loss", "value": float("nan"), "step": 2}
    replace(SUMMARY, run=str(tmp_path), loss=float("inf"), best=best).write()
    found = json.loads((tmp_path / "summary.json").read_text(), parse_constant=lambda name: name)
    assert found["loss"] is None and found["best"] == {**best, "value": None} and found["train_loss"] == 1.4
