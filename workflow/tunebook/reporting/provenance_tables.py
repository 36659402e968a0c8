"""The report's tables of where things are from and what determined them: sources, runs, arguments."""

from __future__ import annotations

import json
import math
from typing import Any

from tunebook.reporting.report_tables import Cell, Column, Table, cell, figures, words
from tunebook.reporting.study_folder import Experiment, Study
from tunebook.reporting.typeset import ABSENT, count, integer, json_text


def sources_table(study: Study, kind: str) -> Table:
    """Provenance of models or data sets. Args: kind: "models" or "datasets"."""
    rows = []
    for name in dict.fromkeys(_used(study, kind)):
        record = study.provenance(kind, name)
        amount = record["rows"] if "rows" in record else record.get("parameters")
        rows.append(
            (
                Cell(name, note="synthetic" if kind == "datasets" and record["synthetic"] else ""),
                Cell(_source_words(record["source"]), kind="long"),
                Cell(str(record["revision"] or ABSENT), kind="long"),
                Cell(record["sha256"] or ABSENT, kind="hash"),
                Cell(study.record[kind][name]["licence"]),
                cell(amount, integer(amount) if kind == "datasets" else count(amount)),
                Cell(record["retrieved"]),
            )
        )
    columns = (
        *words("Name", "Source", "Revision", "SHA-256", "Licence"),
        Column("Rows" if kind == "datasets" else "Parameters"),
    )
    return Table((*columns, *words("Retrieved (UTC)")), tuple(rows))


def _used(study: Study, kind: str) -> list[str]:
    return [experiment.spec[kind.removesuffix("s")] for experiment in study.experiments]


def _source_words(source: Any) -> str:
    """A source's type, then what names it."""
    if not isinstance(source, dict):
        return str(source)
    named = [
        f"{key} {value}" for key, value in source.items() if key not in ("type", "sha256") and value not in (None, [])
    ]
    return f"{source['type']}: {', '.join(named)}" if named else source["type"]


def identities_table(study: Study) -> Table:
    """Every run with its identity, device and counts."""
    rows = []
    for experiment in study.experiments:
        for run in (experiment.base, *experiment.runs):
            record = run.training or {}
            rows.append(
                (
                    Cell(run.name),
                    Cell(run.spec["identity"], kind="hash"),
                    Cell(record.get("device", ABSENT), note=_several_kinds(record)),
                    cell(record.get("steps"), integer(record.get("steps", math.nan))),
                    cell(record.get("tokens"), integer(record.get("tokens", math.nan))),
                    cell(record.get("quantized_layers"), integer(record.get("quantized_layers", math.nan))),
                )
            )
    columns = (*words("Run", "Identity", "Device"), *figures("Steps", "Tokens seen", "Quantized layers"))
    return Table(columns, tuple(rows))


def _several_kinds(record: dict[str, Any]) -> str:
    """Weights depend on the instructions of the CPU: a run that went on with others is not what either alone would give."""
    kinds = record.get("cpu_capabilities", [])
    return f"resumed on another kind of CPU: {', then '.join(kinds)}" if len(kinds) > 1 else ""


def arguments_table(experiment: Experiment) -> Table:
    """Training and adapter arguments; a column a method where methods differ, else one."""
    specs = {method: _flat(runs[0].spec) for method, runs in experiment.methods.items()}
    alike = len({json.dumps(spec, sort_keys=True) for spec in specs.values()}) == 1
    columns = {"Value": next(iter(specs.values()))} if alike else specs
    names = dict.fromkeys(name for spec in specs.values() for name in spec)
    rows = [
        (Cell(name, kind="code"), *(Cell(spec.get(name, ABSENT), kind="long") for spec in columns.values()))
        for name in names
    ]
    return Table(words("Argument", *columns), tuple(rows))


def _flat(spec: dict[str, Any]) -> dict[str, str]:
    """All arguments of a run as text, adapter and generation arguments behind those of training."""
    sections = ("training", "adapter", "generation")
    flat = {key: value for section in sections for key, value in (spec[section] or {}).items()}
    flat["quantization"] = spec["quantization"]
    return {key: value if isinstance(value, str) else json_text(value, indent=None) for key, value in flat.items()}
