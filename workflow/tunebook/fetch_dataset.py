"""Stage `fetch-dataset`: rows as the source gives them -> raw.parquet and provenance.json."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pandas

from tunebook.claims import refuse_other_sources
from tunebook.data.generators import GENERATORS
from tunebook.data.provenance import provenance
from tunebook.data.sources import files_of
from tunebook.data.tabular import Refusal, Row, read_rows
from tunebook.errors import TunebookError
from tunebook.records import identity_of, read_spec, write_json, write_parquet
from tunebook.storage import folder_in_place

BESIDE_ARROW = ("dataset_info.json", "state.json", "dataset_dict.json")


def fetch_dataset(spec: dict[str, Any], output: Path) -> None:
    """Fetch the data set `spec` into the folder `output`.

    raw.parquet holds a line a record: `_file`, `_row`, `values` (the record as JSON text, so that no value is
    converted on the way) or, where it could not be read, `reason` and `found`.
    """
    with tempfile.TemporaryDirectory() as workdir, folder_in_place(output) as folder:
        rows, origin = rows_of(spec, Path(workdir))
        if not any(isinstance(row, Row) for row in rows):
            first = f"; first: {rows[0]}" if rows else ""
            raise TunebookError(f"data set {spec['name']}: no row could be read{first}; check source and format")
        write_parquet(folder / "raw.parquet", pandas.DataFrame([_line(row) for row in rows]))
        counted = {"rows": len(rows), "synthetic": spec["source"]["type"] == "generated"}
        write_json(folder / "provenance.json", provenance("dataset", spec, folder, **origin, **counted))


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


def _line(row: Row | Refusal) -> dict[str, Any]:
    if isinstance(row, Refusal):
        return {"_file": row.file, "_row": row.row, "values": None, "reason": row.reason, "found": row.found}
    values = json.dumps(row.values, ensure_ascii=False, default=str)
    return {"_file": row.file, "_row": row.row, "values": values, "reason": None, "found": None}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--study", type=Path, required=True, help="study.json")
    parser.add_argument("--dataset", required=True, help="name of the data set")
    parser.add_argument("--output", type=Path, required=True, help="folder for raw.parquet and provenance.json")


def main(args: argparse.Namespace) -> None:
    spec = read_spec(args.study, "fetch-dataset", args.dataset)
    refuse_other_sources({"fetch-dataset": {args.dataset: spec}}, args.output.parent.parent, args.study.parent.name)
    fetch_dataset(spec, args.output)
