"""Files and folders that appear whole or not at all, that survive a power cut, and that have one writer at a time.

What is written is flushed before the rename that publishes it, and the rename is flushed with its folder: the order of an
atomic commit in SQLite (https://sqlite.org/atomiccommit.html). What a dead process left half-written is removed by the
next writer of the same name.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tunebook.errors import TunebookError

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # what flock(2) answers where the file system has none


def flush(path: Path) -> None:
    """Force a file's bytes, or a folder's names, to the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno != errno.EINVAL or not path.is_dir():  # some file systems cannot flush a folder
            raise
    finally:
        os.close(number)


def flush_below(folder: Path) -> None:
    """Force a folder and everything in it to the disk."""
    for place, _, names in os.walk(folder, topdown=False):
        for name in names:
            flush(Path(place, name))
        flush(Path(place))


def make_folder(path: Path) -> None:
    """Make a folder and its parents. New ones are forced to the disk."""
    new = [place for place in (path, *path.parents) if not place.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for place in new:
        flush(place.parent)


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `path`, flush it, and rename it into place."""
    make_folder(path.parent)
    with lock(path) as held:
        partial = _partial(path, held)
        try:
            write(partial)
            flush(partial)
            partial.replace(path)
            flush(path.parent)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def folder_in_place(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`. It is flushed and takes the place of `path` when the block ends without an error.

    A second process that makes the same folder waits for the first. Raises TunebookError where the folder beside `path`
    was removed by somebody else meanwhile.
    """
    path = Path(path)
    make_folder(path.parent)
    with lock(path, f"another process makes {path}: waiting for its end") as held:
        partial = _partial(path, held)
        partial.mkdir()
        made = os.open(partial, os.O_RDONLY)  # held open, its number is given to no other folder
        try:
            yield partial
            if not (partial.exists() and os.path.samestat(os.fstat(made), partial.stat())):
                raise TunebookError(f"{partial}: removed while it was written; nothing was published: run again")
            flush_below(partial)
            _swap(partial, path)
        finally:
            os.close(made)
            shutil.rmtree(partial, ignore_errors=True)


def _swap(partial: Path, path: Path) -> None:
    """Put a folder into the place of another one, which is deleted after the change is on the disk."""
    old = path.with_name(_partial_name(path))
    if path.exists():
        path.rename(old)
    try:
        partial.rename(path)
    except BaseException:
        if old.exists():
            old.rename(path)
        raise
    flush(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def _partial_name(path: Path) -> str:
    return f".{path.name}.{uuid.uuid4().hex[:12]}.part"


def _partial(path: Path, held: Held) -> Path:
    """A place beside `path` for this process alone. Under the lock whatever else has such a name is of a dead process."""
    if held.locked:
        leftover = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]+\.part")
        for place in path.parent.iterdir():
            if leftover.fullmatch(place.name):
                shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
    return path.with_name(_partial_name(path))


@dataclass(frozen=True)
class Held:
    """What came of asking for a lock. `locked`: False where the file system has no locks; `waited`: another had it first."""

    locked: bool
    waited: bool


@contextmanager
def lock(path: Path, waiting: str = "") -> Iterator[Held]:
    """Hold `path` for this process alone. `waiting`: what to print if another process has it.

    The kernel frees the lock of a process that dies. The lock's file, `.NAME.lock` beside `path`, is removed by its holder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.with_name(f".{path.name}.lock")
    number, held = _acquired(file, waiting)
    try:
        yield held
    finally:
        if number is not None:
            file.unlink(missing_ok=True)  # while it is held: whoever waits for it sees that it is gone, and asks again
            os.close(number)


def _acquired(file: Path, waiting: str) -> tuple[int | None, Held]:
    waited = False
    while True:
        number = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            try:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if waiting and not waited:
                    print(waiting, flush=True)
                waited = True
                fcntl.flock(number, fcntl.LOCK_EX)
            if os.path.samestat(os.fstat(number), file.stat()):
                return number, Held(locked=True, waited=waited)
        except FileNotFoundError:  # removed by its last holder just now
            pass
        except OSError as error:
            os.close(number)
            if error.errno not in NO_LOCKS:
                raise
            print(
                f"no locks in {file.parent} ({error.strerror}): do not start the same stage twice at once", flush=True
            )
            file.unlink(missing_ok=True)
            return None, Held(locked=False, waited=False)
        os.close(number)
