"""A search in tables and words: by method what was chosen at what price, and each trial."""

from __future__ import annotations

from typing import Any

from tunebook.reporting.report_tables import Cell, Table, cell, figures, words
from tunebook.reporting.search import Search, argument, is_number, value_text, values_in_words
from tunebook.reporting.study_folder import Experiment
from tunebook.reporting.typeset import ABSENT, duration, fixed, integer, listed, plain


def search_table(experiment: Experiment) -> Table:
    """A line a method: its trials, what was chosen, and the price."""
    rows = []
    for method, search in experiment.searches.items():
        diverged = f"{integer(search.diverged)} diverged" if search.diverged else ""
        rows.append(
            (
                Cell(method, kind="name"),
                cell(search.drawn, integer(search.drawn), note=diverged),
                Cell(values_in_words(search.chosen.values), kind="long", note=edge_words(search)),
                cell(search.chosen.loss, fixed(search.chosen.loss)),
                cell(max(search.losses), fixed(max(search.losses))),
                cell(search.steps, integer(search.steps)),
                cell(search.wall_s, duration(search.wall_s)),
            )
        )
    columns = (
        *words("Method"),
        *figures("Trials"),
        *words("Chosen"),
        *figures("Its validation loss", "Highest of the trials", "Steps of all trials", "Time of all trials"),
    )
    return Table(columns, tuple(rows))


def trials_table(experiment: Experiment) -> Table:
    """A line a trial."""
    paths = list(dict.fromkeys(path for search in experiment.searches.values() for path in search.paths))
    rows = []
    for method, search in experiment.searches.items():
        for trial in search.trials:
            values = [_value_cell(trial.values.get(path)) for path in paths]
            loss = cell(trial.loss, "diverged" if trial.loss is None else fixed(trial.loss))
            best = cell(trial.best_step, ABSENT if trial.best_step is None else integer(trial.best_step))
            chosen = Cell("chosen" if trial is search.chosen else "", kind="good")
            steps = cell(trial.steps, integer(trial.steps))
            rows.append((Cell(method), *values, loss, best, steps, cell(trial.wall_s, duration(trial.wall_s)), chosen))
    columns = (
        *words("Method"),
        *figures(*map(argument, paths), "Validation loss", "At step", "Steps", "Time"),
        *words("Choice"),
    )
    return Table(columns, tuple(rows), "search")


def _value_cell(value: Any) -> Cell:
    if value is None:
        return Cell(ABSENT, kind="quiet")
    return cell(value, plain(value)) if is_number(value) else Cell(value_text(value))


def edge_words(search: Search) -> str:
    """A warning where the chosen value of an argument is the lowest or the highest that was tried."""
    return "; ".join(
        f"the {edge} {argument(path)} tried: a better one may lie beyond" for path, edge in search.edges.items()
    )


def search_facts(experiment: Experiment) -> dict[str, Any] | None:
    """What was searched, in what a reviewer asks for; None where nothing was."""
    spec = experiment.spec["search"]
    if spec is None:
        return None
    spaces = [("", spec)] + [(method, told["search"]) for method, told in experiment.spec["overrides"].items()]
    searched: dict[str, list[str]] = {}  # words -> the methods that they are of, where not of all
    for method, space in spaces:
        for section in ("training", "adapter"):
            for name, values in space[section].items():
                searched.setdefault(f"{name} {_space_words(values)}", []).extend([method] if method else [])
    first = next(iter(experiment.searches.values()))
    return {
        "searched": "; ".join(f"{told} for {listed(of)}" if of else told for told, of in searched.items()),
        "sampler": spec["sampler"],
        "seed": spec["seed"],
        "trials": first.drawn,
        "rungs": [
            (
                sum(trial.share == share for trial in first.trials),
                f"1/{round(1 / share)}" if share < 1 else "all of them",
            )
            for share in sorted({trial.share for trial in first.trials})
        ],
        "first_seed": experiment.spec["seeds"][0],
        "seeds": len(experiment.spec["seeds"]),
        "wall_s": sum(search.wall_s for search in experiment.searches.values()),
        "edges": [method for method, search in experiment.searches.items() if search.edges],
        "expected": bool(first.expected),
    }


def _space_words(values: Any) -> str:
    if isinstance(values, list):
        return f"of {', '.join(map(value_text, values))}"
    scale = " (log scale)" if values.get("scale") == "log" else ""
    return f"from {value_text(float(values['low']))} to {value_text(float(values['high']))}{scale}"
