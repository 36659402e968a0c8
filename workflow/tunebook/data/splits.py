"""Reading and writing of split files and tokens. Light: Arrow files need no `datasets`, whose import takes a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas
import pyarrow
import pyarrow.ipc

from tunebook.digests import check_folder, checked
from tunebook.records import read_json

TOKENS = "data-00000-of-00001.arrow"  # the name that `datasets` gives the only part of a data set


def read_split(folder: Path, split: str) -> pandas.DataFrame:
    """Rows of one split of a prepared data set; absent values are None."""
    frame = pandas.read_parquet(checked(folder / f"{split}.parquet"))
    return frame.astype(object).where(frame.notna(), None)


def in_blocks(rows: pandas.DataFrame, tokens: list[dict[str, Any]]) -> pandas.DataFrame:
    """The rows of a split as they were encoded: a long text that was cut into blocks is a row for each of them."""
    if not tokens or tokens[0].get("document") is None:
        return rows
    known = rows.set_index("row")
    blocks = [line for line in tokens if line["document"] in known.index]
    told = [{"row": line["row"], **known.loc[line["document"]], "text": line["text"]} for line in blocks]
    return pandas.DataFrame(told)


def write_tokens(folder: Path, lines: list[dict[str, Any]]) -> None:
    """Write the encoded rows of one split, as an Arrow stream that `datasets.Dataset.from_file` reads, too."""
    folder.mkdir(parents=True, exist_ok=True)
    table = pyarrow.Table.from_pylist(lines)
    with pyarrow.OSFile(str(folder / TOKENS), "wb") as sink, pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


def read_tokens(folder: Path, split: str) -> list[dict[str, Any]]:
    """The encoded rows of one split: row, input_ids, labels; of blocks of long texts also document (its row) and text. Raises
    TunebookError if they are not as they were written."""
    digests = read_json(folder / "lengths.json")["digests"]
    check_folder(folder, {name: digest for name, digest in digests.items() if name.startswith(f"{split}/")})
    files = sorted((folder / split).glob("data-*.arrow"))
    return [line for file in files for line in pyarrow.ipc.open_stream(file).read_all().to_pylist()]
