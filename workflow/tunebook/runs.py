"""run.json as stages read it: of a searched method, with the values that the search chose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tunebook.records import read_json


def read_run(file: Path) -> dict[str, Any]:
    """Read run.json. Values that a search left open are null in it; they are filled in from the training.json beside it."""
    run = read_json(file)
    if run["searched"]:
        set_values(run, read_json(file.parent / "training.json")["searched"])
    return run


def values_of(run: dict[str, Any], searched: list[str]) -> dict[str, Any]:
    """The values of a run's searched arguments, by their paths (`training.learning_rate`)."""
    return {path: run[section][name] for path, (section, name) in _parts(searched)}


def set_values(run: dict[str, Any], values: dict[str, Any]) -> None:
    """Put values into a run's spec, by their paths."""
    for path, (section, name) in _parts(values):
        run[section][name] = values[path]


def _parts(paths: Any) -> list[tuple[str, list[str]]]:
    return [(path, path.split(".", 1)) for path in paths]
