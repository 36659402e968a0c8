"""Stage `prepare`: raw rows -> cleaned, deduplicated, split and leak-checked train, validation and test rows."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

import numpy
import pandas

from tunebook.data.copies import Rows
from tunebook.data.dropped import Dropped, check_refusals
from tunebook.data.raw import Refusal
from tunebook.data.splitting import LEFT_OUT, SPLITS, drawn_splits, split_rows
from tunebook.data.usable_rows import render_rows
from tunebook.digests import checked
from tunebook.errors import TunebookError
from tunebook.records import read_spec, write_csv, write_json, write_parquet


def prepare(
    spec: dict[str, Any], raw: pandas.DataFrame
) -> tuple[dict[str, pandas.DataFrame], list[Refusal], dict[str, Any]]:
    """Prepare a data set.

    `spec`: study.json's specs for `prepare`; `raw`: raw.parquet. Returns the rows of each split, the refused rows and
    the profile. Raises TunebookError where more rows are refused or dropped than the data set allows, or too few are left.
    """
    examples, refusals, given = render_rows(spec, raw)
    check_refusals(spec["name"], len(raw), refusals, spec["tolerance"])
    rows, threshold = Rows.of(examples), spec["near_duplicate_threshold"]
    distinct = rows.distinct(threshold, *_compared(given, spec["split"]["drop_copies"]))
    dropped = Dropped(spec["name"], len(raw), refusals, distinct.exact, distinct.near)
    dropped.check(spec["max_dropped"])
    rows = rows.only(distinct.kept)
    kept, given = rows.examples, [name for name, stays in zip(given, distinct.kept, strict=True) if stays]
    assigned = split_rows([row.group for row in kept], [row.label for row in kept], spec["split"], given)
    frames = {
        name: pandas.DataFrame([kept[index].columns for index in numpy.flatnonzero(assigned == name)])
        for name in SPLITS
    }
    _check_labels(spec, frames["train"])
    leaks = rows.leaks(assigned, threshold)
    profile = {
        "raw_rows": len(raw),
        "rows": len(kept),
        "rejected": dict(Counter(refusal.reason for refusal in refusals)),
        "exact_duplicates": len(distinct.exact),
        "near_duplicates": len(distinct.near),
        "near_duplicate_threshold": threshold,
        "copies": [pair.record() for pair in dropped.pairs()],
        "warnings": [*dropped.warnings(), *_crossing_warnings(given, leaks["crossing_copies"])],
        "splits": {name: len(frame) for name, frame in frames.items()},
        "left_out": int((assigned == LEFT_OUT).sum()),
        "dropped_turns": sum(example.dropped_turns for example in kept),
        "labels": {name: dict(Counter(frame["label"])) for name, frame in frames.items()} if spec["labels"] else {},
        "characters": _spread([len(example.whole) for example in kept]),
        **leaks,
        "synthetic": spec["source"]["type"] == "generated",
        "examples": frames["train"].head(3).to_dict("records"),
    }
    return frames, refusals, profile


def _compared(given: list[str | None], drop_copies: bool) -> tuple[list[int], list[int]]:
    """Rows that stay and are compared with, and rows that may be dropped as copies of these or of each other.

    Given splits are kept as they are, unless `drop_copies` says otherwise. What a held-out split is drawn from has its own
    copies dropped: else they would come to stand on both sides.
    """
    training = [index for index, name in enumerate(given) if name in (None, "train")]
    if drop_copies:
        return [index for index, name in enumerate(given) if name not in (None, "train")], training
    return [], training if drawn_splits(given) else []


def _crossing_warnings(given: list[str | None], crossing: int) -> list[str]:
    if not crossing or not any(given):
        return []
    return [
        f"{crossing} rows of the given validation and test splits have a copy in train (profile.json shows some); "
        "split.drop_copies takes such rows out of train"
    ]


def _check_labels(spec: dict[str, Any], train: pandas.DataFrame) -> None:
    """Every label has rows to be learnt from."""
    found = Counter(train["label"]) if spec["labels"] else {}
    if absent := [label for label in spec["labels"] if label not in found]:
        counts = ", ".join(f"{count} {label}" for label, count in found.items())
        raise TunebookError(
            f"data set {spec['name']}: no training row has the label {' or '.join(absent)} (found {counts}); add such "
            "rows, or take the label out of labels"
        )


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
    for warning in profile["warnings"]:
        print(f"warning: data set {args.dataset}: {warning}")
    if profile["dropped_turns"]:
        print(
            f"{args.dataset}: {profile['dropped_turns']} turns dropped: they stand after the last answer of a conversation"
        )
