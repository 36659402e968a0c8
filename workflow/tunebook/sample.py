"""Stage `sample`: what one run answers to the experiment's prompts and to held-out rows -> samples.json."""

from __future__ import annotations

import argparse

from tunebook.data.splits import read_split
from tunebook.finetuning import finished
from tunebook.finetuning.sampling import sample
from tunebook.records import write_json

arguments = finished.arguments


def main(args: argparse.Namespace) -> None:
    run, *loaded = finished.load(args)
    answers = run["task"] != "sequence-classification"
    samples = sample(run, *loaded, read_split(args.dataset, "train")) if answers else []
    write_json(args.output / "samples.json", samples)
    print(f"sample {run['run']}: {len(samples)} answers", flush=True)
