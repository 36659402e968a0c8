"""Each open for writing, write, flush and rename of each stage fails once; then the stage is run again, as if nothing had been.

    python tests/faults/every_call.py [--stages prepare train ...] [--most N] [--record .faults/calls.json]

A stage of a tiny study runs in a forked process into which calls.c is preloaded; its n-th call is a kill -9, a torn write and
a kill, EIO or ENOSPC, for every n. Exit status 1 if anything differs from an undisturbed run, if a file is left over, or if
there is a traceback.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "workflow")]

FAULTS = ("kill", "torn write", "EIO", "ENOSPC")
STAGES = (
    "fetch-model",
    "fetch-dataset",
    "prepare",
    "tokenize",
    "train",
    "evaluate",
    "sample",
    "baseline",
    "tables",
    "cards",
)
MEASURED = ("wall_s", "tokens_per_s", "peak_memory_bytes", "retrieved", "digests")  # by the clock, or digests of such
RUN = "words/lora/seed-0"
NEVER = 1 << 40


@dataclass
class Outcome:
    """A stage: `calls` that it makes, `tried` faults, `pairs` of it at once, and what was wrong."""

    calls: int = 0
    tried: int = 0
    pairs: int = 0
    wrong: list[str] = field(default_factory=list)


def forked(work, log: Path) -> int:
    """Run `work` in a forked process that writes to `log`. Returns its exit status, negative after a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(fork(work, log), 0)[1])


def fork(work, log: Path) -> int:
    """Start `work` in a forked process. Returns its number."""
    child = os.fork()
    if child == 0:
        number = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(number, 1)
        os.dup2(number, 2)
        status = 70
        try:
            status = work()
        except SystemExit as stopped:
            status = stopped.code
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    return child


def arguments(stage: str, folder: Path) -> list[str]:
    """The command line of a stage in a study's folder, laid out as the workflow does."""
    results, run = folder / "tiny", folder / "tiny" / "runs" / RUN
    study, model, rows = results / "study.json", folder / "models" / "tiny", results / "datasets" / "lines"
    dataset, tokens = ["--study", study, "--dataset", "lines"], results / "tokens" / "words"
    scored = ["--run", run / "run.json", "--model", model, "--tokens", tokens, "--output", run]
    finished = [*scored, "--dataset", rows, "--adapter", run / "adapter"]
    raw = folder / "datasets" / "lines"
    words = ["--study", study, "--experiment", "words", "--dataset", rows]
    known = {
        "fetch-model": ["--study", study, "--model", "tiny", "--output", model],
        "fetch-dataset": [*dataset, "--output", raw],
        "prepare": [*dataset, "--raw", raw / "raw.parquet", "--output", rows],
        "tokenize": [*words, "--model", model, "--output", tokens],
        "train": [*scored, "--checkpoints", results / "checkpoints"],
        "evaluate": finished,
        "sample": finished,
        "baseline": [*words, "--output", results / "baselines"],
        "tables": ["--study", study, "--output", results / "tables"],
        "cards": ["--study", study, "--templates", ROOT / "report"],
    }
    return [stage, *map(str, known[stage])]


def content(folder: Path) -> dict[str, object]:
    """Every file -> its content, without what is measured by the clock; digests beside files tell nothing more."""
    found: dict[str, object] = {}
    for file in sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".sha256"):
        name = str(file.relative_to(folder))
        if file.suffix == ".json":
            found[name] = unmeasured(json.loads(file.read_text(encoding="utf-8")))
        elif (
            file.name in ("history.csv", "methods.csv", "runs.csv", "tables.md", "model_card.md")
            or "tfevents" in file.name
        ):
            found[name] = "holds seconds of training"
        else:
            found[name] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def unmeasured(value: object) -> object:
    """A record without what is measured by the clock."""
    if isinstance(value, dict):
        return {key: unmeasured(each) for key, each in value.items() if key not in MEASURED}
    return [unmeasured(each) for each in value] if isinstance(value, list) else value


