"""Packed files: what a file holds is told by its first bytes, not by its name."""

from __future__ import annotations

import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable

import pyarrow

from tunebook.data.budgets import TEXT_BYTES, check_text
from tunebook.errors import TunebookError

SPREADSHEET = "xl/workbook.xml"  # what an .xlsx file, which is a zip archive, has and others have not
OTHERS = {  # how a file begins -> what it is
    b"PAR1": "a Parquet file, not text: declare format parquet",
    b"ARROW1": "an Arrow file, not text: declare format arrow",
}
TAR = slice(257, 262)  # where a tar archive has its mark, "ustar"
UNPACKED = 3  # containers within containers that are opened


def _zstd(data: bytes) -> bytes:
    with pyarrow.CompressedInputStream(pyarrow.BufferReader(data), "zstd") as stream:
        return stream.read(TEXT_BYTES + 1)


def _zip(data: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [member for member in archive.namelist() if not member.endswith("/") and "__MACOSX/" not in member]
        if SPREADSHEET in members:
            raise TunebookError("found a spreadsheet, not text: declare format xlsx")
        if len(members) != 1:
            raise TunebookError(f"found a zip archive of {len(members)} files ({', '.join(members[:5])}): unpack it")
        with archive.open(members[0]) as member:
            return member.read(TEXT_BYTES + 1)


def _gzip(data: bytes) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
        return stream.read(TEXT_BYTES + 1)


def _xz(data: bytes) -> bytes:
    with lzma.LZMAFile(io.BytesIO(data)) as stream:
        return stream.read(TEXT_BYTES + 1)


CONTAINERS: dict[bytes, tuple[str, Callable[[bytes], bytes]]] = {  # how it begins -> its name, and how it is unpacked
    b"\x1f\x8b": ("gzip file", _gzip),
    b"\xfd7zXZ\x00": ("xz file", _xz),
    b"\x28\xb5\x2f\xfd": ("zstd file", _zstd),
    b"PK\x03\x04": ("zip archive", _zip),
}
BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError, pyarrow.ArrowException)


def unpacked(name: str, data: bytes) -> bytes:
    """The bytes of a text file that may be packed by gzip, xz or zstd, or be the one file of a zip archive.

    Raises TunebookError for a container that is damaged or holds several files, and for what is no text.
    """
    for _ in range(UNPACKED):
        found = next((mark for mark in CONTAINERS if data.startswith(mark)), None)
        if found is None:
            break
        what, unpack = CONTAINERS[found]
        try:
            data = unpack(data)
        except TunebookError as error:
            raise TunebookError(f"{name}: {error}") from None
        except BROKEN as error:
            raise TunebookError(f"{name}: a {what} that cannot be unpacked ({error}); fetch it again") from None
        check_text(name, len(data))
    if data[TAR] == b"ustar":
        raise TunebookError(f"{name}: found a tar archive: unpack it")
    for mark, what in OTHERS.items():
        if data.startswith(mark):
            raise TunebookError(f"{name}: found {what}")
    return data
