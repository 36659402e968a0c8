"""A search in a figure: the validation loss of each trial against an argument, and what fewer trials would have brought."""

from __future__ import annotations

import math

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from tunebook.reporting.figure_style import WIDE_IN, look
from tunebook.reporting.palette import INK
from tunebook.reporting.search import Search, Trial, argument, is_number
from tunebook.reporting.study_folder import Experiment
from tunebook.reporting.typeset import plain

FIRST = "training.learning_rate"  # on the horizontal axis, where it was searched
LOG_FACTOR = 20  # values that lie further apart stand on a logarithmic axis
HEIGHT_IN = 3.4
SHORT = 0.35  # opacity of trials that are shorter than a final run
MARGIN = 0.06  # of the losses shown, above and below


def draw_search(experiment: Experiment) -> Figure:
    """Loss against the first argument, a dot a trial, the chosen one in a ring; beside it the expected loss by trials."""
    searches = experiment.searches
    expected = any(search.expected for search in searches.values())
    figure, axes = plt.subplots(
        1, 1 + expected, figsize=(WIDE_IN, HEIGHT_IN), squeeze=False, layout="constrained", width_ratios=[3, 2][: 1 + expected]
    )  # fmt: skip
    path = shown_argument(searches)
    _trials(axes[0, 0], experiment, path)
    if expected:
        _expected(axes[0, 1], searches)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, handlelength=2.0, columnspacing=1.4)
    return figure


def shown_argument(searches: dict[str, Search]) -> str:
    """The argument on the horizontal axis: the learning rate, else the first that was searched for all methods or for one."""
    paths = list(dict.fromkeys(path for search in searches.values() for path in search.paths))
    paths.sort(key=lambda path: (path != FIRST, sum(path not in search.paths for search in searches.values())))
    return paths[0]


def _trials(axis: Axes, experiment: Experiment, path: str) -> None:
    searches = {name: search for name, search in experiment.searches.items() if path in search.paths}
    trials = [trial for search in searches.values() for trial in search.trials]
    places = _places(trials, path)
    reached = [loss for search in searches.values() for loss in search.losses]
    worst = max(trial.initial_loss for trial in trials)
    shown = [loss for loss in reached if loss <= worst]
    low, top = min(shown or reached), max(shown or reached)
    margin = MARGIN * (top - low or 1.0)
    edge = top + margin
    for place, (method, search) in enumerate(searches.items()):
        colour, marker, style = look(place)
        groups = _alike(search, path)
        for group in groups:
            points = sorted((places[repr(trial.values[path])], min(_loss(trial), edge)) for trial in group)
            axis.plot(
                *zip(*points, strict=True), color=colour, marker=marker, linestyle=style, markersize=4.5, linewidth=0.9,
                alpha=SHORT if group[0].share < 1 else 1.0, label=method if group is groups[-1] else None, clip_on=False,
            )  # fmt: skip
        chosen = places[repr(search.chosen.values[path])]
        for run in experiment.methods[method][1:]:
            axis.plot(
                chosen, run.training["best_validation_loss"], marker, color=colour, fillstyle="none", markersize=4.5
            )
        axis.plot(
            chosen, search.chosen.loss, "o", markersize=10, fillstyle="none", markeredgecolor=INK, markeredgewidth=1.1,
            linestyle="none", label="chosen" if place == len(searches) - 1 else None,
        )  # fmt: skip
    axis.set_ylim(low - margin, edge)
    if any(_loss(trial) > edge for trial in trials):
        axis.set_title("at the upper edge: above it, or diverged", fontweight="normal", fontsize=8.5)
    axis.set_xlabel(argument(path).replace("_", " "))
    axis.set_ylabel("validation loss, nats a token")
    values = [trial.values[path] for trial in trials]
    if not _numeric(values):
        axis.set_xticks(list(places.values()), [name.strip("'") for name in places])
    elif min(values) > 0 and max(values) / min(values) > LOG_FACTOR:
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
        axis.xaxis.set_minor_formatter(NullFormatter())


def _loss(trial: Trial) -> float:
    return math.inf if trial.loss is None else trial.loss


def _numeric(values: list) -> bool:
    return all(map(is_number, values))


def _places(trials: list[Trial], path: str) -> dict[str, float]:
    """Where each value stands: a number at itself, anything else at its turn."""
    values = {repr(trial.values[path]): trial.values[path] for trial in trials}
    if _numeric(list(values.values())):
        return {text: float(value) for text, value in values.items()}
    return {text: float(place) for place, text in enumerate(values)}


def _alike(search: Search, path: str) -> list[list[Trial]]:
    """The trials in groups that agree in all other arguments and in length: a line each, those of full length last."""
    groups: dict[str, list[Trial]] = {}
    for trial in search.trials:
        others = repr([trial.share, *(value for name, value in trial.values.items() if name != path)])
        groups.setdefault(others, []).append(trial)
    return sorted(groups.values(), key=lambda group: group[0].share)


def _expected(axis: Axes, searches: dict[str, Search]) -> None:
    for place, search in enumerate(searches.values()):
        colour, marker, style = look(place)
        budgets = range(1, len(search.trials) + 1)
        axis.plot(budgets, search.expected, color=colour, marker=marker, linestyle=style, markersize=3.5, linewidth=1.4)
    axis.set_xlabel("trials")
    axis.set_ylabel("expected lowest loss")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
