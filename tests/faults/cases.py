"""One fault, one command, and whether it ended as it should: a full or read-only disk, a signal, two jobs, a damage."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.faults.jobs import COMMANDS, Command, Job, Starter, leftovers, make_sound, result_of
from tests.fuzzing.trial import FAULTS, Outcome

ENDS_WITHIN = 2.0  # seconds after a signal, of commands that save nothing
SLACK = 0.5  # of a busy machine
BEGUN = 0.1  # seconds until a process has come to the command line's first words
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)
TRAINS = ("pretrain", "finetune")
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32\nsize 12345\n"


OUTCOMES = (Outcome.right, Outcome.refused, Outcome.unseen, *FAULTS)


def flip(content: bytes, place: float, bit: int) -> bytes:
    changed = bytearray(content)
    if changed:
        changed[int(place * (len(changed) - 1))] ^= 1 << bit
    return bytes(changed)


def zero(content: bytes, place: float) -> bytes:
    """An eighth of it lost, as by a bad sector."""
    start, count = int(place * len(content) * 7 / 8), len(content) // 8
    return content[:start] + bytes(count) + content[start + count :]


DAMAGES: dict[str, Callable[[bytes, Random], bytes | None]] = {  # None: the file is gone
    "removed": lambda content, random: None,
    "empty": lambda content, random: b"",
    "cut": lambda content, random: content[: int(len(content) * random.random())],
    "a bit flipped": lambda content, random: flip(content, random.random(), random.randrange(8)),
    "an eighth zeroed": lambda content, random: zero(content, random.random()),
    "a Git-LFS pointer": lambda content, random: LFS,
    "a JSON list": lambda content, random: b"[1]",
    "bytes appended": lambda content, random: content + content[:100],
}
UNSEEN = {  # what no check could see: the first folder or the file -> why
    **dict.fromkeys(("texts.jsonl", "topics.jsonl", "pairs.jsonl"), "another text, which has no checksum"),
    "suite.yaml": "another suite",
    **dict.fromkeys(("bert", "sentence", "classifier"), "another model: stock folders have no checksums"),
}


@dataclass
class Sound:
    """The inputs, and what each command makes of them and in how many seconds."""

    folder: Path
    results: dict[str, dict[str, str]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def sound_results(sandbox: Path, start: Starter, names: tuple[str, ...] = tuple(COMMANDS)) -> Sound:
    sound = Sound(sandbox / "sound")
    make_sound(sound.folder, start)
    for name in names:
        command = COMMANDS[name]
        with case_folder(sandbox) as folder:
            began = time.monotonic()
            job = start.run(command.arguments(sound.folder, folder / command.out))
            sound.seconds[name] = time.monotonic() - began
            sound.results[name] = result_of(command, folder / command.out)
            assert job.code == 0 and sound.results[name], f"{name}: {job.code} {job.said()}"
    return sound


@contextmanager
def case_folder(sandbox: Path) -> Iterator[Path]:
    folder = sandbox / "case"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


Verdict = tuple[Outcome, str]


def refusal(job: Job) -> Verdict:
    """What to say of a command that ended with 2, or otherwise than it should."""
    said = job.said()
    if "Traceback" in said or "panicked" in said or job.code not in (0, 2):
        return Outcome.traceback, f"exit code {job.code}\n{said}"
    messages = said.count("error: ")
    if messages != 1:
        return Outcome.traceback, f"{messages} error messages\n{said}"
    return Outcome.refused, said.strip().splitlines()[-1]


def again(command: Command, sound: Sound, out: Path, start: Starter, verdict: Verdict) -> Verdict:
    """The verdict, if the command run again makes the result that it should."""
    job = start.run(command.arguments(sound.folder, out))
    if job.code is None:
        return Outcome.hang, f"the second start, after: {verdict[1]}"
    if job.code != 0:
        return Outcome.traceback, f"the second start ended with {job.code}, after: {verdict[1]}\n{job.said()}"
    if result_of(command, out) != sound.results[command.name]:
        return Outcome.wrong, f"another result of the second start, after: {verdict[1]}"
    return verdict


def whole_or_nothing(command: Command, sound: Sound, out: Path) -> str | None:
    """What is half written under a final name, if anything is."""
    found, right = result_of(command, out), sound.results[command.name]
    if command.name in TRAINS:
        found = {name: value for name, value in found.items() if name in right}
        return None if all(right[name] == value for name, value in found.items()) else "a half-written result"
    return None if found in ({}, right) else "a half-written result"


def ended(command: Command, sound: Sound, folder: Path, verdict: Verdict) -> Verdict:
    """The verdict, if nothing is left that should not be there."""
    half, left = whole_or_nothing(command, sound, folder / command.out), leftovers(folder, command)
    if half is not None or left:
        return Outcome.wrong, f"{half or ''} left behind: {', '.join(left)}, after: {verdict[1]}"
    return verdict


def full_disk(command: Command, sound: Sound, folder: Path, start: Starter, file_bytes: int) -> Verdict:
    """No file may grow beyond file_bytes; then there is room again."""
    out = folder / command.out
    job = start.run(command.arguments(sound.folder, out), file_bytes)
    return after_refusal(command, sound, folder, start, job)


def after_refusal(command: Command, sound: Sound, folder: Path, start: Starter, job: Job) -> Verdict:
    out = folder / command.out
    if job.code is None:
        return Outcome.hang, job.said()
    if job.code == 0:
        same = result_of(command, out) == sound.results[command.name]
        return (Outcome.right, "done") if same else (Outcome.wrong, "done, with another result")
    verdict = ended(command, sound, folder, refusal(job))
    return verdict if verdict[0] in FAULTS else again(command, sound, out, start, verdict)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A disk of that size at a folder; PermissionError where this process may mount none."""
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True)
    if made.returncode:
        raise PermissionError(made.stderr.decode())
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def small_mounted_disk(command: Command, sound: Sound, folder: Path, start: Starter, kilobytes: int) -> Verdict:
    disk = folder / "disk"
    disk.mkdir()
    with small_disk(disk, f"{kilobytes}k"):
        job = start.run(command.arguments(sound.folder, disk / command.out))
        remount(disk, "size=64m")
        return after_refusal(command, sound, disk, start, job)


