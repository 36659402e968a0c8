"""Time and peak memory of fetching and preparing data sets of 10^3 to 10^6 rows.

    python -m tests.benchmarks.scale [ROWS ...]

Rows are made up: a question and an answer of 500 bytes together, one in twenty a near-copy of an earlier row. Each stage is a
process of its own; its peak is that of resident memory. The answer is a Markdown table.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tunebook.configuration.study import fetching_specs
from tunebook.configuration.validation import validate
from tunebook.records import read_json

SIZES = (1_000, 10_000, 100_000, 1_000_000)
VOCABULARY = 30_000  # words, drawn as Zipf's law has it
WORDS = (25, 50)  # of a question, of an answer
COPIED = 20  # one row in so many is a near-copy
RECENT = 10_000  # earlier rows that a near-copy may be of


def write_rows(file: Path, rows: int) -> None:
    """Write JSON lines of made-up questions and answers."""
    draw = random.Random(0)
    letters = "aeiorstnlcdmpuhgbfyvkw"
    words = ["".join(draw.choices(letters, k=draw.randint(2, 10))) for _ in range(VOCABULARY)]
    weights = [1 / rank for rank in range(1, VOCABULARY + 1)]
    total = list(_sums(weights))
    recent: list[dict[str, str]] = []
    with file.open("w", encoding="utf-8") as handle:
        for number in range(rows):
            if recent and number % COPIED == 0:
                row = draw.choice(recent)
                row = {"question": row["question"], "answer": f"{row['answer']} {draw.choice(words)}"}
            else:
                question, answer = (" ".join(draw.choices(words, cum_weights=total, k=count)) for count in WORDS)
                row = {"question": question, "answer": answer}
                recent = [*recent[-RECENT:], row] if number % 100 == 1 else recent
            handle.write(json.dumps(row) + "\n")


def _sums(weights: list[float]):
    total = 0.0
    for weight in weights:
        total += weight
        yield total


def measured(*arguments: object) -> tuple[float, float]:
    """Run a stage. Returns seconds and peak memory in MB."""
    started = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "tunebook", *map(str, arguments)], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{arguments[0]} failed")
    return time.monotonic() - started, usage.ru_maxrss / 1024


def study_of(file: Path) -> dict[str, object]:
    """The specs of a study whose one data set is this file."""
    rows = {
        "source": {"type": "path", "path": str(file)},
        "format": {"type": "jsonl"},
        "prompt": "{{ question }}",
        "completion": "{{ answer }}",
        "licence": "none",
    }
    model = {"task": "causal-lm", "source": {"type": "random", "architecture": "smollm2-135m"}, "licence": "none"}
    experiment = {"title": "scale", "dataset": "rows", "model": "model", "methods": ["lora"]}
    study = {"study": "scale", "title": "scale", "models": {"model": model}, "datasets": {"rows": rows}}
    return {"specs": fetching_specs(validate({**study, "experiments": {"scale": experiment}}))}


def main() -> None:
    sizes = [int(float(size)) for size in sys.argv[1:]] or SIZES
    print("| rows | file, MB | fetch-dataset, s | MB | prepare, s | MB | near-copies |\n|---|---|---|---|---|---|---|")
    for rows in sizes:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            write_rows(folder / "rows.jsonl", rows)
            (folder / "study.json").write_text(json.dumps(study_of(folder / "rows.jsonl")))
            told = ["--study", folder / "study.json", "--dataset", "rows"]
            fetched = measured("fetch-dataset", *told, "--output", folder / "raw")
            prepared = measured("prepare", *told, "--raw", folder / "raw" / "raw.parquet", "--output", folder / "out")
            megabytes = (folder / "rows.jsonl").stat().st_size / 1e6
            copies = read_json(folder / "out" / "profile.json")["near_duplicates"]
        cells = [rows, round(megabytes), *(round(figure) for figure in (*fetched, *prepared)), copies]
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)


if __name__ == "__main__":
    main()
