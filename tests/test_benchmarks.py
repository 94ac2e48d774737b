"""How benchmarks write down what they measured; they themselves are run by hand."""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path

import pytest

from scripts.benchmark import all as benchmarks
from scripts.benchmark.figures import after_warmup, in_turns, markdown, read, write
from scripts.benchmark.openvino_peer import OpenVINOPeer
from textssl.tokenizer.engines import PACKAGES


def test_a_ratio_is_the_median_of_the_ratios_of_rounds(tmp_path):
    rounds = [(10.0, 5.0), (40.0, 8.0), (9.0, 3.0)]  # 2, 5 and 3 times; the medians, 10 and 5, would say 2
    figure = in_turns("training", "Trainer", "tokens/s", rounds, [(1.0, 2.0)] * 3)
    assert (figure.ratio, figure.cpu_ratio, figure.ours, figure.theirs) == (3.0, 0.5, 10.0, 5.0)
    alone = in_turns("embedding", "encode", "sentences/s", [(12_345.6, 1.5)])
    write(tmp_path / "found.json", [figure, alone])
    assert read(tmp_path / "found.json") == [figure, alone]
    lines = markdown([figure, alone]).splitlines()
    assert lines[2:] == [
        "| training | Trainer | 10 tokens/s | 5 | 3.00 | 0.50 |",
        "| embedding | encode | 12,346 sentences/s | 1.5 | 8230.40 |  |",
    ]


def test_a_speed_has_a_span_to_be_measured_over_however_few_lines_there_are():
    logs = [{"step": step, "seconds": 1.5 * step} for step in range(5, 25, 5)]  # after 7.5, 15, 22.5 and 30 s
    assert [line["step"] for line in after_warmup(logs, 8.0)] == [10, 20]
    assert [line["step"] for line in after_warmup(logs, 23.0)] == [15, 20], "the last line alone follows"
    assert [line["step"] for line in after_warmup(logs[:1], 8.0)] == [0, 5]


@pytest.mark.parametrize("name", benchmarks.BENCHMARKS)
def test_every_benchmark_takes_the_options_that_it_is_given(name, monkeypatch, capsys):
    command = benchmarks.command(name, quick=True)
    module = importlib.import_module(f"scripts.benchmark.{Path(command[1]).stem}")
    monkeypatch.setattr(sys, "argv", [*command[1:], "--help"])
    with pytest.raises(SystemExit, match="0"):
        module.main()
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    assert {option for option in command if option.startswith("--")} | {"--json"} <= known


def test_a_peer_in_another_python_embeds_what_it_is_asked_for(tmp_path, monkeypatch):
    (tmp_path / "openvino.py").write_text("__version__ = '2'\n")
    (tmp_path / "sentence_transformers.py").write_text(
        "import numpy as np\n"
        "__version__ = '1'\n"
        "class SentenceTransformer:\n"
        "    def __init__(self, folder, backend, device, model_kwargs):\n"
        "        assert (folder, backend, device) == ('model', 'openvino', 'cpu')\n"
        "        assert model_kwargs == {'ov_config': {'INFERENCE_NUM_THREADS': 3}}\n"
        "    def encode(self, texts, batch_size, show_progress_bar):\n"
        "        print('a line of a library')\n"
        "        return np.array([[len(text), self.max_seq_length, batch_size] for text in texts])\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    peer = OpenVINOPeer(Path(sys.executable), Path("model"), ["a", "bb", "ccc"], 7, threads=3)
    try:
        assert peer.versions == "sentence-transformers 1, OpenVINO 2"
        peer.encode(16)
        assert peer.used > 0
        assert peer.vectors(2).tolist() == [[1, 7, 32], [2, 7, 32]]
    finally:
        peer.close()


def test_what_is_there_is_not_measured_again_and_a_failure_is_told(tmp_path, monkeypatch, capsys):
    script = tmp_path / "one.py"
    script.write_text(
        "import sys\n"
        "if sys.argv[1] == 'bad': sys.exit('no luck')\n"
        "open(sys.argv[sys.argv.index('--json') + 1], 'w').write("
        '\'[{"what": "a", "peer": "b", "unit": "c", "ours": 2, "theirs": 1, "ratio": 2, "cpu_ratio": null}]\')\n'
    )
    monkeypatch.setattr(benchmarks, "BENCHMARKS", {"good": (script, "fine", ""), "bad": (script, "bad", "")})

    def command(name: str, quick: bool, _: Path | None) -> list[str]:
        return ["python", str(script), benchmarks.BENCHMARKS[name][1], *["--rounds", "1"] * quick]

    monkeypatch.setattr(benchmarks, "command", command)
    given = ["all.py", "--out", str(tmp_path / "out")]
    for options, measured in (([], True), ([], False), (["--quick"], True)):  # the last is another command
        monkeypatch.setattr(sys, "argv", [*given, *options])
        with pytest.raises(SystemExit, match="1"):
            benchmarks.main()
        shown = capsys.readouterr().out
        assert ("good: done" in shown) == measured and "bad: failed with 1" in shown
    found = json.loads((tmp_path / "out" / "benchmarks.json").read_text())
    assert [one["name"] for one in found["benchmarks"]] == ["good"] and found["machine"]["cores"] >= 1
    assert "| a | b | 2 c | 1 | 2.00 |  |" in (tmp_path / "out" / "benchmarks.md").read_text()
    monkeypatch.setattr(benchmarks, "PACKAGES", ("torch",))  # as on a machine with other versions
    with pytest.raises(SystemExit, match="1"):
        benchmarks.main()
    assert "good: done" in capsys.readouterr().out


def test_a_part_belongs_to_the_versions_of_both_sides_and_of_the_engines():
    """Else a part would be taken for done after an upgrade of what it measured."""
    assert {"torch", "tokenizers", "sentence-transformers", *PACKAGES.values()} <= set(benchmarks.machine()["versions"])
