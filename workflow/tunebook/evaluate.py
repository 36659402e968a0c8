"""Stage `evaluate`: one run, the untouched model among them, on the held-out test rows -> evaluation.json, predictions.parquet."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tunebook.data.splits import in_blocks, read_split, read_tokens
from tunebook.finetuning import finished
from tunebook.finetuning.batching import rows_seen
from tunebook.finetuning.evaluation import besides, evaluate, prompted
from tunebook.finetuning.generation import decoding_of
from tunebook.finetuning.heads import find_head
from tunebook.finetuning.matrices import shares
from tunebook.finetuning.schedule import rows_of_a_step
from tunebook.records import read_json, write_json, write_parquet

arguments = finished.arguments


def _rows_seen(run: dict[str, Any], tokens: Path, adapter: Path | None) -> list[dict[str, Any]]:
    """The encoded training rows that a run's weights have seen; of the untouched model, all."""
    lines = read_tokens(tokens, "train")
    if adapter is None:
        return lines
    steps = read_json(adapter.parent / "training.json")["best_step"]  # those weights are kept
    seen = rows_seen([len(line["input_ids"]) for line in lines], rows_of_a_step(run), run["seed"], steps)
    return [line for index, line in enumerate(lines) if index in seen]


def main(args: argparse.Namespace) -> None:
    run, *loaded = finished.load(args)
    record, predictions = evaluate(run, *loaded)
    record["split"] = finished.SPLIT
    record |= shares(loaded[0], trained_whole=args.adapter is not None and run["trains"] == "all")
    if head := find_head(run, args.model):
        record["head"] = asdict(head)
    if run["task"] != "sequence-classification":
        record["decoding"] = asdict(decoding_of(*loaded[:2], run["generation"]["max_new_tokens"]))
    besides(run, *loaded[:3], _rows_seen(run, args.tokens, args.adapter), record)
    if run["few_shot"]:
        training = in_blocks(read_split(args.dataset, "train"), read_tokens(args.tokens, "train"))
        record["few_shot"], columns = prompted(run, *loaded, training)
        predictions = predictions.assign(**columns)
    write_parquet(args.output / "predictions.parquet", predictions)
    write_json(args.output / "evaluation.json", record)
    shown = "".join(f", {name} {value:.3f}" for name, value in record["metrics"].items())
    print(
        f"evaluate {run['run']}: loss of the text {record['text_loss']:.4f}, with end tokens {record['loss']:.4f}, over "
        f"{record['rows']} rows{shown}",
        flush=True,
    )
