"""What finetuning did besides, as a table: how likely a neutral text remained, and which training rows are completed verbatim."""

from __future__ import annotations

import numpy

from tunebook.reporting.comparison import mean
from tunebook.reporting.report_tables import Cell, Table, cell, figures, words
from tunebook.reporting.study_folder import Experiment, Run
from tunebook.reporting.typeset import fixed, integer, percent, signed
from tunebook.statistics.paired import Difference, Scores, paired_difference

VERBATIM = ("verbatim_training", "verbatim_heldout")
EMPTY = Cell("", kind="quiet")


def side_effects_table(experiment: Experiment) -> Table | None:
    """Base and each method, means over seeds; None where the task has no such measures."""
    if "neutral_text" not in experiment.base.evaluation:
        return None
    memorised, quantized = VERBATIM[0] in experiment.base.metrics, bool(quantized_methods(experiment))
    rows = []
    for name, runs in {"base": (experiment.base,), **experiment.methods}.items():
        loss = mean(run.metrics["neutral_loss"] for run in runs)
        changes = [_changed(one) for one in neutral_changes(experiment, runs)] if name != "base" else [EMPTY] * 3
        shown = changes if quantized else changes[:1]
        rows.append((Cell(name), cell(loss, fixed(loss)), *shown, *(_memorised(runs) if memorised else ())))
    columns = figures("Loss", "Change", *(["By quantization alone", "By training"] if quantized else []))
    if memorised:
        columns += figures("Verbatim, training rows", "Verbatim, test rows", "Difference")
    return Table((*words("Run"), *columns), tuple(rows), "metrics")


def quantized_methods(experiment: Experiment) -> list[str]:
    """The methods whose weights are quantized, as the base's are not."""
    return [name for name, runs in experiment.methods.items() if runs[0].spec["quantization"]]


def int8_methods(experiment: Experiment) -> list[str]:
    """The methods whose losses depend on the batch that they are computed in, see finetuning/scoring.py."""
    return [name for name, runs in experiment.methods.items() if runs[0].spec["quantization"] == "int8"]


def neutral_changes(experiment: Experiment, runs: tuple[Run, ...]) -> tuple[Difference, Difference | None, Difference]:
    """Changes of the loss on the neutral text, nats a token, paired by paragraph: of the runs (one a seed) less the base; of
    their own quantized base less the base, None without quantization; of the runs less their own base.
    """
    base = _neutral((experiment.base,), "losses", seeded=False)
    trained = _neutral(runs, "losses", seeded=True)
    tokens = numpy.array(experiment.base.evaluation["neutral_text"]["tokens"], dtype=float)
    whole = paired_difference(trained, base, tokens)
    if runs[0].evaluation["neutral_text"]["untrained_losses"] is None:
        return whole, None, whole
    own = _neutral(runs[:1], "untrained_losses", seeded=False)  # no seed changes it
    return whole, paired_difference(own, base, tokens), paired_difference(trained, own, tokens)


def _neutral(runs: tuple[Run, ...], key: str, *, seeded: bool) -> Scores:
    """Loss of each paragraph of the neutral text, nats a token, by run."""
    texts = [run.evaluation["neutral_text"] for run in runs]
    return Scores(numpy.array([numpy.array(text[key]) / numpy.array(text["tokens"]) for text in texts]), seeded)


def _changed(difference: Difference | None) -> Cell:
    if difference is None:
        return EMPTY
    note = f"{signed(difference.low)} to {signed(difference.high)}"
    return cell(difference.mean, signed(difference.mean), note=note)


def _memorised(runs: tuple[Run, ...]) -> list[Cell]:
    """Shares with their intervals; over several seeds the mean without one. Empty where too little was seen to ask for."""
    if any("verbatim_difference" not in run.metrics for run in runs):
        return [EMPTY] * 3
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
