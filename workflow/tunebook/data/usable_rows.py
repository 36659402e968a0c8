"""raw.parquet, and its rows with the templates filled."""

from __future__ import annotations

import json
from typing import Any

import pandas

from tunebook.data.given_splits import given_splits
from tunebook.data.raw import Refusal, Row
from tunebook.data.rendering import Example, Renderer


def raw_frame(rows: list[Row | Refusal]) -> pandas.DataFrame:
    """What raw.parquet holds of rows."""
    return pandas.DataFrame([_line(row) for row in rows])


def _line(row: Row | Refusal) -> dict[str, Any]:
    if isinstance(row, Refusal):
        return {"_file": row.file, "_row": row.row, "values": None, "reason": row.reason, "found": row.found}
    values = json.dumps(row.values, ensure_ascii=False, default=str)
    return {"_file": row.file, "_row": row.row, "values": values, "reason": None, "found": None}


def render_rows(spec: dict[str, Any], raw: pandas.DataFrame) -> tuple[list[Example], list[Refusal], list[str | None]]:
    """Fill the templates with every raw row: what can be used, what cannot with its reason, and the former's given splits."""
    records = [_row_of(line) for line in raw.to_dict("records")]
    rows = [record for record in records if isinstance(record, Row)]
    render = Renderer(spec, columns=list(dict.fromkeys(name for row in rows for name in row.values)))
    results = [render(record) if isinstance(record, Row) else record for record in records]
    examples = [result for result in results if isinstance(result, Example)]
    splits = given_splits(spec["name"], spec["split"], rows)
    given = [splits[example.columns["row"]] for example in examples]
    return examples, [result for result in results if isinstance(result, Refusal)], given


def _row_of(line: dict[str, Any]) -> Row | Refusal:
    if isinstance(line["values"], str):
        return Row(line["_file"], line["_row"], json.loads(line["values"]))
    return Refusal(line["_file"], line["_row"], line["reason"], line["found"])
