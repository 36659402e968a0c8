"""What a study leaves behind, in a form that two studies can be compared by: all but times, memory and places."""

from __future__ import annotations

import hashlib
import html
import itertools
import json
import re
from pathlib import Path

import pandas

TIMES = ["wall_s"]
RECORD = ("run", "identity", "weights_key", "steps", "epochs", "tokens", "best_step", "best_validation_loss")

TRIED = ("trial", "values", "best_validation_loss", "best_step", "steps", "tokens", "diverged")


def artefacts(results: Path) -> dict[str, object]:
    """Name -> content of every artefact of a finished study: weights by their bytes, histories without `wall_s`."""
    found: dict[str, object] = {}
    for folder in sorted(results.glob("runs/*/*/seed-*")):
        name = str(folder.relative_to(results))
        for file in sorted(folder.glob("adapter/*")):
            if file.suffix == ".safetensors":
                found[f"{name}/{file.name}"] = hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.glob("history.csv"):
            found[f"{name}/history.csv"] = pandas.read_csv(file).drop(columns=TIMES).to_csv(index=False)
        for file in folder.glob("training.json"):
            record = json.loads(file.read_text(encoding="utf-8"))
            found[f"{name}/training.json"] = {key: record[key] for key in RECORD}
        for record in ("evaluation.json", "samples.json"):
            found[f"{name}/{record}"] = json.loads((folder / record).read_text(encoding="utf-8"))
        found[f"{name}/predictions.parquet"] = pandas.read_parquet(folder / "predictions.parquet").to_json()
    for folder in sorted(results.glob("runs/*/*/trial-*/seed-*")):
        for file in folder.glob("training.json"):
            record = json.loads(file.read_text(encoding="utf-8"))
            found[str(file.relative_to(results))] = {key: record[key] for key in RECORD}
    for file in sorted(results.glob("runs/*/*/search.json")):
        record = json.loads(file.read_text(encoding="utf-8"))
        tried = [{key: trial[key] for key in TRIED} for trial in record["trials"]]
        found[str(file.relative_to(results))] = {**record, "trials": tried}
    for table in ("losses", "metrics"):
        found[f"tables/{table}.csv"] = (results / "tables" / f"{table}.csv").read_text(encoding="utf-8")
    found["report.html"] = words_of((results / "report.html").read_text(encoding="utf-8"))
    found["half-written files"] = sorted(str(file) for file in results.rglob("*.part"))
    return found


def words_of(report: str) -> list[str]:
    """What a report says, line by line: without figures, which are drawn of the tables, and without what was measured by the
    clock or of the machine - times, sizes, and numbers that stand alone, as tokens a second do."""
    text = html.unescape(re.sub(r"<[^>]+>", "\n", re.sub(r"<(svg|style|script).*?</\1>", "", report, flags=re.DOTALL)))
    number = r"\d[\d.,\u2009\u202f ]*"
    measured = re.compile(rf"(?:{number}(?:s|ms|min|h|kB|MB|GB)\b ?)+|^{number}$")
    lines = (" ".join(line.split()) for line in text.splitlines())
    return [measured.sub("(measured) ", line).rstrip() for line in lines if line]


def differences(ours: dict[str, object], theirs: dict[str, object]) -> list[str]:
    """Names of artefacts that are not the same in both; lists with the first lines that differ."""
    names = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    return [f"{name}{_first_difference(ours.get(name), theirs.get(name))}" for name in names]


def _first_difference(ours: object, theirs: object) -> str:
    if not (isinstance(ours, list) and isinstance(theirs, list)):
        return ""
    pairs = itertools.zip_longest(ours, theirs)
    return next(f": {one!r} is not {other!r}" for one, other in pairs if one != other)
