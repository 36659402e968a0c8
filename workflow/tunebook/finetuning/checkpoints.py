"""Checkpoints of training that has not finished: sealed when complete, recognised when damaged, thinned by step.

They live in a folder that no rule declares (Snakemake deletes the declared outputs of a failed job), named by a hash of
all that determines the weights, so that a changed spec, code, data set or library never resumes stale state.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from tunebook.digests import sha256_of
from tunebook.records import canonical_json
from tunebook.storage import flush, flush_below, replace_file

SEAL = "complete.json"  # written last: its existence means that the checkpoint is whole
KEPT = 2  # newest checkpoints to keep beside the best one: one to resume from, one in case that one is damaged


def step_of(checkpoint: Path) -> int:
    """Optimizer steps done, from the folder's name checkpoint-{step}."""
    return int(checkpoint.name.rsplit("-", 1)[1])


def seal(checkpoint: Path, facts: dict[str, Any]) -> None:
    """Mark a checkpoint as whole, once its files are on the disk: their hashes, and what the record of the run needs to know.

    The seal has a digest of itself, and one form only: `read_seal` notices each flipped bit.
    """
    flush_below(checkpoint)
    flush(checkpoint.parent)
    files = {
        file.name: sha256_of(file) for file in sorted(checkpoint.iterdir()) if file.is_file() and file.name != SEAL
    }
    content = {"files": files, "facts": facts}
    text = canonical_json({**content, "digest": _digest(content)})
    replace_file(checkpoint / SEAL, lambda partial: partial.write_text(text, encoding="utf-8"))


def read_seal(checkpoint: Path) -> dict[str, Any] | None:
    """A whole checkpoint's seal, else None: not sealed, cut short, or with other bytes than were written."""
    try:
        text = (checkpoint / SEAL).read_text(encoding="utf-8")
        sealed = json.loads(text)
        whole = text == canonical_json(sealed) and sealed.pop("digest") == _digest(sealed)
        whole = whole and all(sha256_of(checkpoint / name) == digest for name, digest in sealed["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return sealed if whole else None


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


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
