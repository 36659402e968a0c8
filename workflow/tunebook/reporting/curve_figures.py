"""Curves against optimizer steps: losses, gradient norm, learning rate; a panel a method."""

from __future__ import annotations

import math
from itertools import cycle

import matplotlib.pyplot as plt
import pandas
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from tunebook.reporting.curves import smooth, split_rows
from tunebook.reporting.figure_style import NARROW_IN, WIDE_IN, belongs, look, panels, tells, thin
from tunebook.reporting.palette import BASE, BLUE, GREEN, INK, PURPLE, TRAINING, VALIDATION, VERMILLION
from tunebook.reporting.study_folder import Experiment, Run
from tunebook.reporting.typeset import plain

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
SCHEDULE_LINES = ((PURPLE, "-"), (BLUE, "--"), (VERMILLION, ":"), (GREEN, "-."))
LOG_FACTOR = (
    20  # from here on the highest validation loss is so many times the lowest that a linear axis hides the low ones
)
TOGETHER_IN = 3.0  # inches: the height of the panel with all methods
LEGEND_PLACE = {"loc": "outside lower center", "handlelength": 1.6, "columnspacing": 1.4}


def draw_loss(experiment: Experiment) -> Figure:
    """Training loss (raw and smoothed) and validation loss of each method; the untouched model as a dashed line.

    Where there are several methods, a first panel holds the validation losses of all.
    """
    methods = experiment.methods
    if len(methods) > 1:
        figure, (together, *axes) = _panels_below_one(len(methods))
        _validations(together, methods)
    else:
        figure, axes = panels(1, 3.1)
    for axis, (method, runs) in zip(axes, methods.items(), strict=True):
        for run in reversed(runs):  # the first one on top: it is the one that says its values
            _losses(axis, run, says=run is runs[0])
        axis.axhline(
            experiment.base.loss, color=BASE, linestyle=(0, (4, 3)), linewidth=1.2, label="base model, test rows"
        )
        _steps_below(axis)
        _epochs_on_top(axis, runs[0])
        if len(methods) > 1:
            axis.set_title(method)
    log = wants_log_scale(experiment)
    for axis in axes[:: min(2, len(axes))]:
        axis.set_ylabel("loss, nats a token" + (", log scale" if log else ""))
    if log:
        _log_scale(axes)
    axes[0].set_ylim(*_loss_limits(experiment, log))
    _one_legend(figure, axes, columns=2 if len(methods) == 1 else 3)
    return figure


