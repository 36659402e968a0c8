"""Stage `figures`: one experiment's records as SVG figures under fixed names (see `figure_names`)."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from tunebook.records import read_json
from tunebook.reporting.bars import draw_methods
from tunebook.reporting.curve_figures import draw_loss, draw_training
from tunebook.reporting.figure_names import figure_names
from tunebook.reporting.figure_style import STYLE, save_svg
from tunebook.reporting.score_figures import draw_confusion, draw_lengths, draw_metrics
from tunebook.reporting.search_figure import draw_search
from tunebook.reporting.study_folder import Experiment, read_experiment

DRAWINGS: dict[str, Callable[[Experiment], Figure]] = {
    "loss.svg": draw_loss,
    "training.svg": draw_training,
    "metrics.svg": draw_metrics,
    "methods.svg": draw_methods,
    "lengths.svg": draw_lengths,
    "confusion.svg": draw_confusion,
    "search.svg": draw_search,
}


def write_figures(experiment: Experiment, folder: Path) -> list[Path]:
    """Draw and write all figures of an experiment. Returns their paths, in the order of the report."""
    paths = [folder / name for name in figure_names(experiment.has_labels, bool(experiment.searches))]
    with plt.rc_context(STYLE):
        for path in paths:
            save_svg(DRAWINGS[path.name](experiment), path)
    return paths


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--study", type=Path, required=True, help="study.json")
    parser.add_argument("--experiment", required=True, help="the experiment's name")
    parser.add_argument("--output", type=Path, required=True, help="the folder to write the figures to")


def main(args: argparse.Namespace) -> None:
    experiment = read_experiment(args.study.parent, read_json(args.study), args.experiment)
    write_figures(experiment, args.output)
