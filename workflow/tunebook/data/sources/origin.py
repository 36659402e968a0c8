"""What a source hands over: files, and what identifies them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tunebook.errors import TunebookError


@dataclass(frozen=True)
class Origin:
    """`files`: what was asked for, in the order of their names. `revision`: what pins them. `sha256`: of the archive."""

    files: tuple[Path, ...]
    revision: str
    sha256: str
    stamps: tuple[tuple[int, int, int], ...] = ()  # of local files when they were hashed: see `stamp`

    def refuse_changed(self) -> None:
        """Raise TunebookError if a local file was changed since it was hashed."""
        for file, before in zip(self.files, self.stamps, strict=False):
            if stamp(file) != before:
                raise TunebookError(f"{file}: changed while it was read; run again when nothing writes to it")


def stamp(file: Path) -> tuple[int, int, int]:
    """What tells that a file was written to: inode, size, time of change (ns)."""
    known = file.stat()
    return known.st_ino, known.st_size, known.st_mtime_ns
