"""Stage `tables`: a study's records as CSV tables in full precision, all of them in Markdown, and the report's in LaTeX."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pandas

from tunebook.errors import escaped
from tunebook.records import write_csv, write_text
from tunebook.reporting.frames import build_tables
from tunebook.reporting.latex import latex_page
from tunebook.reporting.study_folder import Study, read_study
from tunebook.reporting.test_rows import rows_frame
from tunebook.reporting.typeset import number, size

TITLES = {
    "runs": "Runs: held-out loss of the text against the untouched model, time, memory, verdicts",
    "losses": "Losses by epoch, in nats a supervised token, with published figures",
    "published": "Published against reproduced losses, and whether they may be compared",
    "metrics": "Metrics, with 95 % intervals and the number of rows or answers they are over",
    "seeds": "Seeds: mean and range of each metric over the runs of a method, and over draws of examples in the prompt",
    "comparisons": "Pairs on the same rows: paired differences of losses of the text, and of right answers; p adjusted by Holm's method",
    "search": "Searches: every trial, what was tried and its lowest validation loss in nats a supervised token",
    "methods": "Methods: what is trained, what is stored, memory, time, loss",
}
COUNTS = (
    "seed", "rows", "steps", "best_step", "quantized_layers", "parameters", "trainable_parameters", "tokens", "only_left",
    "only_right", "seeds",
)  # fmt: skip


def markdown(frame: pandas.DataFrame) -> str:
    """A frame as a GitHub table: counts whole, bytes in units, other numbers to four significant digits."""
    header = "| " + " | ".join(frame.columns) + " |"
    rule = "|" + " --- |" * len(frame.columns)
    lines = [
        "| " + " | ".join(_cell(name, value) for name, value in zip(frame.columns, line, strict=True)) + " |"
        for line in frame.itertuples(index=False)
    ]
    return "\n".join([header, rule, *lines])


def _cell(column: str, value: Any) -> str:
    if isinstance(value, (bool, str)):
        return str(value).replace("|", "\\|").replace("\n", " ")
    if value is None or pandas.isna(value):
        return ""
    if column.endswith("_bytes"):
        return size(float(value))
    return str(int(value)) if column in COUNTS else number(float(value), 4)


def write_tables(study: Study, folder: Path) -> None:
    """Write `{name}.csv` for each table, `tables.md` with all of them, and `tables.tex` with the report's tables."""
    tables = build_tables(study)
    for name, frame in tables.items():
        write_csv(folder / f"{name}.csv", frame)
    for experiment in study.experiments:
        write_csv(folder / f"rows-{experiment.name}.csv", rows_frame(experiment))
    sections = [f"## {TITLES[name]}\n\n{markdown(frame)}\n" for name, frame in tables.items() if len(frame)]
    page = f"# {study.record['title']}: tables\n\n" + "\n".join(sections)
    write_text(folder / "tables.md", escaped(page))
    write_text(folder / "tables.tex", escaped(latex_page(study)))


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--study", type=Path, required=True, help="study.json")
    parser.add_argument("--output", type=Path, required=True, help="the folder to write the tables to")


def main(args: argparse.Namespace) -> None:
    write_tables(read_study(args.study.parent), args.output)