def read_only(command: Command, sound: Sound, folder: Path, start: Starter) -> Verdict:
    disk = folder / "disk"
    disk.mkdir()
    with small_disk(disk, "64m"):
        remount(disk, "ro")
        job = start.run(command.arguments(sound.folder, disk / command.out))
        if job.code == 0 or "Read-only" not in job.said():
            return Outcome.wrong, f"a read-only disk was not said: {job.said()}"
        remount(disk, "rw")
        return after_refusal(command, sound, disk, start, job)


def stopped(command: Command, sound: Sound, folder: Path, start: Starter, number: int, moment: float) -> Verdict:
    """A signal at a moment (share of the time that the command takes), then the same command again."""
    out = folder / command.out
    job = start.start(command.arguments(sound.folder, out))
    time.sleep(max(BEGUN, moment * sound.seconds[command.name]))
    sent, began = job.send(number), time.monotonic()
    code, seconds = job.wait(), time.monotonic() - began
    name = signal.Signals(number).name
    what = f"{name} at {moment:.2f}: code {code} after {seconds:.1f} s"
    if code is None:
        return Outcome.hang, what
    allowed = {0, -number, 128 + number}  # while an interpreter ends, a signal has its own way; to a shell both are one
    allowed |= {75} if command.saves else set()
    if code not in allowed or "Traceback" in job.said():
        return Outcome.traceback, f"{what}\n{job.said()}"
    if sent and seconds > ENDS_WITHIN + SLACK and command.name not in TRAINS:
        return Outcome.hang, what
    verdict = (Outcome.right, what)
    if number != signal.SIGKILL:
        verdict = ended(command, sound, folder, verdict)
    done = result_of(command, out) == sound.results[command.name]
    if code == 0 and not done:
        return Outcome.wrong, f"{what}: another result"
    return verdict if done or verdict[0] != Outcome.right else again(command, sound, out, start, verdict)


