"""What a data file may ask of this machine: files that would take hours, all memory, or a library's stack are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tunebook.errors import TunebookError

TEXT_BYTES = 500_000_000  # of a text file, which is read as a whole
PARQUET_ROWS = 10_000_000
PARQUET_BYTES = 8_000_000_000  # unpacked
DEEPEST = 100  # levels of nesting; libyaml's composer calls itself for each, and ends the process at some 10^4
MOST_ALIASES = 10_000
UNPACKED_BYTES, UNPACKED_TIMES = 100_000_000, 100  # real archives unpack to some ten times their size


def check_text(file: str, size: int) -> None:
    """Refuse a text file that is too large to be read as a whole. size: bytes, unpacked."""
    if size > TEXT_BYTES:
        raise TunebookError(
            f"{file}: found {size / 1e6:.0f} MB of text; at most {TEXT_BYTES / 1e6:.0f} MB are read: take a part of it, or "
            "give it as Parquet"
        )


def check_parquet(file: str, metadata: Any) -> None:
    """Refuse a Parquet file by what its footer says (pyarrow's FileMetaData): a few bytes may stand for 10^8 equal rows."""
    size = sum(metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups))
    if metadata.num_rows > PARQUET_ROWS or size > PARQUET_BYTES:
        raise TunebookError(
            f"{file}: found {metadata.num_rows} rows, {size / 1e6:.0f} MB unpacked; at most {PARQUET_ROWS} rows and "
            f"{PARQUET_BYTES / 1e6:.0f} MB are read: take a part of it"
        )


def check_yaml(file: str, text: str) -> None:
    """Refuse YAML that is nested too deeply, or that repeats itself by aliases, before it is composed."""
    depth = aliases = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        aliases += isinstance(event, yaml.AliasEvent)
        if depth > DEEPEST or aliases > MOST_ALIASES:
            raise TunebookError(
                f"{file}, row {event.start_mark.line + 1}: found more than {DEEPEST} levels of nesting, or more than "
                f"{MOST_ALIASES} aliases; no data needs them"
            )


def check_archive(archive: Path, unpacked_bytes: int) -> None:
    """Refuse an archive that would unpack to far more than its own size."""
    size = archive.stat().st_size
    if unpacked_bytes > UNPACKED_BYTES and unpacked_bytes > UNPACKED_TIMES * size:
        raise TunebookError(
            f"{archive.name}: {size / 1e6:.1f} MB would unpack to {unpacked_bytes / 1e6:.0f} MB, more than {UNPACKED_TIMES} times "
            "as much; do not use this file"
        )
