"""Command `run`: Snakemake with this copy's workflow, from any directory. `tunebook run [STUDY] [-- SNAKEMAKE OPTIONS]`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tunebook.check import read_study
from tunebook.deployment import SNAKEFILE

MACHINE = ("--cores", "-c", "--jobs", "-j", "--executor", "-e", "--profile", "--workflow-profile")  # say where jobs run


def command_of(study: Path | None, options: list[str]) -> list[str]:
    """The Snakemake command. `options`: Snakemake's own, targets among them; one core and one GPU unless they say otherwise."""
    given = {option.split("=")[0] for option in options}
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(SNAKEFILE)]
    command += [] if "--resources" in given else ["--resources", "gpu=1"]
    command += [] if given & set(MACHINE) else ["--cores", "1"]
    command += ["--rerun-incomplete", *options]
    return [*command, "--configfile", str(study)] if study else command


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "tunebook run [STUDY] [-- SNAKEMAKE OPTIONS]"
    parser.add_argument(
        "study", type=Path, nargs="?", help="the config file; without it config/config.yaml, or the miniature study"
    )


def main(args: argparse.Namespace) -> None:
    if args.study:
        read_study(args.study)  # with a message where Snakemake has a traceback
    here = os.path.dirname(sys.executable)  # jobs start `python`: this one, whether or not its environment is activated
    os.environ["PATH"] = f"{here}{os.pathsep}{os.environ.get('PATH', '')}"
    command = command_of(args.study, args.options)
    sys.stdout.flush()
    os.execv(command[0], command)
