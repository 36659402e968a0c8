"""The device that this machine would train on, and its memory. Light: asks the driver and the kernel, not torch."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MEMINFO = Path("/proc/meminfo")
CGROUPS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
QUERY = ["nvidia-smi", "--query-gpu=name,memory.total,memory.free", "--format=csv,noheader,nounits"]  # MiB


@dataclass(frozen=True)
class Machine:
    """`device`: gpu or cpu; `memory_bytes`: all it has; `free_bytes`: what nobody uses now."""

    device: str
    name: str
    memory_bytes: int
    free_bytes: int


def present_machine(environment: Mapping[str, str]) -> Machine:
    """The smallest GPU that this process may see, else the CPU with the memory that it may use."""
    return _gpu(environment) or _cpu()


def _gpu(environment: Mapping[str, str]) -> Machine | None:
    if environment.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1"):
        return None
    try:
        done = subprocess.run(QUERY, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return gpu_in(done.stdout) if done.returncode == 0 else None


def gpu_in(listing: str) -> Machine | None:
    """The smallest GPU in the answer of nvidia-smi: lines of name, total and free memory in MiB."""
    found = []
    for line in listing.splitlines():
        name, *numbers = (part.strip() for part in line.rsplit(",", 2))
        if len(numbers) == 2 and all(number.isdigit() for number in numbers):
            total, free = (int(number) << 20 for number in numbers)
            found.append(Machine("gpu", name, total, free))
    return min(found, key=lambda machine: machine.memory_bytes, default=None)


def _cpu() -> Machine:
    known = {}
    for line in MEMINFO.read_text(encoding="utf-8").splitlines():
        key, value = line.split(":", 1)
        known[key] = int(value.split()[0]) * 1024
    limits = [int(text) for text in map(_text, CGROUPS) if text.isdigit()]
    total = min([known["MemTotal"], *limits])
    return Machine("cpu", "CPU", total, min(total, known["MemAvailable"]))


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8").strip() if file.exists() else ""
