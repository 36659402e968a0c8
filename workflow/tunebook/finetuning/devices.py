"""Which GPU a local job computes on: one that no other job holds. And what a run asks of its device.

Snakemake counts GPUs (`--resources gpu=2`) but gives no job a certain one, and CUDA's own default is the first one for
all. So each job takes a lock on one device, or on as many as torchrun started processes for it, and sees no other. A
scheduler or a user who has chosen is obeyed.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tunebook.errors import TunebookError
from tunebook.records import write_text

CHOSEN_BY_OTHERS = ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID")  # the user, SLURM
SECONDS_BETWEEN_TRIES = 0.5
LISTED = re.compile(r"^(GPU|\s+MIG) .*\(UUID: ([\w-]+)\)", re.MULTILINE)
held: list[FileLock] = []  # for the life of the process: the kernel frees a lock whose holder was killed


def claim_device(
    environment: MutableMapping[str, str], *, ids: Sequence[str] | None = None, folder: Path | None = None
) -> str | None:
    """Wait for a GPU that no other job of this user on this machine holds, hold it, and show CUDA no other.

    Where torchrun started N processes (`LOCAL_WORLD_SIZE`), the first of them waits for N GPUs, holds them all and tells the
    others; each sees all N, in the same order.

    `environment`: the process's own, in which CUDA_VISIBLE_DEVICES is set; `ids`: the devices, listed by the driver where
    not given; `folder`: where the locks lie. Returns the ids, or None where there is nothing to choose. Call it before
    anything asks CUDA what there is: from then on CUDA no longer reads the variable. Raises TunebookError where there are
    fewer GPUs than processes.
    """
    if any(name in environment for name in CHOSEN_BY_OTHERS):
        return None
    ids = listed_devices() if ids is None else ids
    if not ids:
        return None
    folder, wanted = folder or _lock_folder(), int(environment.get("LOCAL_WORLD_SIZE", 1))
    if wanted > len(ids):
        raise TunebookError(
            f"found {len(ids)} GPUs for {wanted} processes; each needs one: set gpus to {len(ids)} or less"
        )
    if wanted == 1:
        chosen = _lock(ids, 1, folder)
    else:
        # torchrun's own process is the parent of all that it started, and no other's
        told = folder / f"{os.getppid()}-{environment.get('TORCHELASTIC_RUN_ID', '')}.ids"
        chosen = _lock_and_tell(ids, wanted, told) if environment["LOCAL_RANK"] == "0" else _be_told(told)
    environment["CUDA_VISIBLE_DEVICES"] = chosen
    return chosen


def listed_devices() -> list[str]:
    """Ids of this machine's NVIDIA GPUs, or of their MIG slices where they are cut up; none without a driver.

    From `nvidia-smi -L`: asking CUDA would fix what this process sees.
    """
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return devices_in(done.stdout) if done.returncode == 0 else []


def devices_in(listing: str) -> list[str]:
    """Ids in the output of `nvidia-smi -L`. A GPU whose slices follow it cannot be used as a whole."""
    found = LISTED.findall(listing)
    followers = [kind.strip() for kind, _ in found[1:]]
    is_cut = [kind == "GPU" and follower == "MIG" for (kind, _), follower in zip(found, [*followers, ""], strict=False)]
    return [name for (_, name), cut in zip(found, is_cut, strict=True) if not cut]


def _lock_folder() -> Path:
    """A folder of this user's own: locks of one user hold off no other."""
    folder = Path(tempfile.gettempdir()) / f"tunebook-devices-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise TunebookError(f"{folder}: belongs to somebody else; set CUDA_VISIBLE_DEVICES to the GPU to use")
    return folder


def _lock(ids: Sequence[str], wanted: int, folder: Path) -> str:
    """Hold so many of the devices, all at once or none; returns them as CUDA_VISIBLE_DEVICES has them."""
    told = False
    while True:
        with FileLock(folder / "choosing.lock"):  # two jobs that each hold half of what they want would wait for ever
            chosen = _lock_now(ids, wanted, folder)
        if chosen:
            return ",".join(chosen)
        if not told:
            what = "a free GPU" if wanted == 1 else f"{wanted} free GPUs"
            held_by_others = f"all {len(ids)}" if wanted == 1 else f"too many of the {len(ids)}"
            print(f"waiting for {what}: other jobs hold {held_by_others}; start with --resources gpu={len(ids)}, "
                  "so that no more jobs run than there are GPUs", flush=True)  # fmt: skip
            told = True
        time.sleep(SECONDS_BETWEEN_TRIES)


def _lock_now(ids: Sequence[str], wanted: int, folder: Path) -> list[str]:
    taken: dict[str, FileLock] = {}
    for name in ids:
        lock = FileLock(folder / f"{re.sub(r'[^0-9A-Za-z-]', '_', name)}.lock")
        with contextlib.suppress(Timeout):
            lock.acquire(timeout=0)
            taken[name] = lock
        if len(taken) == wanted:
            held.extend(taken.values())
            return list(taken)
    for lock in taken.values():
        lock.release()
    return []


def _lock_and_tell(ids: Sequence[str], wanted: int, told: Path) -> str:
    chosen = _lock(ids, wanted, told.parent)
    write_text(told, chosen)
    atexit.register(told.unlink, missing_ok=True)
    return chosen


def _be_told(told: Path) -> str:
    """Wait for the first process; torchrun ends this one if that one dies."""
    while not told.exists():
        time.sleep(SECONDS_BETWEEN_TRIES)
    return told.read_text(encoding="utf-8")


def check_device(training: dict[str, Any], *, gpu: bool, has_bf16: bool = True) -> None:
    """Raise TunebookError where a run's training arguments ask for what the present device cannot do.

    The libraries would train all the same, in another way than the record then says: without a GPU, a paged optimizer is
    not paged.
    """
    if training["optim"].startswith("paged_") and not gpu:
        raise TunebookError(
            f"training.optim: found {training['optim']}, but this process sees no GPU whose memory could be paged; take a "
            f"GPU, or set optim: {training['optim'].removeprefix('paged_')}"
        )
    if training["bf16"] and gpu and not has_bf16:
        raise TunebookError("training.bf16: found true, but this GPU has no bfloat16; set bf16: false, or fp16: true")


def check_without_gpus(trainings: Mapping[str, dict[str, Any]]) -> None:
    """Raise TunebookError if a machine without a GPU cannot train all these runs: name -> training arguments."""
    problems = []
    for name, training in trainings.items():
        try:
            check_device(training, gpu=False)
        except TunebookError as error:
            problems.append(f"  - {name}: {error}")
    if problems:
        raise TunebookError(
            f"{len(problems)} of {len(trainings)} runs cannot be trained without a GPU (--resources gpu=0); nothing was run\n"
            + "\n".join(problems)
        )
