"""A resolved study as estimate and rehearse see it: its trained runs, their architectures, what is downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tunebook.cost.architectures import Architecture, read_architecture
from tunebook.errors import TunebookError
from tunebook.records import read_json

MEND = (
    "name one under models.{name}.architecture (a shipped one, or the path of the model's config.json), or fetch the model "
    "first"
)


def trained_runs(study: Path) -> list[dict[str, Any]]:
    """run.json of each run that trains, the first seed of each only: seeds cost the same. `study`: study.json."""
    listed = read_json(study)["runs"]
    runs = [read_json(study.parent / "runs" / line["run"] / "run.json") for line in listed if line["method"] != "base"]
    firsts = {(run["experiment"], run["method"]): run for run in reversed(runs)}
    return [run for run in runs if firsts[run["experiment"], run["method"]] is run]


def seeds_of(study: Path, run: dict[str, Any]) -> int:
    """How many runs of the study differ from this one in the seed only, itself counted."""
    listed = read_json(study)["runs"]
    return sum((line["experiment"], line["method"]) == (run["experiment"], run["method"]) for line in listed)


def named_architecture(model: dict[str, Any]) -> str | None:
    """The architecture that a model's entry names, or that its random source is made of."""
    return model["architecture"] or (model["source"]["architecture"] if model["source"]["type"] == "random" else None)


def architecture_of(model: dict[str, Any], models: Path) -> Architecture:
    """A model's architecture: what the config names, else the config.json of the fetched model below `models`.

    Raises TunebookError where neither is there.
    """
    named = named_architecture(model)
    fetched = models / model["name"] / "config.json"
    if named is None and not fetched.exists():
        raise TunebookError(f"model {model['name']}: its architecture is not known; {MEND.format(name=model['name'])}")
    return read_architecture(named or str(fetched), models.parent / "traces")


def download_bytes(model: dict[str, Any], stored_bytes: int | None) -> int | None:
    """Bytes to fetch a model: what the config says, else, of the hub, its stored weights; None where neither is known."""
    if model["source"]["type"] in ("random", "path"):
        return 0
    if model["download_bytes"] is not None:
        return model["download_bytes"]
    return stored_bytes if model["source"]["type"] == "hub" else None
