"""What commands print of runs: metrics side by side, in columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tunebook.reporting import typeset
from tunebook.reporting.metrics import better, title
from tunebook.reporting.study_folder import Run
from tunebook.reporting.untrained import whole_metrics, with_perplexity

ARROWS = {1: "↑", -1: "↓", 0: ""}
INDENT = "    "


def metrics_table(runs: Mapping[str, Run], *, answers: bool = True) -> list[list[str]]:
    """Cells: a line a metric of the last run, a column a run, values with their 95 % intervals. `answers`: those of samples.json too."""
    measured = {name: _metrics(run, answers) for name, run in runs.items()}
    limits = {name: _intervals(run, answers) for name, run in runs.items()}
    lines = [["", *runs]]
    for metric in next(reversed(measured.values())):
        cells = [_value(measured[name].get(metric), limits[name].get(metric)) for name in runs]
        lines.append([f"{title(metric)} {ARROWS[better(metric)]}".strip(), *cells])
    return lines


def _metrics(run: Run, answers: bool) -> dict[str, float | None]:
    return run.metrics if answers else whole_metrics(run.evaluation) | run.evaluation["metrics"]


def _intervals(run: Run, answers: bool) -> dict[str, tuple[float, float]]:
    return run.intervals if answers else with_perplexity(run.evaluation["intervals"])


def _value(value: float | None, limits: tuple[float, float] | None) -> str:
    if value is None:
        return typeset.ABSENT
    return typeset.score(value) + (f"  ({typeset.score(limits[0])} to {typeset.score(limits[1])})" if limits else "")


def table(lines: list[list[str]]) -> Iterator[str]:
    """Cells in columns: the first to the left, the others to the right."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for first, *rest in lines:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))]
        yield f"{INDENT}{'   '.join(cells)}".rstrip()
