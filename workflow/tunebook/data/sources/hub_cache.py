"""Files of the hub in the hub's own cache: listed, downloaded, resumed and checked.

The cache is laid out as huggingface_hub 2.4 lays it out (blobs/DIGEST, snapshots/COMMIT/PATH), so that other programs
find what is fetched here and the other way round. Downloads are not left to `hf_hub_download`: since 2.x it throws away
what a stopped process had downloaded (a new temporary name a process), it checks no digest, and it takes a size that
the server made up.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tunebook.errors import TunebookError
from tunebook.records import read_json, write_json
from tunebook.storage import flush

CHUNK_BYTES = 1 << 22


class Damaged(Exception):
    """A downloaded file that is not what the hub's list says."""


class NoAnswer(Exception):
    """A server answered what is no answer of a hub."""


@contextmanager
def _understanding() -> Iterator[None]:
    """What the client's reading of an answer stumbles over, as NoAnswer. It goes around nothing but the asking."""
    from huggingface_hub.errors import HFValidationError

    try:
        yield
    except HFValidationError:  # a ValueError too, but over the id that was asked for
        raise
    except (ValueError, KeyError, TypeError) as error:  # no JSON, a key that is not there, a list for a mapping
        raise NoAnswer(str(error)) from error


@dataclass(frozen=True)
class Repository:
    """A model or a data set of the hub."""

    kind: str  # model or dataset
    id: str

    def __str__(self) -> str:
        return f"hub {'data set' if self.kind == 'dataset' else self.kind} {self.id}"

    @property
    def folder(self) -> Path:
        """Its folder in the cache."""
        from huggingface_hub import constants

        return Path(constants.HF_HUB_CACHE) / "--".join([f"{self.kind}s", *self.id.split("/")])


@dataclass(frozen=True)
class HubFile:
    """A file of a commit. `digest`: its SHA-256 (64 digits) if it is a large file, else its git id (40 digits)."""

    path: str
    size: int
    digest: str


def token() -> str | bool:
    """The hub's token, from the environment; False: none is sent, not even one that lies in a file."""
    value = os.environ.get("HF_TOKEN", "").strip()
    if not value.isascii() or not value.isprintable() or " " in value:
        raise TunebookError(
            "HF_TOKEN: found a space, a line break or another character that no token has; copy the token again, in one piece"
        )
    return value or False


def listing(repository: Repository, commit: str) -> dict[str, HubFile]:
    """Path -> file of all files of a commit. What a commit holds never changes: a list once read is kept in the cache."""
    from huggingface_hub import HfApi, constants

    kept = repository.folder / "tunebook" / f"{commit}.json"
    if kept.exists():
        return {line["path"]: HubFile(**line) for line in read_json(kept)}
    with _understanding():
        found = HfApi(endpoint=constants.ENDPOINT, token=token()).repo_info(
            repository.id,
            revision=commit,
            repo_type=repository.kind,
            files_metadata=True,
            timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT,
        )
    if found.sha != commit:
        raise TunebookError(f"{repository}: asked for commit {commit}, the server answered {found.sha}; do not use it")
    files = {
        file.rfilename: HubFile(file.rfilename, file.size, file.lfs.sha256 if file.lfs else file.blob_id)
        for file in found.siblings or []
        if _stays_inside(repository, file.rfilename)
    }
    write_json(kept, [asdict(file) for file in files.values()])
    return files


def _stays_inside(repository: Repository, path: str) -> bool:
    if ".." in path.split("/") or path.startswith("/") or "\\" in path:
        raise TunebookError(f"{repository}: file {path!r} would leave the folder it is put in; do not use it")
    return True


def commits(repository: Repository) -> list[str]:
    """Ids of the commits of the main branch; offline those whose list of files is in the cache."""
    from huggingface_hub import constants
    from huggingface_hub.utils import build_hf_headers, paginate

    if constants.is_offline_mode():
        return [file.stem for file in (repository.folder / "tunebook").glob("*.json")]
    address = f"{constants.ENDPOINT}/api/{repository.kind}s/{repository.id}/commits/main"
    headers = build_hf_headers(token=token())
    with _understanding():
        pages = paginate(address, params={}, headers=headers, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT)
        return [commit["id"] for commit in pages]


def check_space(repository: Repository, commit: str, files: list[HubFile]) -> None:
    """Raise TunebookError if what is not yet in the cache would not fit on its disk."""
    folder = repository.folder
    missing = {file.digest: file.size for file in files if not (folder / "blobs" / file.digest).exists()}
    needed = sum(missing.values())
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise TunebookError(
            f"{repository}: {gigabytes(needed)} are to be downloaded to {folder.parent}, which has {gigabytes(free)} free; "
            "make room, or let HF_HOME name a folder on a larger disk"
        )


def gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def get(repository: Repository, commit: str, file: HubFile) -> Path:
    """A file of a commit, from the cache or downloaded into it: whole, and with the digest that the hub's list has."""
    from huggingface_hub.utils import WeakFileLock

    blob = repository.folder / "blobs" / file.digest
    pointer = repository.folder / "snapshots" / commit / file.path
    blob.parent.mkdir(parents=True, exist_ok=True)
    lock = repository.folder.parent / ".locks" / repository.folder.name / f"{file.digest}.lock"  # huggingface_hub's own
    lock.parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(lock):
        if not _is_whole(blob, file):
            blob.unlink(missing_ok=True)
            _download(repository, commit, file, blob)
        if not (pointer.exists() and pointer.samefile(blob)):
            pointer.parent.mkdir(parents=True, exist_ok=True)
            pointer.unlink(missing_ok=True)
            pointer.symlink_to(os.path.relpath(blob, pointer.parent))
    return pointer


def _is_whole(blob: Path, file: HubFile) -> bool:
    return blob.exists() and blob.stat().st_size == file.size and _digest_of(blob, file) == file.digest


def _download(repository: Repository, commit: str, file: HubFile, blob: Path) -> None:
    """Download a file beside its place and move it there once it is whole. What a stopped download left is gone on with."""
    from huggingface_hub import constants, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    if constants.is_offline_mode():
        from huggingface_hub.errors import OfflineModeIsEnabled

        raise OfflineModeIsEnabled(file.path)
    partial = blob.with_name(f"{file.digest}.tunebook.incomplete")
    begun = partial.stat().st_size if partial.exists() else 0
    if begun > file.size:
        partial.unlink()
        begun = 0
    print(f"{repository}: {file.path}, {gigabytes(file.size)}{f', from byte {begun} on' if begun else ''}", flush=True)
    url = hf_hub_url(repository.id, file.path, repo_type=repository.kind, revision=commit, endpoint=constants.ENDPOINT)
    headers = build_hf_headers(token=token())
    with partial.open("ab") as handle, _understanding():
        http_get(url, handle, resume_size=begun, headers=headers, expected_size=file.size, displayed_filename=file.path)
    found = _digest_of(partial, file)
    if found != file.digest:
        partial.unlink()
        raise Damaged(f"{file.path}: found digest {found}, the hub's list says {file.digest}")
    flush(partial)
    partial.replace(blob)
    flush(blob.parent)


def _digest_of(path: Path, file: HubFile) -> str:
    """SHA-256 of a large file, git's id (SHA-1 over a header and the bytes) of any other."""
    large = len(file.digest) == 64
    digest = hashlib.sha256() if large else hashlib.sha1(f"blob {path.stat().st_size}\0".encode())
    with path.open("rb") as handle:
        while chunk := handle.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
