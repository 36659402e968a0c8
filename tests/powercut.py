"""A power cut, simulated: what a process wrote and did not flush is lost.

While it records, every rename is followed by a picture of the folder as the disk could hold it: a file that was not flushed
since it was written is empty, and a name that its folder was not flushed with is missing, while deletions are all there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Recorder:
    """`pictures`: what a cut after each rename would leave, in their order."""

    def __init__(self, folder: Path, pictures: Path) -> None:
        self.folder, self.place = folder, pictures
        self.flushed: dict[tuple[int, int], tuple[int, int]] = {}  # a file -> its size and time of change when flushed
        self.names: dict[tuple[int, int], set[tuple[str, int]]] = {}  # a folder -> names and files when flushed
        self.pictures: list[Path] = []
        for path in (folder, *folder.rglob("*")):  # what stood there before is on the disk
            self.note(path)

    def note(self, path: Path) -> None:
        """Remember that a file or a folder is on the disk as it is now."""
        known = path.stat()
        key = (known.st_dev, known.st_ino)
        if path.is_dir():
            self.names[key] = {(each.name, each.stat().st_ino) for each in path.iterdir()}
        else:
            self.flushed[key] = (known.st_size, known.st_mtime_ns)

    def picture(self) -> None:
        """Take a picture of what a cut would leave now."""
        target = self.place / f"{len(self.pictures):04d}"
        self._copy(self.folder, target)
        self.pictures.append(target)

    def _copy(self, source: Path, target: Path) -> None:
        target.mkdir(parents=True)
        known = source.stat()
        durable = self.names.get((known.st_dev, known.st_ino), set())
        for path in source.iterdir():
            about = path.stat()
            if (path.name, about.st_ino) not in durable:
                continue
            if path.is_dir():
                self._copy(path, target / path.name)
            elif self.flushed.get((about.st_dev, about.st_ino)) == (about.st_size, about.st_mtime_ns):
                shutil.copy2(path, target / path.name)
            else:
                (target / path.name).touch()


@contextmanager
def recorded(folder: Path, pictures: Path) -> Iterator[Recorder]:
    """Record what this process flushes and renames below `folder`."""
    recorder = Recorder(folder, pictures)
    fsync, renames = os.fsync, {name: getattr(os, name) for name in ("rename", "replace")}

    def flushing(number: int) -> None:
        fsync(number)
        path = Path(os.readlink(f"/proc/self/fd/{number if isinstance(number, int) else number.fileno()}"))
        if path.is_relative_to(folder) and path.exists():
            recorder.note(path)

    def renaming(name: str):
        def renamed(source, target, **options):
            renames[name](source, target, **options)
            if Path(target).absolute().is_relative_to(folder):
                recorder.picture()

        return renamed

    os.fsync, os.rename, os.replace = flushing, renaming("rename"), renaming("replace")
    try:
        yield recorder
    finally:
        os.fsync, os.rename, os.replace = fsync, renames["rename"], renames["replace"]
