"""The comparison of methods as measured bars: what is trained, what is stored, memory, time, loss."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tunebook.reporting.comparison import mean
from tunebook.reporting.figure_style import panels
from tunebook.reporting.palette import BLUE, INK, QUIET
from tunebook.reporting.study_folder import Experiment
from tunebook.reporting.typeset import count, duration, fixed, size

# title -> (the record's key, how its values are written)
COSTS: dict[str, tuple[str, Callable[[float], str]]] = {
    "trainable parameters": ("trainable_parameters", count),
    "weights in memory": ("weight_bytes", size),
    "optimizer state": ("optimizer_bytes", size),
    "peak memory in training": ("peak_memory_bytes", size),
    "training time": ("wall_s", duration),
}
BAR_HEIGHT_IN = 0.24
PANEL_FRAME_IN = 0.42


def draw_methods(experiment: Experiment) -> Figure:
    """A panel a quantity, a bar a method (mean over seeds, the range as a whisker); the last panel has the base model too."""
    methods = experiment.methods
    height = PANEL_FRAME_IN + BAR_HEIGHT_IN * (len(methods) + 1)
    figure, axes = panels(len(COSTS) + 1, height, columns=2)
    for axis, (title, (key, written)) in zip(axes, COSTS.items(), strict=False):
        values = {method: [run.training[key] for run in runs] for method, runs in methods.items()}
        _bars(axis, title, values, written, len(methods) + 1)
    losses = {"base": [experiment.base.text_loss]} | {
        method: [run.text_loss for run in runs] for method, runs in methods.items()
    }
    first = {"base": experiment.base} | {method: runs[0] for method, runs in methods.items()}
    intervals = {name: run.intervals["text_loss"] for name, run in first.items()}
    _bars(axes[-1], "held-out loss of the text, nats a token", losses, fixed, len(methods) + 1, intervals)
    return figure


def _bars(
    axis: Axes,
    title: str,
    values: dict[str, list[float]],
    written: Callable[[float], str],
    places_in_panel: int,
    intervals: dict[str, list[float]] | None = None,
) -> None:
    """Horizontal bars from zero, each with its value written behind it.

    Args: values: method -> one value a seed; intervals: method -> (low, high), the whisker where there is one seed.
    """
    names = list(values)
    means = [mean(values[name]) for name in names]
    places = range(len(names))
    axis.barh(places, means, height=0.62, color=[QUIET if name == "base" else BLUE for name in names], linewidth=0)
    whiskers = {
        name: intervals[name] if intervals and len(line) == 1 else (min(line), max(line))
        for name, line in values.items()
    }
    longest = max(high for _, high in whiskers.values()) or 1.0
    for place, name in enumerate(names):
        low, high = whiskers[name]
        if high > low:
            axis.plot([low, high], [place, place], color=INK, linewidth=1.2, solid_capstyle="butt")
        axis.text(high + 0.02 * longest, place, written(means[place]), va="center", fontsize=8.5)
    axis.set_yticks(places, names)
    axis.set_ylim(places_in_panel - 0.5, -0.5)  # bars of one height in all panels
    axis.set_xlim(0, 1.34 * longest)
    axis.set_title(title)
    axis.set_xticks([])
    axis.grid(False)
    axis.spines["bottom"].set_visible(False)
