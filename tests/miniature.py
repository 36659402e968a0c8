"""Hold the finished miniature study to what it promises: python tests/miniature.py [results/miniature]

Prints what was measured beside what is promised; the exit status is 1 if any promise is broken.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

LOWEST_ACCURACY, LOWEST_GAIN_IN_ACCURACY = 0.90, 0.25
LOWEST_GAIN = 0.3  # nats a token
LARGEST_JOB_MB = 6000
OVERFIT, MENDED = "medical-as-published", "medical"  # the one on purpose, and its remedy on the same test rows
LOWEST_RISE = 0.04  # of its validation loss, twice what the rule asks for


def promises(results: Path) -> list[tuple[str, float, bool]]:
    """(what, measured, kept) of every promise."""
    study = json.loads((results / "study.json").read_text(encoding="utf-8"))
    found = []
    for run in study["runs"]:
        if run["method"] == "base":
            continue
        base, ours = (evaluation(results, name) for name in (f"{run['experiment']}/base/seed-0", run["run"]))
        if "accuracy" in ours["metrics"]:
            accuracy = ours["metrics"]["accuracy"]
            found.append((f"{run['run']} accuracy", accuracy, accuracy >= LOWEST_ACCURACY))
            gain = accuracy - base["metrics"]["accuracy"]
            found.append((f"{run['run']} gain in accuracy", gain, gain >= LOWEST_GAIN_IN_ACCURACY))
        gain = base["loss"] - ours["loss"]
        found.append((f"{run['run']} gain in nats a token", gain, gain >= LOWEST_GAIN))
    found += overfitting(results)
    for file in sorted((results / "benchmarks").rglob("*.tsv")):
        with file.open(encoding="utf-8") as lines:
            memory = float(next(csv.DictReader(lines, delimiter="\t"))["max_rss"])
        found.append((f"{file.parent.name}/{file.stem} MB", memory, memory <= LARGEST_JOB_MB))
    return found


def overfitting(results: Path) -> list[tuple[str, float, bool]]:
    """The run that overfits on purpose is caught, its best weights are published, it is mended, and the report says so."""
    with (results / "tables" / "runs.csv").open(encoding="utf-8") as lines:
        runs = {line["experiment"]: line for line in csv.DictReader(lines)}
    caught, mended = runs[OVERFIT], runs[MENDED]
    with (results / "runs" / OVERFIT / caught["method"] / "seed-0" / "history.csv").open(encoding="utf-8") as lines:
        losses = [float(line["loss"]) for line in csv.DictReader(lines) if line["split"] == "validation"]
    rise = losses[-1] / min(losses) - 1
    gain = float(caught["loss"]) - float(mended["loss"])
    page = (results / "report.html").read_text(encoding="utf-8")
    said = page[page.index("Which overfits?") :]
    left = int(caught["steps"]) - int(caught["best_step"])
    return [
        (f"{OVERFIT} rise of validation loss after its lowest", rise, rise >= LOWEST_RISE),
        (f"{OVERFIT} caught by the rule", float("overfits" in caught["verdicts"]), "overfits" in caught["verdicts"]),
        (f"{OVERFIT} steps thrown away", left, left > 0),
        (f"{MENDED} does not overfit", float("overfits" in mended["verdicts"]), "overfits" not in mended["verdicts"]),
        (f"{MENDED} better on the same rows, nats a token", gain, gain >= LOWEST_GAIN),
        (
            "the summary names both",
            1.0,
            f"#experiment-{OVERFIT}" in said[:2000] and f"#experiment-{MENDED}" in said[:2000],
        ),
    ]


def evaluation(results: Path, run: str) -> dict:
    return json.loads((results / "runs" / run / "evaluation.json").read_text(encoding="utf-8"))


def main() -> int:
    found = promises(Path(sys.argv[1] if len(sys.argv) > 1 else "results/miniature"))
    for what, measured, kept in found:
        print(f"{'kept  ' if kept else 'BROKEN'} {measured:10.3f}  {what}")
    return 0 if all(kept for *_, kept in found) else 1


if __name__ == "__main__":
    sys.exit(main())
