"""Reading what `prepare` and `tokenize` left. Light: an Arrow data set is read without the library that wrote it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas
import pyarrow

from tunebook.digests import check_folder, checked
from tunebook.records import read_json


def read_split(folder: Path, split: str) -> pandas.DataFrame:
    """Rows of one split of a prepared data set; absent values are None."""
    frame = pandas.read_parquet(checked(folder / f"{split}.parquet"))
    return frame.astype(object).where(frame.notna(), None)


def read_tokens(folder: Path, split: str) -> list[dict[str, Any]]:
    """The encoded rows of one split: row, input_ids, labels. Raises TunebookError if they are not as they were written."""
    digests = read_json(folder / "lengths.json")["digests"]
    check_folder(folder, {name: digest for name, digest in digests.items() if name.startswith(f"{split}/")})
    files = sorted((folder / split).glob("data-*.arrow"))
    return [line for file in files for line in pyarrow.ipc.open_stream(file).read_all().to_pylist()]
