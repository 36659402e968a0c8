"""Stage `verify`: whether everything below results/ still has the bytes it was published with."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, field
from pathlib import Path

from tunebook.digests import RECORDS, damage, digest_file, is_intact, sha256_of
from tunebook.errors import TunebookError
from tunebook.finetuning.checkpoints import SEAL, read_seal

TRAINING = "training.json"  # beside the adapter and history.csv, which it describes
UNPUBLISHED = ("logs", "benchmarks", "checkpoints")  # what jobs print, and training that has not finished
AGAIN = "snakemake --cores 1 --resources gpu=1, with the study's --configfile"


@dataclass
class Findings:
    """What was looked at: files that were `checked`, `unknown` ones of which no digest tells, what is wrong, and what to
    delete so that the workflow makes it again."""

    checked: set[Path] = field(default_factory=set)
    unknown: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    delete: set[Path] = field(default_factory=set)

    def add(self, problem: str, delete: Path) -> None:
        self.problems.append(problem)
        self.delete.add(delete)

    def __str__(self) -> str:
        places = " ".join(sorted(map(str, self.delete)))
        count = f"{len(self.problems)} {'files are' if len(self.problems) > 1 else 'file is'} not as published"
        lines = "\n".join(f"  - {problem}" for problem in self.problems)
        return f"{count}:\n{lines}\ndelete what is damaged (rm -r {places}) and run again: {AGAIN}"


def verify(results: Path) -> Findings:
    """Check every published file and every checkpoint below `results` against its digest."""
    if not results.is_dir():
        raise TunebookError(f"{results}: no such folder; name the folder of results")
    findings = Findings()
    files = [file for file in sorted(results.rglob("*")) if file.is_file() and _is_published(file.relative_to(results))]
    for file in files:
        if digest_file(file).exists():
            findings.checked.add(file)
            if not is_intact(file):
                findings.add(f"{file}: SHA-256 {sha256_of(file)} is not the one in {digest_file(file).name}", file)
            elif file.name in (*RECORDS, TRAINING):
                _check_described(file, findings)
    findings.unknown = [file for file in files if file not in findings.checked]
    for seal in sorted(results.glob(f"*/checkpoints/*/checkpoint-*/{SEAL}")):
        findings.checked.add(seal)
        if read_seal(seal.parent) is None:
            findings.add(f"{seal.parent}: damaged; training goes on from the checkpoint before it", seal.parent)
    return findings


def _is_published(name: Path) -> bool:
    hidden = any(part.startswith(".") for part in name.parts)
    return not hidden and not set(UNPUBLISHED) & set(name.parts[:2]) and name.name != "README.md"


def _check_described(record: Path, findings: Findings) -> None:
    """Check the files that a record describes."""
    folder = record.parent
    digests = json.loads(record.read_text(encoding="utf-8"))["digests"]
    findings.checked |= {folder / name for name in digests}
    for problem in damage(folder, digests):
        findings.add(problem, folder if record.name in RECORDS else record)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--results", type=Path, default=Path("results"), help="the folder of results (default: results)"
    )


def main(args: argparse.Namespace) -> None:
    findings = verify(args.results)
    if findings.problems:
        raise TunebookError(str(findings))
    for file in findings.unknown:
        print(f"{file}: not checked; no digest of it is kept")
    print(f"{args.results}: {len(findings.checked)} files are as published")
