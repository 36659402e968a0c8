"""Stage `resolve`: a study's config with every default filled in -> study.json and each run's run.json."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tunebook.check import read_study
from tunebook.configuration.config import Study
from tunebook.configuration.study import resolved, runs_of, trials_of
from tunebook.digests import is_intact
from tunebook.records import canonical_json, read_json, write_json


def resolve(study: Study, output: Path) -> None:
    """Write study.json and runs/*/run.json below the study's folder `output`, those that differ from what is there."""
    for run in (*runs_of(study), *trials_of(study)):
        _write_if_changed(output / "runs" / run.name / "run.json", run.spec)
    _write_if_changed(output / "study.json", resolved(study))


def _write_if_changed(file: Path, value: Any) -> None:
    """Leave alone what is as it should be: its time of change would make stages run again."""
    if not file.exists() or not is_intact(file) or canonical_json(read_json(file)) != canonical_json(value):
        write_json(file, value)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, help="the config file")
    parser.add_argument("--output", type=Path, required=True, help="the study's folder")


def main(args: argparse.Namespace) -> None:
    resolve(read_study(args.config), args.output)
