"""Stage `check`: validate a config file and say what it would run."""

from __future__ import annotations

import argparse
from pathlib import Path

import yaml

from tunebook.configuration.config import Study
from tunebook.configuration.study import runs_of
from tunebook.configuration.validation import validate
from tunebook.errors import TunebookError


def read_study(file: Path) -> Study:
    """Read and validate one config file. Raises ConfigError with all its problems."""
    try:
        raw = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TunebookError(f"{file}: no such file; give a config such as config/config.yaml") from None
    except OSError as error:
        raise TunebookError(
            f"{file}: not readable ({error.strerror}); give a config such as config/config.yaml"
        ) from None
    except Exception as error:  # PyYAML lets through whatever Python raises at a value such as 2023-13-45
        raise TunebookError(f"{file}: not readable as YAML: {' '.join(str(error).split())}") from None
    return validate(raw, files=[file])


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, help="the config file")


def main(args: argparse.Namespace) -> None:
    study = read_study(args.config)
    print("\n".join(f"{run.spec['identity']}  {run.name}" for run in runs_of(study)))