def _panels_below_one(count: int) -> tuple[Figure, list[Axes]]:
    """A panel as wide as the figure, and `count` panels in two columns below it. Returns the axes in this order."""
    rows = -(-count // 2)
    figure = plt.figure(figsize=(WIDE_IN, TOGETHER_IN + 2.5 * rows), layout="constrained")
    grid = figure.add_gridspec(rows + 1, 2, height_ratios=[TOGETHER_IN] + [2.5] * rows)
    axes: list[Axes] = []
    for place in range(count):
        axes.append(figure.add_subplot(grid[1 + place // 2, place % 2], sharey=axes[0] if axes else None))
        axes[-1].tick_params(labelleft=place % 2 == 0)
    return figure, [figure.add_subplot(grid[0, :]), *axes]


def _validations(axis: Axes, methods: dict[str, tuple[Run, ...]]) -> None:
    """Validation losses of all methods: the mean over seeds, and their range as a band. The losses before training lie
    above the panel, which would press the others together."""
    reached = []
    for place, (method, runs) in enumerate(methods.items()):
        colour, marker, style = look(place)
        points = pandas.concat([split_rows(run.history, "validation")[["step", "loss"]] for run in runs])
        steps = points.groupby("step")["loss"].agg(["mean", "min", "max"])
        reached += steps.loc[steps.index > 0, ["min", "max"]].to_numpy().ravel().tolist()
        band = axis.fill_between(steps.index, steps["min"], steps["max"], color=colour, alpha=0.15, linewidth=0)
        belongs(band, method)
        look_of = {"color": colour, "marker": marker, "linestyle": style, "markersize": 4, "linewidth": 1.4}
        (line,) = axis.plot(steps.index, steps["mean"], **look_of, label=method)
        tells(line, method, _epochs_per_step(runs[0]))
    finite = [loss for loss in reached if math.isfinite(loss)]
    if finite:
        margin = 0.06 * (max(finite) - min(finite) or 1.0)
        axis.set_ylim(min(finite) - margin, max(finite) + margin)
    axis.set_title("validation, all methods")
    axis.set_ylabel("loss, nats a token")
    _steps_below(axis)
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.24), ncols=4, handlelength=2.4)


def _losses(axis: Axes, run: Run, says: bool) -> None:
    train, validation = split_rows(run.history, "train"), split_rows(run.history, "validation")
    some = thin(len(train))
    raw = train["loss"].to_numpy(dtype=float)
    faint = {"color": TRAINING, "linewidth": 0.7, "alpha": 0.35}
    lines = axis.plot(train["step"][some], raw[some], **faint, label="training, each step logged")
    lines += axis.plot(train["step"][some], smooth(raw)[some], color=TRAINING, label="training, running mean")
    lines += axis.plot(
        validation["step"],
        validation["loss"],
        color=VALIDATION,
        marker="o",
        markersize=3.5,
        linewidth=1.4,
        label="validation",
    )
    for line in lines if says else ():
        tells(line, line.get_label(), _epochs_per_step(run))
    best = validation[validation["step"] == run.training["best_step"]]
    axis.plot(
        best["step"], best["loss"], "o", markersize=9, fillstyle="none", markeredgecolor=INK, markeredgewidth=1.1,
        linestyle="none", label="checkpoint kept",
    )  # fmt: skip


def wants_log_scale(experiment: Experiment) -> bool:
    """Whether the validation losses and the base model's lie too far apart for a linear axis."""
    shown = [experiment.base.loss]
    for run in experiment.runs:
        shown += [loss for loss in split_rows(run.history, "validation")["loss"] if math.isfinite(loss)]
    return min(shown) > 0 and max(shown) / min(shown) > LOG_FACTOR


def _log_scale(axes: list[Axes]) -> None:
    """Labels at 1, 2 and 5 times powers of ten, written out."""
    for axis in axes:
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda loss, _: plain(loss)))
        axis.yaxis.set_minor_formatter(NullFormatter())


def _steps_below(axis: Axes) -> None:
    """Optimizer steps on the lower axis: there is no half of a step."""
    axis.set_xlabel("optimizer steps")
    axis.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))


def _loss_limits(experiment: Experiment, log: bool) -> tuple[float, float]:
    """Limits that show both losses: single spikes of the raw training loss may leave the picture, curves may not."""
    shown = [experiment.base.loss]
    for run in experiment.runs:
        raw = split_rows(run.history, "train")["loss"].dropna()
        shown += [raw.quantile(0.01), raw.quantile(0.98), *split_rows(run.history, "validation")["loss"].dropna()]
    if log:
        low, high = (math.log10(value) for value in (min(value for value in shown if value > 0), max(shown)))
        margin = 0.06 * (high - low)
        return 10 ** (low - margin), 10 ** (high + margin)
    low, high = min(shown), max(shown)
    margin = 0.06 * (high - low or 1.0)
    return max(0.0, low - margin), high + margin


def _epochs_on_top(axis: Axes, run: Run) -> None:
    """A second axis of epochs, by the run's own ratio of epochs to steps."""
    ratio = _epochs_per_step(run)
    top = axis.secondary_xaxis("top", functions=(lambda step: step * ratio, lambda epoch: epoch / ratio))
    top.set_xlabel("epochs")
    top.spines["top"].set_visible(False)
    top.tick_params(length=0, pad=2)


