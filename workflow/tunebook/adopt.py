"""Stage `adopt`: the chosen trial of a search -> the method's run of that seed. Nothing is trained again."""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path

from tunebook.digests import check_folder
from tunebook.records import read_json, write_json, write_with
from tunebook.runs import values_of
from tunebook.storage import folder_in_place

FILES = ("history.csv", "validation.parquet")


def adopt(run_file: Path, trial: Path, output: Path) -> None:
    """Publish what the trial published; training.json, last, names the run, the trial and its values.

    `run_file`: run.json of the run; `trial`, `output`: folders of the trial and of the run.
    """
    run, record = read_json(run_file), read_json(trial / "training.json")
    check_folder(trial, record["digests"])
    with folder_in_place(output / "adapter") as folder:
        for name in record["digests"]:
            if name.startswith("adapter/"):
                link_or_copy(trial / name, folder / name.removeprefix("adapter/"))
    for name in FILES:
        write_with(output / name, lambda partial, name=name: shutil.copyfile(trial / name, partial))
    values = values_of(read_json(trial / "run.json"), run["searched"])
    named = {"run": run["run"], "identity": run["identity"], "trial": record["run"], "searched": values}
    write_json(output / "training.json", {**record, **named})


def link_or_copy(file: Path, other: Path) -> None:
    """A second name for a file, which takes no space; a copy where the file system has no links."""
    try:
        os.link(file, other)
    except OSError:
        shutil.copyfile(file, other)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", type=Path, required=True, help="run.json")
    parser.add_argument("--trial", type=Path, required=True, help="folder of the chosen trial")
    parser.add_argument("--output", type=Path, required=True, help="folder of the run")


def main(args: argparse.Namespace) -> None:
    adopt(args.run, args.trial, args.output)
