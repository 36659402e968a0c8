"""What `check` sees of the files of this machine that a study names: whether they can be read, and have the columns."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunebook.data.raw import Row
from tunebook.data.rendering import Renderer
from tunebook.data.source_rows import rows_of
from tunebook.data.sources import local
from tunebook.errors import TunebookError

LARGEST_BYTES = 20_000_000  # larger files are left to the stages: a check ends within seconds


def look(specs: dict[str, dict[str, dict[str, Any]]]) -> Iterator[tuple[str, bool]]:
    """(sentence, whether it is a problem) for each data set whose local files are wrong or were not looked at.

    Args: specs: stage -> name -> what that stage is told (`configuration.study.fetching_specs`).
    """
    for name, fetched in specs["fetch-dataset"].items():
        if fetched["source"]["type"] != "path":
            continue
        try:
            files = local.files_at(fetched["source"]["path"])
        except TunebookError as error:
            yield f"data set {name} was not looked at: {error}", False
            continue
        size_bytes = sum(file.stat().st_size for file in files)
        if size_bytes > LARGEST_BYTES:
            yield (
                f"data set {name} was not looked at: {size_bytes / 1e6:,.0f} MB are left to fetch-dataset and prepare",
                False,
            )
            continue
        try:
            _read(fetched, specs["prepare"][name])
        except TunebookError as error:
            yield str(error), True


def _read(fetched: dict[str, Any], prepared: dict[str, Any]) -> None:
    """Read the rows and compile the templates for their columns; no template is filled. Raises TunebookError."""
    with tempfile.TemporaryDirectory() as workdir:
        rows, _ = rows_of(fetched, Path(workdir))
    read = [row for row in rows if isinstance(row, Row)]
    if rows and not read:
        raise TunebookError(
            f"data set {fetched['name']}: no row could be read; first: {rows[0]}; check source and format"
        )
    Renderer(prepared, columns=list(dict.fromkeys(name for row in read for name in row.values)))