def _epochs_per_step(run: Run) -> float:
    last = run.history.loc[run.history["step"].idxmax()]
    return float(last["epoch"]) / float(last["step"])


def draw_training(experiment: Experiment) -> Figure:
    """Gradient norm (raw, smoothed, clipping limit), a panel a method; below them the learning rate; against steps."""
    methods = experiment.methods
    width = min(2, len(methods))
    names = [*methods, *["."] * (len(methods) % width)]
    mosaic = [names[start : start + width] for start in range(0, len(names), width)] + [["learning rate"] * width]
    size = (NARROW_IN if width == 1 else WIDE_IN, 2.0 * len(mosaic))
    figure, axes = plt.subplot_mosaic(mosaic, figsize=size, layout="constrained")
    for place, (method, runs) in enumerate(methods.items()):
        _gradient_norms(axes[method], runs)
        _epochs_on_top(axes[method], runs[0])
        if width > 1:
            axes[method].set_title(method)
        axes[method].xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
        if place % width == 0:
            axes[method].set_ylabel("gradient norm")
    _learning_rates(axes["learning rate"], methods)
    _one_legend(figure, [axes[next(iter(methods))]], columns=3)
    return figure


def _gradient_norms(axis: Axes, runs: tuple[Run, ...]) -> None:
    for run in reversed(runs):
        train = split_rows(run.history, "train")
        some = thin(len(train))
        norm = train["grad_norm"].to_numpy(dtype=float)
        faint = {"color": GREEN, "linewidth": 0.7, "alpha": 0.4}
        lines = axis.plot(train["step"][some], norm[some], **faint, label="each step logged")
        lines += axis.plot(train["step"][some], smooth(norm)[some], color=GREEN, label="running mean")
        for line in lines if run is runs[0] else ():
            tells(line, f"gradient norm, {line.get_label()}", _epochs_per_step(run))
    limit = runs[0].spec["training"]["max_grad_norm"]
    axis.axhline(limit, color=BASE, linestyle=(0, (4, 3)), linewidth=1.0, label="clipping limit")
    axis.set_ylim(bottom=0)


def _learning_rates(axis: Axes, methods: dict[str, tuple[Run, ...]]) -> None:
    """One line a schedule, named by its methods where there are several schedules."""
    schedules: dict[tuple[tuple[float, float], ...], list[str]] = {}
    for method, runs in methods.items():
        train = split_rows(runs[0].history, "train")
        some = thin(len(train))
        points = tuple(zip(train["step"][some], train["learning_rate"][some].round(10), strict=True))
        schedules.setdefault(points, []).append(method)
    highest = max(rate for points in schedules for _, rate in points)
    power = math.floor(0.05 + math.log10(highest)) if highest > 0 else 0
    lines = zip(schedules.items(), cycle(SCHEDULE_LINES), strict=False)
    for (points, names), (colour, style) in lines:
        steps, rates = zip(*points, strict=True)
        label = ", ".join(names) if len(schedules) > 1 else None
        drawn = [rate / 10.0**power for rate in rates]
        (line,) = axis.plot(steps, drawn, color=colour, linestyle=style, label=label)
        name = f"learning rate, {label}" if label else "learning rate"
        tells(line, name, _epochs_per_step(methods[names[0]][0]), factor=10.0**power)
    if len(schedules) > 1:
        axis.legend(loc="best")
    axis.set_ylim(bottom=0)
    axis.set_ylabel(f"learning rate, 10{str(power).translate(SUPERSCRIPTS)}" if power else "learning rate")
    _steps_below(axis)


def _one_legend(figure: Figure, axes: list[Axes], columns: int) -> None:
    """One legend for all panels, each entry once."""
    entries: dict[str, object] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    figure.legend(entries.values(), entries.keys(), ncols=columns, **LEGEND_PLACE)
