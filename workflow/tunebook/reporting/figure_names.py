"""The file names of an experiment's figures. Imports nothing: the workflow asks for them before anything runs."""

from __future__ import annotations

FIGURES = ("loss.svg", "training.svg", "metrics.svg", "methods.svg", "lengths.svg")
LABEL_FIGURES = ("confusion.svg",)
SEARCH_FIGURES = ("search.svg",)


def figure_names(has_labels: bool, searched: bool) -> list[str]:
    """The figures that stage `figures` leaves in `figures/{experiment}/`, in the order of the report."""
    return [*FIGURES, *(LABEL_FIGURES if has_labels else ()), *(SEARCH_FIGURES if searched else ())]
