"""The `path` source: files of this machine."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from tunebook.data.sources.origin import Origin, stamp
from tunebook.digests import sha256_of
from tunebook.errors import TunebookError


def fetch(source: dict[str, Any], workdir: Path) -> Origin:
    """Files that `source["path"]` names: a file, a folder's files, or those a pattern with * matches."""
    files = files_at(source["path"])
    stamps = tuple(map(stamp, files))
    sha256 = sha256_of(files[0]) if len(files) == 1 else _sha256_of_all(files)
    if source["sha256"] and source["sha256"] != sha256:
        raise TunebookError(
            f"path {source['path']}: found sha256 {sha256}, the config says {source['sha256']}; the file has changed: "
            "take the file that was meant, or write its new sha256 into the config"
        )
    return Origin(files=files, revision=f"sha256:{sha256}", sha256=sha256, stamps=stamps)


def files_at(named: str) -> tuple[Path, ...]:
    """The files that a path names: a file, a folder's files, or those a pattern with * matches. Raises TunebookError: none."""
    path = Path(named).expanduser()
    if path.is_dir():
        files = tuple(sorted(file for file in path.rglob("*") if file.is_file()))
    elif any(mark in path.name for mark in "*?["):
        files = tuple(sorted(file for file in path.parent.glob(path.name) if file.is_file()))
    else:
        files = (path,) if path.is_file() else ()
    if not files:
        raise TunebookError(
            f"path {named}: no file there; give an existing file, folder or pattern (found from {Path.cwd()})"
        )
    return files


def _sha256_of_all(files: tuple[Path, ...]) -> str:
    return hashlib.sha256("".join(sha256_of(file) for file in files).encode()).hexdigest()
