"""What the tests of faults share."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture
def disk(tmp_path) -> Iterator[Callable[[int], Path]]:
    """`disk(size)` gives a folder on a disk of that many KiB of its own; called again, it makes the disk so large."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")

    def mount(kib: int) -> Path:
        options = f"size={kib}k" + (",remount" if place.is_mount() else "")
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True, text=True)
        if done.returncode != 0:
            pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
        return place

    yield mount
    if place.is_mount():
        subprocess.run(["umount", "--lazy", place], check=True)  # a failed write may have left a file open
