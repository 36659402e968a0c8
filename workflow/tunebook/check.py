"""Stage `check`: validate a config file, look at the local files that it names, and say what it would run."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import yaml

from tunebook.configuration.config import Study
from tunebook.configuration.study import fetching_specs, runs_of, trials_of
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


def refuse_wrong_files(study: Study) -> None:
    """Look at local data files. Raises TunebookError with all that is wrong; what was not looked at is printed."""
    specs = fetching_specs(study)
    if not any(spec["source"]["type"] == "path" for spec in specs["fetch-dataset"].values()):
        return
    from tunebook.data.local_files import look  # here, for it imports what reads tables

    seen = list(look(specs))
    for sentence in (sentence for sentence, wrong in seen if not wrong):
        print(f"note: {sentence}", file=sys.stderr)
    if wrong := [sentence for sentence, wrong in seen if wrong]:
        raise TunebookError(
            "; ".join(wrong) if len(wrong) == 1 else "\n  - ".join([f"{len(wrong)} data sets are wrong", *wrong])
        )


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, help="the config file")


def main(args: argparse.Namespace) -> None:
    study = read_study(args.config)
    refuse_wrong_files(study)
    print("\n".join(f"{run.spec['identity']}  {run.name}" for run in (*runs_of(study), *trials_of(study))))