def two_jobs(command: Command, sound: Sound, folder: Path, start: Starter, moment: float) -> Verdict:
    """The same command twice, the second a moment (share of its time) later: one of them makes the result."""
    out = folder / command.out
    first = start.start(command.arguments(sound.folder, out))
    time.sleep(moment * sound.seconds[command.name])
    second = start.start(command.arguments(sound.folder, out))
    codes = first.wait(), second.wait()
    what = f"the second at {moment:.2f}: codes {codes}"
    if None in codes:
        return Outcome.hang, what
    for job in (first, second):
        if job.code != 0 and refusal(job)[0] != Outcome.refused:
            return Outcome.traceback, f"{what}\n{job.said()}"
    if 0 not in codes:
        return Outcome.wrong, f"{what}\n{first.said()}{second.said()}"
    if result_of(command, out) != sound.results[command.name]:
        return Outcome.wrong, f"{what}: another result"
    verdict = ended(command, sound, folder, (Outcome.right if codes == (0, 0) else Outcome.refused, what))
    return verdict


def input_files(command: Command, sound: Sound) -> list[str]:
    """Every file that a command reads, seen from the sound folder."""
    found = []
    for name in command.reads:
        place = sound.folder / name
        files = [place] if place.is_file() else sorted(file for file in place.rglob("*") if file.is_file())
        found += [file.relative_to(sound.folder).as_posix() for file in files]
    return found


def damaged(
    command: Command, sound: Sound, folder: Path, start: Starter, file: str, damage: str, random: Random
) -> Verdict:
    """One damaged input file: the result as ever, or a clear error."""
    copy = folder / "inputs"
    copy.mkdir()
    for name in command.reads:
        source = sound.folder / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, copy / name)
    if not spoil(copy / file, damage, random):
        return Outcome.right, "nothing is changed by it"
    job = start.run(command.arguments(copy, folder / command.out))
    if job.code is None:
        return Outcome.hang, job.said()
    if job.code != 0:
        return ended(command, sound, folder, refusal(job))
    if result_of(command, folder / command.out) == sound.results[command.name]:
        return Outcome.right, "the same result"
    why = UNSEEN.get(Path(file).parts[0])
    return (Outcome.wrong, "another result") if why is None else (Outcome.unseen, why)


def spoil(file: Path, damage: str, random: Random) -> bool:
    """Damage a file; False where its bytes stay the same."""
    content = file.read_bytes()
    changed = DAMAGES[damage](content, random)
    if changed is None:
        file.unlink()
    else:
        file.write_bytes(changed)
    return changed != content


def damaged_run(
    command: Command, sound: Sound, folder: Path, start: Starter, place: float, damage: str, random: Random
) -> Verdict:
    """A file of what a killed command left (checkpoints, vectors so far) is damaged before it goes on."""
    out = folder / command.out
    job = start.start(command.arguments(sound.folder, out))
    left = out / "checkpoints" if command.name in TRAINS else folder / f".{command.out}.partial"
    ready = "step-*4" if command.name in TRAINS else "progress.json"
    until = time.monotonic() + 60
    while time.monotonic() < until and not any(left.glob(ready)) and job.alive():
        time.sleep(0.005)
    job.send(signal.SIGKILL)
    job.wait()
    files = sorted(file for file in left.rglob("*") if file.is_file())
    if not files:
        return Outcome.right, "it had ended"
    file = files[int(place * (len(files) - 1))]
    spoil(file, damage, random)
    what = f"{file.relative_to(folder)}: {damage}"
    job = start.run(command.arguments(sound.folder, out))
    if job.code is None:
        return Outcome.hang, what
    if job.code != 0:
        verdict = refusal(job)
        return verdict[0], f"{what}: {verdict[1]}"
    same = result_of(command, out) == sound.results[command.name]
    return (Outcome.right, what) if same else (Outcome.wrong, f"{what}: another result")
