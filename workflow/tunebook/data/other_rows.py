"""Rows of a file that a data set does not name, read and cleaned as the data set's own are."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import pandas

from tunebook.configuration.datasets import Format
from tunebook.configuration.study import dump
from tunebook.data.copies import Rows
from tunebook.data.dropped import Pair, check_refusals
from tunebook.data.file_names import kind_of
from tunebook.data.raw import Refusal
from tunebook.data.rendering import Example
from tunebook.data.source_rows import rows_of
from tunebook.data.usable_rows import raw_frame, render_rows
from tunebook.errors import TunebookError


@dataclass(frozen=True)
class OtherRows:
    """`rows`: as a split file holds them; `read`: rows of the file; `copies`: those left out, of each other or of `known` rows."""

    rows: pandas.DataFrame
    read: int
    refused: list[Refusal]
    copies: list[Pair]


def other_rows(file: Path, told: dict[str, dict[str, Any]], raw: pandas.DataFrame, known: set[str]) -> OtherRows:
    """Read a file for a data set.

    Args: told: the data set's entries in study.json's specs, by stage; raw: its raw.parquet; known: ids of the rows that
    training or its choices have seen. A row that copies one of these, or an earlier one of the file, is left out.
    Raises TunebookError where the file cannot be read, more rows are refused than the data set tolerates, or none is left.
    """
    spec = told["prepare"]
    with tempfile.TemporaryDirectory() as workdir:
        source = {"type": "path", "path": str(file), "sha256": None}
        read, _ = rows_of(
            {"name": spec["name"], "source": source, "format": _format(file, told["fetch-dataset"])}, Path(workdir)
        )
    # what splits the data set's own rows is no matter here, and its column may be missing
    spec = spec | {"split": spec["split"] | {"column": None, "train": None, "validation": 0.0, "test": 0.0}}
    examples, refused, _ = render_rows(spec, raw_frame(read))
    check_refusals(f"{spec['name']} ({file})", len(read), refused, spec["tolerance"])
    seen = [example for example in render_rows(told["prepare"], raw)[0] if example.columns["row"] in known]
    kept, copies = _distinct(seen, examples, spec["near_duplicate_threshold"])
    if not kept:
        raise TunebookError(
            f"{file}: found no row that is no copy of one which training saw ({len(read)} read, {len(copies)} copies); take rows "
            "that the runs have not seen"
        )
    return OtherRows(pandas.DataFrame([example.columns for example in kept]), len(read), refused, copies)


def _distinct(seen: list[Example], examples: list[Example], threshold: float) -> tuple[list[Example], list[Pair]]:
    staying, droppable = list(range(len(seen))), list(range(len(seen), len(seen) + len(examples)))
    distinct = Rows.of([*seen, *examples]).distinct(threshold, staying, droppable)
    kept = numpy.flatnonzero(distinct.kept[len(seen) :])
    return [examples[index] for index in kept], [*distinct.exact, *distinct.near]


def _format(file: Path, fetched: dict[str, Any]) -> dict[str, Any]:
    """How a file is read: as the data set's own files are, where the suffix is of that kind, else by its suffix alone."""
    kind = kind_of(file)
    own = fetched["format"]
    return own if own and own["type"] == kind else dump(Format(type=kind))