class Study:
    """A finished tiny study, copied for each fault."""

    def __init__(self, place: Path, preloaded: ctypes.CDLL) -> None:
        self.place, self.preloaded = place, preloaded
        self.whole, self.copy, self.log = place / "whole", place / "copy", place / "log.txt"

    def make(self, stages: list[str]) -> None:
        """Make the study once, up to the last of `stages`: its sources below `place`, each stage run in its order."""
        from tests import tiny
        from tunebook.configuration.validation import validate
        from tunebook.resolve import resolve

        training = {
            "learning_rate": 0.01,
            "max_steps": 2,
            "per_device_train_batch_size": 8,
            "evals_per_epoch": 6,
            "max_length": 16,
        }
        generation = {"max_new_tokens": 2, "heldout_samples": 1, "scored_rows": 1}
        config = tiny.study(self.place, rows=40, training=training, generation=generation)
        resolve(validate(config), self.whole / "tiny")
        for stage in STAGES[: max(map(STAGES.index, stages)) + 1]:
            if stage == "tables":
                for each in ("evaluate", "sample"):
                    line = [word.replace(RUN, "words/base/seed-0") for word in arguments(each, self.whole)]
                    self.run(line[:-2], self.whole)  # without --adapter
            self.run(arguments(stage, self.whole), self.whole)

    def run(self, line: list[str], folder: Path, number: int = NEVER, fault: int = 0) -> tuple[int, int]:
        """Run a stage, its call `number` with a fault. Returns its exit status and how many calls it made."""
        from tunebook import __main__ as command_line

        count = self.place / "count"

        def work() -> int:
            self.preloaded.calls_arm(f"{folder}/".encode(), number, fault)
            status = command_line.main(line)
            self.preloaded.calls_arm(b"", 0, 0) if number != NEVER else count.write_text(
                str(self.preloaded.calls_seen())
            )
            return status

        status = forked(work, self.log)
        if number == NEVER and status != 0:
            sys.exit(f"{' '.join(line)}: exit status {status}\n{self.log.read_text()}")
        return status, int(count.read_text()) if number == NEVER else 0

    def disturb(self, stage: str, number: int, fault: int) -> list[str]:
        """Run a stage with a fault, then again. Returns what was wrong."""
        shutil.rmtree(self.copy, ignore_errors=True)
        shutil.copytree(self.whole, self.copy)
        line = arguments(stage, self.copy)
        status, _ = self.run(line, self.copy, number, fault)
        told = self.log.read_text(errors="replace")
        wrong = []
        expected = (-signal.SIGKILL,) if fault < 2 else (0, 2)
        if status not in expected or "Traceback" in told:
            wrong.append(f"exit status {status}: {told[-500:]}")
        self.run(line, self.copy)
        ours, theirs = content(self.copy), content(self.whole)
        wrong += [
            f"{name} differs" for name in sorted(ours.keys() | theirs.keys()) if ours.get(name) != theirs.get(name)
        ]
        return [f"{stage}, call {number}, {FAULTS[fault]}: {what}" for what in wrong]

    def pair(self, stage: str) -> list[str]:
        """Run a stage twice at once. Returns what was wrong."""
        from tunebook import __main__ as command_line

        shutil.rmtree(self.copy, ignore_errors=True)
        shutil.copytree(self.whole, self.copy)
        logs = [self.place / f"log-{number}.txt" for number in range(2)]
        children = [fork(lambda: command_line.main(arguments(stage, self.copy)), log) for log in logs]
        ends = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        ours, theirs = content(self.copy), content(self.whole)
        wrong = [
            f"{name} differs" for name in sorted(ours.keys() | theirs.keys()) if ours.get(name) != theirs.get(name)
        ]
        wrong += [f"exit status {end}: {log.read_text()[-500:]}" for end, log in zip(ends, logs, strict=True) if end]
        return [f"{stage}, two at once: {what}" for what in wrong]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stages", nargs="+", default=STAGES, choices=STAGES)
    parser.add_argument(
        "--most", type=int, default=NEVER, help="at most so many calls of a stage, spread over all of them"
    )
    parser.add_argument("--pairs", type=int, default=0, help="run each stage so many times twice at once")
    parser.add_argument("--record", type=Path, help="write there, as JSON, what table.py reads")
    parser.add_argument("--library", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.library is None:
        return _again_with_the_library()
    place = Path(tempfile.mkdtemp(prefix="tunebook-calls-")).resolve()
    import_stages()
    study = Study(place, ctypes.CDLL(str(args.library)))
    study.make(args.stages)
    outcomes = {}
    for stage in args.stages:
        outcome = outcomes[stage] = Outcome()
        shutil.copytree(study.whole, study.copy, dirs_exist_ok=True)
        _, outcome.calls = study.run(arguments(stage, study.copy), study.copy)
        stride = max(1, -(-outcome.calls // args.most))
        for number in range(1, outcome.calls + 1, stride):
            for fault in range(len(FAULTS)):
                outcome.wrong += study.disturb(stage, number, fault)
                outcome.tried += 1
        for _ in range(args.pairs):
            outcome.wrong += study.pair(stage)
            outcome.pairs += 1
        print(
            f"{stage}: {outcome.calls} calls, {outcome.tried} faults, {outcome.pairs} pairs, {len(outcome.wrong)} wrong",
            flush=True,
        )
        print("".join(f"  {line}\n" for line in outcome.wrong[:20]), end="", flush=True)
    if args.record:
        args.record.parent.mkdir(parents=True, exist_ok=True)
        args.record.write_text(json.dumps({stage: vars(told) for stage, told in outcomes.items()}), encoding="utf-8")
    shutil.rmtree(place)
    return 1 if any(outcome.wrong for outcome in outcomes.values()) else 0


def import_stages() -> None:
    """Import what stages import, so that a forked process need not. Nothing is computed: threads do not survive a fork."""
    import importlib

    import torch

    torch.set_num_threads(1)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    for stage in STAGES:
        importlib.import_module(f"tunebook.{stage.replace('-', '_')}")
    import peft  # noqa: F401


def _again_with_the_library() -> int:
    """Compile calls.c and start this program again with it preloaded."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "calls.so"
        source = Path(__file__).with_name("calls.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
        command = [sys.executable, __file__, *sys.argv[1:], "--library", library]
        return subprocess.run(command, env={**os.environ, "LD_PRELOAD": str(library)}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
