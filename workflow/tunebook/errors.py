"""What a user is told when something fails: a sentence that names the file and says what to do, and no traceback."""

from __future__ import annotations

import errno
import os
import re
import traceback
from pathlib import Path

SHOWN = 400  # characters of a library's own message
REMEDIES = {
    errno.EACCES: "the system does not permit it: change its owner or its mode, or name another place",
    errno.EPERM: "the system does not permit it: change its owner or its mode, or name another place",
    errno.EROFS: "the disk is read-only: name another place",
    errno.EIO: "the disk, or the connection to it, has a fault: see what the system says of it (dmesg), then run again",
    errno.ENAMETOOLONG: "the name is too long for this file system: choose shorter names, or a folder nearer to the root",
    errno.ENOENT: "it is not there: run the stage that makes it, or name another place",
    errno.ENOTDIR: "a file stands where a folder is needed: move it away",
    errno.EISDIR: "a folder stands where a file is needed: name a file",
    errno.EMFILE: "too many files are open: raise the limit (ulimit -n), then run again",
    errno.ESTALE: "the file server has replaced it: run again",
}


CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class TunebookError(Exception):
    """Something the user can mend: the message says what was found, what is allowed and what to do."""

    def __str__(self) -> str:
        return printable(super().__str__())


def printable(text: str) -> str:
    """The text as a terminal may show it. Messages quote data and configs, which may hold characters that move the cursor,
    colour what follows or turn the direction of writing: those come as escapes (`\\x1b`), but for line breaks and tabs."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else ascii(letter).strip("'") for letter in text)


def escaped(text: str) -> str:
    """The text for a file that people read: control characters and marks that turn the direction of writing as escapes."""
    return CONTROL.sub(lambda found: ascii(found[0]).strip("'"), text)


def explained(error: Exception) -> str:
    """An error that no stage expects, as a sentence: what the system refused for which file, or which library failed where."""
    if isinstance(error, MemoryError):
        return "out of memory; give the job more of it, or take smaller data or a smaller batch"
    if isinstance(error, OSError) and error.errno is not None:
        file = error.filename if error.filename is not None else error.filename2
        place = f"{os.fsdecode(file)}: " if isinstance(file, str | bytes | os.PathLike) else ""
        remedy = REMEDIES.get(error.errno, "see to it, then run again")
        return printable(f"{place}{os.strerror(error.errno)}; {remedy}")
    words = " ".join(str(error).split())[:SHOWN]
    for number, remedy in REMEDIES.items():  # libraries have errors of their own, with the system's words in them
        if os.strerror(number) in words:
            return printable(f"{words}; {remedy}")
    return printable(
        f"{type(error).__name__}: {words or 'no message'} (in {_place(error)}); nothing half-written was published. If what was "
        "given is right, this is a fault of Tunebook's or a library's: run again with --debug for the traceback, and report it"
    )


def _place(error: Exception) -> str:
    """The innermost line of this library that an error went through."""
    frames = traceback.extract_tb(error.__traceback__)
    package = Path(__file__).parent
    ours = [frame for frame in frames if package in Path(frame.filename).parents] or list(frames)
    return f"{Path(ours[-1].filename).name}, line {ours[-1].lineno}" if ours else "an unknown place"
