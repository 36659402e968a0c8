"""Reading and writing of result files: published whole with a digest beside them, checked when they are read."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas

from tunebook.digests import checked, digest_file, digest_line
from tunebook.errors import TunebookError, escaped
from tunebook.storage import replace_file


def canonical_json(value: Any) -> str:
    """One text for one value: sorted keys, no spaces; what identities are hashed from."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def identity_of(value: Any) -> str:
    """16 hexadecimal digits of the SHA-256 of the value's canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:16]


def write_with(path: Path, write: Callable[[Path], object]) -> None:
    """Publish a file that `write` fills, and its digest beside it."""
    path = Path(path)
    digest_file(path).unlink(missing_ok=True)  # a digest never stands beside the bytes of another file
    replace_file(path, write)
    line = digest_line(path)
    replace_file(digest_file(path), lambda partial: partial.write_text(line, encoding="utf-8"))


def write_text(path: Path, text: str) -> None:
    write_with(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write JSON for people: indented, UTF-8, no NaN or Infinity (they are not JSON)."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_csv(path: Path, frame: pandas.DataFrame) -> None:
    """Write CSV. Text that a spreadsheet would compute (=cmd), or a terminal obey, is written so that neither does."""
    write_text(path, frame.map(_csv_cell).to_csv(index=False, lineterminator="\n"))


def _csv_cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = escaped(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t")) else text  # as spreadsheets mark a cell as text


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


class Record(dict):
    """A record as it was read. A key that it lacks is the user's error, with the file's name."""

    def __init__(self, values: dict[str, Any], path: Path) -> None:
        super().__init__(values)
        self.path = path

    def __missing__(self, key: str) -> Any:
        raise TunebookError(
            f"{self.path}: no {key!r} in it; another version of Tunebook wrote it: delete it and run the stage that makes it"
        )


def read_json(path: Path) -> Any:
    """Read a record; one that is missing, broken or not as it was published is the user's error, with the file's name."""
    path = Path(path)
    try:
        value = json.loads(checked(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TunebookError(f"{path}: no such file; run the stage that makes it first") from None
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise TunebookError(f"{path}: not JSON ({error}); delete it and run the stage that makes it") from None
    return Record(value, path) if isinstance(value, dict) else value


def read_spec(study: Path, stage: str, name: str) -> dict[str, Any]:
    """What study.json tells a stage about one of its models, data sets or experiments."""
    specs = read_json(study)["specs"][stage]
    if name not in specs:
        raise TunebookError(f"{study}: {stage} knows no {name!r}; it has: {', '.join(specs)}")
    return specs[name]
