"""Metrics of base and finetuned models, token lengths, and the confusion matrix."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tunebook.reporting.comparison import over_seeds
from tunebook.reporting.figure_style import MARKERS, NARROW_IN, look
from tunebook.reporting.metrics import better, title
from tunebook.reporting.palette import BASE, BLUE, INK, PAPER, QUIET
from tunebook.reporting.study_folder import Experiment, Run
from tunebook.reporting.typeset import fixed, integer
from tunebook.reporting.untrained import Baseline

# Ends that are no colour of the palette: those follow the page's theme, and would break the scale in two
SHADES = LinearSegmentedColormap.from_list("shades", ["#eef4f9", "#0a6ba6"])
DARK_SHARE = 0.55  # cells darker than this carry light figures
LIGHT_FIGURES, DARK_FIGURES = "#fefefe", "#101214"  # on shades that are the same in a light and in a dark theme
MOST_LABELS = 12
LEGEND_COLUMNS = 3  # a narrow figure's width holds so many names of methods


def draw_metrics(experiment: Experiment) -> Figure:
    """Each metric of base, baselines and methods, with 95 % intervals where known, or with the range over seeds.

    Above, losses (lower is better); below, metrics between 0 and 1. Perplexity and lengths stand in the table only.
    """
    groups = experiment.untrained_groups | experiment.methods
    runs = {name: group[0] for name, group in groups.items()}
    values = {name: run.metrics for name, run in runs.items()}
    whiskers = {name: run.intervals for name, run in runs.items()}
    for method, group in groups.items():
        if len(group) > 1:  # over seeds or draws: the mean, and the range in the place of the interval
            spread = over_seeds(group)
            values[method] = {name: middle for name, (_, middle, _, _) in spread.items()}
            whiskers[method] = {name: (low, high) for name, (_, _, low, high) in spread.items()}
    names = [name for name, value in values["base"].items() if value is not None]
    losses = [name for name in names if name == "bits_per_byte" or name.removesuffix("_untrained").endswith("loss")]
    shares = [
        name
        for name in names
        if name not in losses
        and name not in ("answer_tokens", "verbatim_difference")
        and all(0 <= (line.get(name) or 0) <= 1 for line in values.values())
    ]
    panels = [panel for panel in (losses, shares) if panel]
    step = 0.24 + 0.09 * len(runs)
    heights = [0.5 + step * len(panel) for panel in panels]
    figure, axes = plt.subplots(
        len(panels),
        1,
        figsize=(NARROW_IN, sum(heights) + 0.4),
        height_ratios=heights,
        squeeze=False,
        layout="constrained",
    )
    for axis, panel in zip(axes.flat, panels, strict=True):
        _lines_of_metrics(axis, panel, runs, values, whiskers)
    axes.flat[0].set_xlabel("nats a token; bits a byte")
    if shares:
        axes.flat[-1].set_xlim(-0.03, 1.03)
        axes.flat[-1].set_xlabel("share of 1")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(LEGEND_COLUMNS, len(runs)), handletextpad=0.3)
    return figure


def _lines_of_metrics(
    axis: Axes,
    names: list[str],
    runs: dict[str, Run | Baseline],
    values: dict[str, dict[str, float | None]],
    whiskers: dict[str, dict[str, tuple[float, float]]],
) -> None:
    """One line a metric; the runs stand a little below one another."""
    looks = _looks(runs)
    offsets = (numpy.arange(len(runs)) - (len(runs) - 1) / 2) * min(0.26, 0.76 / len(runs))
    for index, run_name in enumerate(runs):
        colour, marker, hollow = looks[run_name]
        places, points = [], []
        for place, name in enumerate(names):
            value = values[run_name].get(name)
            if value is None:
                continue
            places.append(place + offsets[index])
            points.append(value)
            if name in whiskers[run_name]:
                axis.plot(whiskers[run_name][name], [places[-1]] * 2, color=colour, linewidth=1.3)
        fill = {"fillstyle": "none"} if hollow else {}
        axis.plot(points, places, marker, color=colour, markersize=4.8, linestyle="none", label=run_name, **fill)
    arrows = {1: "↑", -1: "↓", 0: "·"}
    labels = [f"{title(name)}{_answers(name, runs['base'])} {arrows[better(name)]}" for name in names]
    axis.set_yticks(range(len(names)), labels)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.set_xlim(left=0)


def _looks(runs: dict[str, Run | Baseline]) -> dict[str, tuple[str, str, bool]]:
    """Run -> colour, marker, hollow: what was not finetuned is hollow and without colour."""
    untrained = [name for name, run in runs.items() if isinstance(run, Baseline) or run.training is None]
    trained = [name for name in runs if name not in untrained]
    looks = {name: (BASE if at == 0 else INK, MARKERS[at % len(MARKERS)], True) for at, name in enumerate(untrained)}
    return looks | {name: (*look(at)[:2], False) for at, name in enumerate(trained)}


def _answers(name: str, run: Run) -> str:
    """How many answers a metric is over, where it is not over the test rows."""
    return f", n = {integer(run.rows_of(name))}" if run.beside(name) else ""


def draw_lengths(experiment: Experiment) -> Figure:
    """Training rows by token length; below, each split's shortest to longest row with its median and 95th percentile."""
    splits = experiment.split_lengths()
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(NARROW_IN, 2.7), height_ratios=(3, 1), sharex=True, layout="constrained"
    )
    histogram = splits["train"]["histogram"]
    above.stairs(histogram["counts"], histogram["edges"], color=BLUE, fill=True, linewidth=0)
    above.set_ylabel("training rows")
    above.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    for place, line in enumerate(splits.values()):
        below.plot([line["min"], line["max"]], [place, place], color=QUIET, linewidth=0.9)
        below.plot([line["min"], line["p95"]], [place, place], color=BLUE, linewidth=3.0, solid_capstyle="butt")
        below.plot(line["median"], place, "o", color=PAPER, markeredgecolor=BLUE, markersize=4.5)
    below.set_yticks(range(len(splits)), list(splits))
    below.set_ylim(len(splits) - 0.4, -0.6)
    below.set_xlabel("tokens in a row")
    below.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    limit, longest = experiment.lengths["max_length"], max(line["max"] for line in splits.values())
    if limit <= 1.5 * longest:  # a limit far beyond the rows would press them into a corner
        above.axvline(limit, color=INK, linewidth=1.0)
        below.axvline(limit, color=INK, linewidth=1.0)
        place = {"xy": (limit, above.get_ylim()[1]), "xytext": (-5, 0), "textcoords": "offset points"}
        above.annotate(f"cut at {integer(limit)}", **place, va="top", ha="right", fontsize=8.5)
    below.set_xlim(0, 1.02 * max(longest, limit if limit <= 1.5 * longest else 0))
    return figure


