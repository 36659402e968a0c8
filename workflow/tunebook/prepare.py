"""Stage `prepare`: raw rows -> cleaned, deduplicated, split and leak-checked train, validation and test rows."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy
import pandas

from tunebook.data import similarity
from tunebook.data.rendering import Example, Renderer
from tunebook.data.splitting import LEFT_OUT, SPLITS, split_rows
from tunebook.data.tabular import Refusal, Row
from tunebook.digests import checked
from tunebook.errors import TunebookError
from tunebook.records import read_spec, write_csv, write_json, write_parquet

SHOWN_REFUSALS = 5


def prepare(
    spec: dict[str, Any], raw: pandas.DataFrame
) -> tuple[dict[str, pandas.DataFrame], list[Refusal], dict[str, Any]]:
    """Prepare a data set.

    `spec`: study.json's specs for `prepare`; `raw`: raw.parquet. Returns the rows of each split, the refused rows and
    the profile. Raises TunebookError where more rows are refused than the data set tolerates, or too few are left.
    """
    examples, refusals = render_rows(spec, raw)
    _check_tolerance(spec, len(raw), refusals)
    distinct, exact = _without_exact_copies(examples)
    sets = similarity.shingles([example.whole for example in distinct])
    keep = similarity.first_copies(sets, spec["near_duplicate_threshold"]) < 0
    kept = [example for example, wanted in zip(distinct, keep, strict=True) if wanted]
    assigned = split_rows([example.group for example in kept], [example.label for example in kept], spec["split"])
    frames = {
        name: pandas.DataFrame([kept[index].columns for index in numpy.flatnonzero(assigned == name)])
        for name in SPLITS
    }
    _check_labels(spec, frames["train"])
    profile = {
        "raw_rows": len(raw),
        "rows": len(kept),
        "rejected": dict(Counter(refusal.reason for refusal in refusals)),
        "exact_duplicates": exact,
        "near_duplicates": len(distinct) - len(kept),
        "near_duplicate_threshold": spec["near_duplicate_threshold"],
        "splits": {name: len(frame) for name, frame in frames.items()},
        "left_out": int((assigned == LEFT_OUT).sum()),
        "labels": {name: dict(Counter(frame["label"])) for name, frame in frames.items()} if spec["labels"] else {},
        "characters": _spread([len(example.whole) for example in kept]),
        **_leaks(sets[keep], assigned, spec["near_duplicate_threshold"]),
        "synthetic": spec["source"]["type"] == "generated",
        "examples": frames["train"].head(3).to_dict("records"),
    }
    return frames, refusals, profile


def render_rows(spec: dict[str, Any], raw: pandas.DataFrame) -> tuple[list[Example], list[Refusal]]:
    """Fill the templates with every raw row: what can be used, and what cannot with its reason."""
    records = [_row_of(line) for line in raw.to_dict("records")]
    _check_names(spec, raw)
    rows = [record for record in records if isinstance(record, Row)]
    render = Renderer(spec, columns=list(dict.fromkeys(name for row in rows for name in row.values)))
    results = [render(row) if isinstance(row, Row) else row for row in records]
    examples = [result for result in results if isinstance(result, Example)]
    return examples, [result for result in results if isinstance(result, Refusal)]


def _check_names(spec: dict[str, Any], raw: pandas.DataFrame) -> None:
    """Rows are known by file and line from here on."""
    repeated = raw.loc[raw.duplicated(["_file", "_row"]), "_file"]
    if len(repeated):
        raise TunebookError(
            f"data set {spec['name']}: two files are called {repeated.iloc[0]}; rows are known by file and line: give "
            "the files different names"
        )


def _row_of(line: dict[str, Any]) -> Row | Refusal:
    if isinstance(line["values"], str):
        return Row(line["_file"], line["_row"], json.loads(line["values"]))
    return Refusal(line["_file"], line["_row"], line["reason"], line["found"])


def _check_tolerance(spec: dict[str, Any], rows: int, refusals: list[Refusal]) -> None:
    if len(refusals) <= spec["tolerance"] * rows:
        return
    listed = "\n".join(f"  - {refusal}" for refusal in refusals[:SHOWN_REFUSALS])
    more = f"\n  ... and {len(refusals) - SHOWN_REFUSALS} more" if len(refusals) > SHOWN_REFUSALS else ""
    raise TunebookError(
        f"data set {spec['name']}: {len(refusals)} of {rows} rows are refused, tolerance {spec['tolerance']} allows "
        f"{int(spec['tolerance'] * rows)}; mend the rows, or declare a tolerance of at least "
        f"{len(refusals) / rows:.4f}\n{listed}{more}"
    )


def _check_labels(spec: dict[str, Any], train: pandas.DataFrame) -> None:
    """Every label has rows to be learnt from."""
    found = Counter(train["label"]) if spec["labels"] else {}
    if absent := [label for label in spec["labels"] if label not in found]:
        counts = ", ".join(f"{count} {label}" for label, count in found.items())
        raise TunebookError(
            f"data set {spec['name']}: no training row has the label {' or '.join(absent)} (found {counts}); add such "
            "rows, or take the label out of labels"
        )


def _without_exact_copies(examples: list[Example]) -> tuple[list[Example], int]:
    first = {}
    for example in examples:
        first.setdefault(example.whole, example)
    return list(first.values()), len(examples) - len(first)


def _leaks(sets: Any, assigned: numpy.ndarray, threshold: float) -> dict[str, Any]:
    """Copies between training and held-out rows, looked for among the rows as they were split."""
    heldout, training = sets[numpy.isin(assigned, ("validation", "test"))], sets[assigned == "train"]
    similar = similarity.nearest(heldout, training)
    spread = {"median": numpy.median(similar), "p95": numpy.quantile(similar, 0.95), "max": similar.max()}
    return {
        "crossing_copies": int((similar >= threshold).sum()),
        "heldout_nearest_similarity": {name: round(float(value), 4) for name, value in spread.items()},
    }


def _spread(values: list[int]) -> dict[str, float]:
    return {"min": min(values), "median": float(numpy.median(values)), "max": max(values)}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--study", type=Path, required=True, help="study.json")
    parser.add_argument("--dataset", required=True, help="name of the data set")
    parser.add_argument("--raw", type=Path, required=True, help="raw.parquet")
    parser.add_argument(
        "--output", type=Path, required=True, help="folder for the splits, rejected.csv and profile.json"
    )


def main(args: argparse.Namespace) -> None:
    spec = read_spec(args.study, "prepare", args.dataset)
    frames, refusals, profile = prepare(spec, pandas.read_parquet(checked(args.raw)))
    for name, frame in frames.items():
        write_parquet(args.output / f"{name}.parquet", frame)
    columns = ["file", "row", "reason", "found"]
    write_csv(args.output / "rejected.csv", pandas.DataFrame([vars(refusal) for refusal in refusals], columns=columns))
    write_json(args.output / "profile.json", profile)
    counts = ", ".join(f"{count} {name}" for name, count in profile["splits"].items())
    print(f"{args.dataset}: {profile['raw_rows']} rows -> {counts}; refused {len(refusals)}, "
          f"copies {profile['exact_duplicates']} exact, {profile['near_duplicates']} near")  # fmt: skip
