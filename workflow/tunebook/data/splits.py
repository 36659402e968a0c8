"""Reading what `prepare` and `tokenize` left. Light: an Arrow data set is read without the library that wrote it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas
import pyarrow


def read_split(folder: Path, split: str) -> pandas.DataFrame:
    """Rows of one split of a prepared data set; absent values are None."""
    frame = pandas.read_parquet(folder / f"{split}.parquet")
    return frame.astype(object).where(frame.notna(), None)


def in_blocks(rows: pandas.DataFrame, tokens: list[dict[str, Any]]) -> pandas.DataFrame:
    """The rows of a split as they were encoded: a long text that was cut into blocks is a row for each of them."""
    if not tokens or tokens[0].get("document") is None:
        return rows
    known = rows.set_index("row")
    blocks = [line for line in tokens if line["document"] in known.index]
    told = [{"row": line["row"], **known.loc[line["document"]], "text": line["text"]} for line in blocks]
    return pandas.DataFrame(told)


def read_tokens(folder: Path, split: str) -> list[dict[str, Any]]:
    """The encoded rows of one split: row, input_ids, labels; of blocks of long texts also document (its row) and text."""
    files = sorted((folder / split).glob("data-*.arrow"))
    return [line for file in files for line in pyarrow.ipc.open_stream(file).read_all().to_pylist()]
