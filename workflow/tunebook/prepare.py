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
from tunebook.data.dropped import Dropped, Pair, check_refusals
from tunebook.data.raw import Refusal, Row
from tunebook.data.rendering import Example, Renderer
from tunebook.data.splitting import LEFT_OUT, SPLITS, split_rows
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
    examples, refusals = render_rows(spec, raw)
    check_refusals(spec["name"], len(raw), refusals, spec["tolerance"])
    distinct, exact = _without_exact_copies(examples)
    sets = similarity.shingles(similarity.without_common_lines([example.own for example in distinct]))
    copies = similarity.first_copies(sets, spec["near_duplicate_threshold"])
    near = [
        _pair(distinct[index], distinct[copies.copy_of[index]], copies.similarity[index])
        for index in numpy.flatnonzero(copies.copy_of >= 0)
    ]
    dropped = Dropped(spec["name"], len(raw), refusals, exact, near)
    dropped.check(spec["max_dropped"])
    keep = copies.copy_of < 0
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
        "exact_duplicates": len(exact),
        "near_duplicates": len(near),
        "near_duplicate_threshold": spec["near_duplicate_threshold"],
        "copies": [
            {"row": pair.row, "copy_of": pair.copy_of, "similarity": round(pair.similarity, 4)}
            for pair in dropped.pairs()
        ],
        "warnings": dropped.warnings(),
        "splits": {name: len(frame) for name, frame in frames.items()},
        "left_out": int((assigned == LEFT_OUT).sum()),
        "dropped_turns": sum(example.dropped_turns for example in kept),
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


def _check_labels(spec: dict[str, Any], train: pandas.DataFrame) -> None:
    """Every label has rows to be learnt from."""
    found = Counter(train["label"]) if spec["labels"] else {}
    if absent := [label for label in spec["labels"] if label not in found]:
        counts = ", ".join(f"{count} {label}" for label, count in found.items())
        raise TunebookError(
            f"data set {spec['name']}: no training row has the label {' or '.join(absent)} (found {counts}); add such "
            "rows, or take the label out of labels"
        )


def _without_exact_copies(examples: list[Example]) -> tuple[list[Example], list[Pair]]:
    first: dict[str, Example] = {}
    pairs = []
    for example in examples:
        kept = first.setdefault(example.whole, example)
        if kept is not example:
            pairs.append(_pair(example, kept, 1.0))
    return list(first.values()), pairs


def _pair(example: Example, kept: Example, alike: float) -> Pair:
    return Pair(example.columns["row"], kept.columns["row"], float(alike), (example.whole, kept.whole))


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
    for warning in profile["warnings"]:
        print(f"warning: data set {args.dataset}: {warning}")
    if profile["dropped_turns"]:
        print(
            f"{args.dataset}: {profile['dropped_turns']} turns dropped: they stand after the last answer of a conversation"
        )
