"""Checkpoints of training that has not finished: sealed when complete, recognised when damaged, thinned by step.

They live in a folder that no rule declares (Snakemake deletes the declared outputs of a failed job), named by a hash of
all that determines the weights, so that a changed spec, code, data set or library never resumes stale state.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tunebook.records import sha256_of, write_json

SEAL = "complete.json"  # written last: its existence means that the checkpoint is whole
KEPT = 2  # newest checkpoints to keep beside the best one: one to resume from, one in case that one is damaged


def step_of(checkpoint: Path) -> int:
    """Optimizer steps done, from the folder's name checkpoint-{step}."""
    return int(checkpoint.name.rsplit("-", 1)[1])


def seal(checkpoint: Path, facts: dict[str, Any]) -> None:
    """Mark a checkpoint as whole: sizes and hashes of its files, and what the record of the run needs to know."""
    hashes = {
        file.name: sha256_of(file) for file in sorted(checkpoint.iterdir()) if file.is_file() and file.name != SEAL
    }
    write_json(checkpoint / SEAL, {"files": hashes, "facts": facts})


def read_seal(checkpoint: Path) -> dict[str, Any] | None:
    """A whole checkpoint's seal, else None: not sealed, cut short, or with other bytes than were written."""
    try:
        sealed = json.loads((checkpoint / SEAL).read_text(encoding="utf-8"))
        whole = all(sha256_of(checkpoint / name) == digest for name, digest in sealed["files"].items())
    except (OSError, ValueError, KeyError):
        return None
    return sealed if whole else None


def best_step(checkpoint: Path) -> int | None:
    """The step with the lowest validation loss, as known when this checkpoint was written."""
    return json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))["best_global_step"]


def latest_whole(folder: Path) -> Path | None:
    """The newest checkpoint that is whole and whose best checkpoint is whole too; damaged ones are deleted, loudly."""
    found = sorted(folder.glob("checkpoint-*"), key=step_of, reverse=True) if folder.is_dir() else []
    whole = []
    for checkpoint in found:
        if read_seal(checkpoint) is None:
            print(f"checkpoint {checkpoint.name} is incomplete or damaged; it is not used", flush=True)
            shutil.rmtree(checkpoint)
        else:
            whole.append(checkpoint)
    steps = {step_of(checkpoint) for checkpoint in whole}
    usable = (checkpoint for checkpoint in whole if best_step(checkpoint) in (steps | {None, 0}))
    return next(usable, None)


def thin(folder: Path, best: int | None) -> None:
    """Delete all checkpoints but the newest and the best. Order is by step: clocks may jump."""
    found = sorted(folder.glob("checkpoint-*"), key=step_of)
    for checkpoint in found[:-KEPT]:
        if step_of(checkpoint) != best:
            shutil.rmtree(checkpoint)


@contextlib.contextmanager
def sole_user(folder: Path) -> Iterator[bool]:
    """Hold a folder of checkpoints for this process alone; yields whether another one had to be waited for.

    A killed Snakemake leaves its jobs running, on a cluster for hours, and the next one starts them again beside them.
    Where a file system has no locks, there is none.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    waited = False
    try:
        lock.acquire(timeout=0)
    except Timeout:
        waited = True
        print("another process trains this very run: waiting for its end", flush=True)
        lock.acquire()
    except (NotImplementedError, OSError) as error:
        print(f"no lock on {folder.parent} ({error}): see to it that no run is trained twice at once", flush=True)
    try:
        yield waited
    finally:
        lock.release()
