"""SHA-256 of what is published, and the check that it still has the bytes it was published with.

A file that a stage publishes has its digest in `.NAME.sha256` beside it, as `sha256sum` writes it (`sha256sum --check`
reads it). A folder has the digests of its files in the record that describes it, under the key `digests`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from tunebook.errors import TunebookError

SUFFIX = ".sha256"
RECORDS = ("provenance.json", "lengths.json")  # in the folder that they describe: they do not describe themselves


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hexadecimal digits."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def digest_file(path: Path) -> Path:
    """Where the digest of a published file stands."""
    return path.with_name(f".{path.name}{SUFFIX}")


def digest_line(path: Path) -> str:
    """The line of `sha256sum` for a file."""
    return f"{sha256_of(path)}  {path.name}\n"


def is_intact(path: Path) -> bool:
    """Whether a file has the bytes it was published with. True for one without a digest: nothing is known of it."""
    try:
        return digest_file(path).read_bytes() == digest_line(path).encode()
    except FileNotFoundError:
        return True


def checked(path: Path) -> Path:
    """The path of a file that is to be read. Raises TunebookError if it is not as it was published."""
    if not is_intact(path):
        raise TunebookError(
            f"{path}: not the bytes that were published (see {digest_file(path).name} beside it): damaged, or edited by hand; "
            "delete it and run the workflow again"
        )
    return path


def digests_of(folder: Path) -> dict[str, str]:
    """Relative path -> SHA-256 of the files of a folder, without hidden files and the folder's own record."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = [path.relative_to(folder) for path in files]
    return {
        name.as_posix(): sha256_of(folder / name)
        for name in names
        if not name.name.startswith(".") and name.as_posix() not in RECORDS
    }


def digest_of(digests: dict[str, str]) -> str:
    """One SHA-256 for a folder: over the names and digests of its files, in the order of their names."""
    return hashlib.sha256("".join(f"{digests[name]}  {name}\n" for name in sorted(digests)).encode()).hexdigest()


def damage(folder: Path, digests: dict[str, str]) -> list[str]:
    """What is wrong with files that a record describes, a line for each: missing, or other bytes."""
    problems = []
    for name, digest in digests.items():
        file = folder / name
        if not file.is_file():
            problems.append(f"{file}: missing")
        elif (found := sha256_of(file)) != digest:
            problems.append(f"{file}: found SHA-256 {found}, published was {digest}")
    return problems


def check_folder(folder: Path, digests: dict[str, str]) -> None:
    """Raise TunebookError unless the files of a folder are those that its record describes."""
    if problems := damage(folder, digests):
        raise TunebookError(f"{problems[0]}; the folder is damaged: delete {folder} and run the workflow again")
