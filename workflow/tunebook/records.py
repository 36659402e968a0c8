"""Reading and writing of result files. A file appears complete or not at all: written beside, then renamed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas

from tunebook.errors import TunebookError


def canonical_json(value: Any) -> str:
    """One text for one value: sorted keys, no spaces; what identities are hashed from."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def identity_of(value: Any) -> str:
    """16 hexadecimal digits of the SHA-256 of the value's canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:16]


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hexadecimal digits."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_of_folder(folder: Path) -> str:
    """SHA-256 over names and contents of all files of a folder, in the order of their names.

    provenance.json does not count: it holds the time at which the same files were fetched.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "provenance.json")
    return hashlib.sha256(
        canonical_json([[str(path.relative_to(folder)), sha256_of(path)] for path in files]).encode()
    ).hexdigest()


def write_with(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `path`, force it to disk, then rename it into place."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(partial)
        with partial.open("rb") as handle:
            os.fsync(handle.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    write_with(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write JSON for people: indented, UTF-8, no NaN or Infinity (they are not JSON)."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_csv(path: Path, frame: pandas.DataFrame) -> None:
    write_text(path, frame.to_csv(index=False, lineterminator="\n"))


def write_parquet(path: Path, frame: pandas.DataFrame) -> None:
    write_with(path, lambda partial: frame.to_parquet(partial, index=False))


def disk_is_full(error: BaseException, folder: Path | None = None) -> bool:
    """Whether an error came of a disk without space, or of a quota that is used up.

    torch and safetensors raise errors of their own, one with the system's words and one without: then the free space of
    the disk that holds `folder` tells.
    """
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    if any(os.strerror(number) in str(error) for number in (errno.ENOSPC, errno.EDQUOT)):
        return True
    return folder is not None and folder.exists() and shutil.disk_usage(folder).free < 2**20


def read_json(path: Path) -> Any:
    """Read a record; a missing or broken one is the user's error, with the file's name."""
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TunebookError(f"{path}: no such file; run the stage that makes it first") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise TunebookError(f"{path}: not JSON ({error}); delete it and run the stage that makes it") from None


def read_spec(study: Path, stage: str, name: str) -> dict[str, Any]:
    """What study.json tells a stage about one of its models, data sets or experiments."""
    specs = read_json(study)["specs"][stage]
    if name not in specs:
        raise TunebookError(f"{study}: {stage} knows no {name!r}; it has: {', '.join(specs)}")
    return specs[name]


@contextmanager
def folder_in_place(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path` that takes its place when the block ends without an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    shutil.rmtree(partial, ignore_errors=True)  # what a killed process left
    partial.mkdir()
    try:
        yield partial
        if path.exists():
            shutil.rmtree(path)
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
