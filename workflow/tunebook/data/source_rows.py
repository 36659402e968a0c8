"""The rows of a source, whatever it is: generated, or read from its files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tunebook.data.generators import GENERATORS
from tunebook.data.raw import Refusal, Row
from tunebook.data.sources import files_of
from tunebook.data.tabular import read_rows
from tunebook.records import identity_of

BESIDE_ARROW = ("dataset_info.json", "state.json", "dataset_dict.json")


def rows_of(spec: dict[str, Any], workdir: Path) -> tuple[list[Row | Refusal], dict[str, str]]:
    """All rows and refusals of a source, and its revision and sha256."""
    source = spec["source"]
    if source["type"] == "generated":
        records = GENERATORS[source["generator"]](rows=source["rows"], seed=source["seed"])
        rows = [Row(source["generator"], number, values) for number, values in enumerate(records, start=1)]
        return rows, {"revision": f"seed {source['seed']}, {source['rows']} rows", "sha256": identity_of(records)}
    origin = files_of(source, workdir)
    names = _names_of(_files_with_rows(origin.files, spec["format"]["type"]))
    rows = [row for file, name in names.items() for row in read_rows(file, spec["format"], name)]
    origin.refuse_changed()
    return rows, {"revision": origin.revision, "sha256": origin.sha256}


def _files_with_rows(files: tuple[Path, ...], kind: str) -> list[Path]:
    """The files less those that `datasets` writes beside its Arrow files."""
    return [file for file in files if kind != "arrow" or file.name not in BESIDE_ARROW]


def _names_of(files: list[Path]) -> dict[Path, str]:
    """What each file's rows are known by: its name, or, where two have the same, its path below the folder of all."""
    if len({file.name for file in files}) == len(files):
        return {file: file.name for file in files}
    folder = Path(os.path.commonpath([file.parent for file in files]))
    return {file: file.relative_to(folder).as_posix() for file in files}
