"""A resolved study as estimate and rehearse see it: its trained runs, their architectures, what is downloaded."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

from tunebook.configuration.search import Search, rungs
from tunebook.cost.architectures import Architecture, read_architecture
from tunebook.errors import TunebookError
from tunebook.records import read_json

MEND = (
    "name one under models.{name}.architecture (a shipped one, or the path of the model's config.json), or fetch the model "
    "first"
)


def trained_runs(study: Path) -> list[dict[str, Any]]:
    """run.json of each run that trains, and of each trial of a searched method in place of its run; of the first seed only,
    for seeds cost the same. `study`: study.json."""
    record = read_json(study)
    found = []
    for line in record["runs"]:
        if line["method"] != "base" and line["seed"] == record["experiments"][line["experiment"]]["seeds"][0]:
            same = (_method_of(line), line["seed"])
            trials = [one for one in record["trials"] if (_method_of(one), one["seed"]) == same and one["share"] == 1]
            found += trials or [line]
    return [read_json(study.parent / "runs" / line["run"] / "run.json") for line in found]


def trainings_of(study: Path) -> dict[tuple[str, str], int]:
    """(experiment, method) -> how often it is trained: with each seed; a search trains each trial, and the chosen one again with
    the other seeds. Shorter trials count by their share of the steps."""
    record = read_json(study)
    counts = Counter(map(_method_of, record["runs"]))
    draws: dict[tuple[str, str], set[int]] = {}
    for line in record["trials"]:
        draws.setdefault(_method_of(line), set()).add(line["draw"])
    for method, drawn in draws.items():
        search = Search.model_validate(record["experiments"][method[0]]["search"])
        counts[method] += math.ceil(sum(rung.trials * rung.share for rung in rungs(search, len(drawn)))) - 1
    return counts


def _method_of(line: dict[str, Any]) -> tuple[str, str]:
    return line["experiment"], line["method"]


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
