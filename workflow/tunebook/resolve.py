"""Stage `resolve`: a study's config with every default filled in -> study.json and each run's run.json."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tunebook.configuration.study import resolved, runs_of
from tunebook.configuration.validation import validate
from tunebook.records import write_json


def resolve(raw: dict, output: Path) -> None:
    """Write study.json and runs/*/run.json below the study's folder `output`."""
    study = validate(raw)
    for run in runs_of(study):
        write_json(output / "runs" / run.name / "run.json", run.spec)
    write_json(output / "study.json", resolved(study))


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", required=True, help="the config as JSON text")
    parser.add_argument("--output", type=Path, required=True, help="the study's folder")


def main(args: argparse.Namespace) -> None:
    resolve(json.loads(args.config), args.output)
