"""Stage `fetch-dataset`: rows as the source gives them -> raw.parquet and provenance.json."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from tunebook.claims import refuse_other_sources
from tunebook.data.provenance import provenance
from tunebook.data.raw import Row
from tunebook.data.source_rows import rows_of
from tunebook.data.usable_rows import raw_frame
from tunebook.errors import TunebookError
from tunebook.records import read_spec, write_json, write_parquet
from tunebook.storage import folder_in_place


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
        write_parquet(folder / "raw.parquet", raw_frame(rows))
        counted = {"rows": len(rows), "synthetic": spec["source"]["type"] == "generated"}
        write_json(folder / "provenance.json", provenance("dataset", spec, folder, **origin, **counted))


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--study", type=Path, required=True, help="study.json")
    parser.add_argument("--dataset", required=True, help="name of the data set")
    parser.add_argument("--output", type=Path, required=True, help="folder for raw.parquet and provenance.json")


def main(args: argparse.Namespace) -> None:
    spec = read_spec(args.study, "fetch-dataset", args.dataset)
    refuse_other_sources({"fetch-dataset": {args.dataset: spec}}, args.output.parent.parent, args.study.parent.name)
    fetch_dataset(spec, args.output)