def draw_confusion(experiment: Experiment) -> Figure:
    """Confusion matrices of the base model and of the first run: a row a true label, shaded by share of the row."""
    runs = [experiment.base, *experiment.runs[:1]]
    labels = experiment.base.evaluation["labels"]
    side = min(len(labels), MOST_LABELS)
    figure, grid = plt.subplots(
        1, len(runs), figsize=(NARROW_IN, 1.2 + 0.4 * side), squeeze=False, sharey=True, layout="constrained"
    )
    for axis, run in zip(grid[0], runs, strict=True):
        _matrix(axis, run, labels)
    grid[0][0].set_ylabel("true label")
    return figure


def _matrix(axis: Axes, run: Run, labels: list[str]) -> None:
    """One matrix; counts are written into the cells."""
    counts = numpy.asarray(run.evaluation["confusion"], dtype=float)
    shares = counts / numpy.maximum(counts.sum(axis=1, keepdims=True), 1)
    axis.pcolormesh(shares, cmap=SHADES, vmin=0, vmax=1, edgecolors=PAPER, linewidth=1.5)
    for (row, column), value in numpy.ndenumerate(counts):
        colour = LIGHT_FIGURES if shares[row, column] > DARK_SHARE else DARK_FIGURES
        axis.text(column + 0.5, row + 0.5, integer(value), ha="center", va="center", color=colour)
    columns = [*labels, "no label"][: counts.shape[1]]
    axis.set_xticks(
        numpy.arange(len(columns)) + 0.5,
        columns,
        rotation=30 if len(columns) > 3 else 0,
        ha="right" if len(columns) > 3 else "center",
    )
    axis.set_yticks(numpy.arange(len(labels)) + 0.5, labels)
    axis.set_ylim(len(labels), 0)
    accuracy = run.evaluation["metrics"].get("accuracy")
    axis.set_title(f"{run.method}, accuracy {fixed(accuracy, 2)}")
    axis.set_xlabel("predicted label")
    axis.grid(False)
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
