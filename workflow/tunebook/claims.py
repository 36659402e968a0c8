"""Who uses a fetched model or data set. Studies share results/models and results/datasets by name; a name means one source.

Light: the Snakefile imports it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tunebook.errors import TunebookError
from tunebook.records import canonical_json, read_json

KINDS = {"fetch-model": ("model", "models"), "fetch-dataset": ("data set", "datasets")}
DESCRIPTIVE = ("licence",)


def computed(spec: dict[str, Any]) -> dict[str, Any]:
    """What a stage is told, without words that change nothing of what it makes."""
    return {key: value for key, value in spec.items() if key not in DESCRIPTIVE}


def refuse_other_sources(specs: dict[str, dict[str, dict[str, Any]]], results: Path, study: str) -> None:
    """Refuse a study that gives a name to another source than another study does: each would fetch over the other.

    `specs`: stage -> name -> what fetching is told (`fetching_specs`); `results`: the folder of all studies' results;
    `study`: the study's own name, whose earlier configs may be changed. Raises TunebookError with all such names.
    """
    problems = []
    for file in sorted(results.glob("*/study.json")):
        if file.parent.name != study:
            theirs = read_json(file).get("specs", {})
            for stage in KINDS:
                problems += _problems(stage, specs.get(stage, {}), theirs.get(stage, {}), file.parent)
    if problems:
        raise TunebookError("\n".join(problems))


def _problems(stage: str, ours: dict[str, dict], theirs: dict[str, dict], folder: Path) -> list[str]:
    kind, section = KINDS[stage]
    found = []
    for name in sorted(ours.keys() & theirs.keys()):
        one, other = computed(ours[name]), computed(theirs[name])
        keys = [key for key in sorted(one.keys() | other.keys()) if one.get(key) != other.get(key)]
        if keys:
            told = [canonical_json({key: spec.get(key) for key in keys}) for spec in (one, other)]
            found.append(
                f"{section}.{name}: found {told[0]}, but study {folder.name} ({folder / 'study.json'}) has {told[1]} under the same "
                f"name, and results/{section}/{name} is shared: give this {kind} another name, or delete {folder} if that study "
                "is not needed any more; nothing was run"
            )
    return found
