"""What finetuning did besides: forgetting (a neutral text) and memorisation (training rows completed verbatim), as a table."""

from __future__ import annotations

from tunebook.reporting.comparison import mean
from tunebook.reporting.curves import split_rows
from tunebook.reporting.report_tables import Cell, Table, cell, figures, words
from tunebook.reporting.study_folder import Experiment, Run
from tunebook.reporting.typeset import fixed, integer, percent, signed

VERBATIM = ("verbatim_training", "verbatim_heldout")


def side_effects_table(experiment: Experiment) -> Table | None:
    """Base and each method, means over seeds; None where the task has no such measures."""
    if "neutral_loss" not in experiment.base.metrics:
        return None
    memorised = VERBATIM[0] in experiment.base.metrics
    base_loss = experiment.base.metrics["neutral_loss"]
    alone = quantization_alone(experiment)
    rows = []
    for name, runs in {"base": (experiment.base,), **experiment.methods}.items():
        loss = mean(run.metrics["neutral_loss"] for run in runs)
        change = cell(loss - base_loss, signed(loss - base_loss)) if name != "base" else Cell("", kind="quiet")
        cost = (cell(alone[name], signed(alone[name])) if name in alone else Cell("", kind="quiet"),) if alone else ()
        rows.append((Cell(name), cell(loss, fixed(loss)), change, *cost, *(_memorised(runs) if memorised else ())))
    columns = figures("Loss", "Change", *(["By quantization alone"] if alone else []))
    if memorised:
        columns += figures("Verbatim, training rows", "Verbatim, test rows", "Difference")
    return Table((*words("Run"), *columns), tuple(rows), "metrics")


def quantized_methods(experiment: Experiment) -> list[str]:
    """The methods whose weights are quantized, as the base's are not."""
    return [name for name, runs in experiment.methods.items() if runs[0].spec["quantization"]]


def int8_methods(experiment: Experiment) -> list[str]:
    """The methods whose losses depend on the batch that they are computed in, see finetuning/scoring.py."""
    return [name for name, runs in experiment.methods.items() if runs[0].spec["quantization"] == "int8"]


def quantization_alone(experiment: Experiment) -> dict[str, float]:
    """Method -> what quantization alone does to the validation loss, nats a token: the loss before the first step less that
    of a method whose weights are not quantized. Empty where no such method ran on the same validation rows."""
    starts = {name: [_start(run) for run in runs] for name, runs in experiment.methods.items()}
    rows = {name: experiment.validated_rows(runs[0]) for name, runs in experiment.methods.items()}
    quantized = quantized_methods(experiment)
    found = {}
    for name in quantized:
        plain = [one for one in starts if one not in quantized and rows[one] == rows[name]]
        if plain and None not in (*starts[name], *starts[plain[0]]):
            found[name] = mean(starts[name]) - mean(starts[plain[0]])
    return found


def _start(run: Run) -> float | None:
    """Validation loss before the first step; None where it was not measured. An adapter starts as nothing."""
    validation = split_rows(run.history, "validation")
    first = validation[validation["step"] == 0]["loss"]
    return float(first.iloc[0]) if len(first) else None


def _memorised(runs: tuple[Run, ...]) -> list[Cell]:
    """Shares with their intervals; over several seeds the mean without one."""
    cells = []
    for name in VERBATIM:
        value, low, high = _spread(runs, name)
        note = f"of {integer(runs[0].rows_of(name))}" + (
            f", {percent(low)} to {percent(high)}" if low is not None else ""
        )
        cells.append(cell(value, percent(value), note=note))
    value, low, high = _spread(runs, "verbatim_difference")
    note = "" if low is None else f"{_points(low)} to {_points(high)}"
    grave = low is not None and low > 0
    return [*cells, cell(value, _points(value), note=note, kind="bad" if grave else "")]


def _spread(runs: tuple[Run, ...], name: str) -> tuple[float, float | None, float | None]:
    low, high = runs[0].intervals[name] if len(runs) == 1 else (None, None)
    return mean(run.metrics[name] for run in runs), low, high


def _points(share: float) -> str:
    """A difference of shares in percentage points."""
    return f"{signed(100 * share, 1)} points"
