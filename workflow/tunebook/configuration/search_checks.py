"""What is wrong with an experiment's search: values that cannot be tried, and budgets that differ between methods."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from tunebook.configuration.adapters import ADAPTERS
from tunebook.configuration.config import Training
from tunebook.configuration.raw import mapping, section_of
from tunebook.configuration.search import SEARCHABLE, Axis, Range, Search, Space, Trial, axes, trials
from tunebook.configuration.wording import nearest, sentences, shown
from tunebook.errors import TunebookError

Checks = Callable[[str, Mapping[str, Any]], Iterator[str]]


def search_problems(
    path: str, experiment: Mapping[str, Any], kinds: Mapping[str, str | None], experiment_problems: Checks
) -> Iterator[str]:
    """Problems of a search and of each of its trials.

    `kinds`: each method of the experiment and the kind of its adapter; `experiment_problems`: the checks of an experiment without
    a search, by path, which each trial must pass.
    """
    overrides = mapping(experiment, "overrides")
    raw = experiment.get("search")
    if raw is None:
        for name, override in overrides.items():
            if section_of(override, "search"):
                yield f"{path}.overrides.{name}.search: found without a search of the experiment; add {path}.search"
        return
    spaces = {f"{path}.search": raw} | {
        f"{path}.overrides.{name}.search": own
        for name, override in overrides.items()
        if (own := section_of(override, "search"))
    }
    told = [
        *(problem for place, space in spaces.items() for problem in _space_problems(place, space, set(kinds.values()))),
        *_fixed_problems(path, experiment),
    ]
    yield from told
    search = _read(Search, raw)
    if told or search is None:
        return
    if (search.sampler == "grid") != (search.trials is None):
        yield (
            f"{path}.search.trials: found {shown(search.trials)} with sampler {search.sampler}; sampler grid tries all "
            "combinations: take trials away; the others need their number"
        )
        return
    if search.sampler == "halving" and search.trials < search.reduction:
        yield (
            f"{path}.search.trials: found {search.trials}, fewer than the reduction ({search.reduction}), so that none would go on; "
            "ask for more, or take sampler random"
        )
        return
    counts = {}
    for method, kind in kinds.items():
        own = _read(Space, section_of(overrides.get(method, {}), "search"))
        axes_of = axes(search, own, kind, Training)
        if not axes_of:
            yield (
                f"{path}.search: found nothing to search for {method}, which has none of these arguments; each method of a "
                f"comparison gets the same search: add a training argument, or arguments under {path}.overrides.{method}.search"
            )
            continue
        try:
            drawn = [trial for trial in trials(search, axes_of) if trial.rung == 0]  # later rungs have the same values
        except TunebookError as error:
            yield f"{path}.search, method {method}: {error}"
            continue
        counts[method] = len(drawn)
        yield from _trial_problems(path, experiment, method, axes_of, drawn, experiment_problems)
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{count} of {method}" for method, count in counts.items())
        yield (
            f"{path}.search: found a grid with a different number of trials for each method: {listed}; the budget is the same "
            f"for all: list as many combinations for each under {path}.overrides, or take sampler random with trials"
        )


def _read(section: type[Space], raw: Any) -> Any:
    """A section, or None where it is not valid, which pydantic reports of the whole config."""
    try:
        return section.model_validate(raw)
    except ValidationError:
        return None


def _space_problems(path: str, space: Any, kinds: set[str | None]) -> Iterator[str]:
    if not isinstance(space, Mapping):
        return
    adapter = list(dict.fromkeys(name for kind in kinds if kind for name in ADAPTERS[kind].model_fields))
    for section, allowed in (("training", list(SEARCHABLE)), ("adapter", adapter)):
        for name, values in section_of(space, section).items():
            here = f"{path}.{section}.{name}"
            if name not in allowed:
                why = (
                    ": all trials train equally long, on the same tokens, and are validated alike"
                    if name in Training.model_fields and section == "training"
                    else nearest(name, allowed)
                )
                listed = ", ".join(allowed) or "none, for no method of the experiment has an adapter"
                yield f"{here}: found an argument that is not searched{why}; allowed: {listed}"
            else:
                yield from _values_problems(here, values)


def _values_problems(path: str, values: Any) -> Iterator[str]:
    if isinstance(values, list):
        if len({repr(value) for value in values}) < 2:
            yield f"{path}: found {shown(values)}; expected a list of at least two different values, or a range"
        return
    if not isinstance(values, Mapping):
        yield f"{path}: found {shown(values)}; expected a list of values, or a range: {{low: 1.0e-5, high: 1.0e-3, scale: log}}"
        return
    try:
        told = Range.model_validate(values)
    except ValidationError as error:
        yield from (f"{path}.{line}" for line in sentences(error.errors(), Range))
        return
    if told.low >= told.high:
        yield f"{path}: found low {told.low:g} and high {told.high:g}; low is below high"
    if told.scale == "log" and told.low == 0:
        yield f"{path}.low: found 0 on a log scale; it is above 0"


def _fixed_problems(path: str, experiment: Mapping[str, Any]) -> Iterator[str]:
    """An override that fixes what is searched: one of the two would not count."""
    search = section_of(experiment, "search")
    for name, override in mapping(experiment, "overrides").items():
        for section in ("training", "adapter"):
            own = section_of(section_of(override, "search"), section)
            for key in section_of(override, section):
                if key in section_of(search, section) or key in own:
                    yield (
                        f"{path}.overrides.{name}.{section}.{key}: found a value for what the search tries; remove it, or search "
                        f"other values under {path}.overrides.{name}.search.{section}"
                    )


def _trial_problems(
    path: str,
    experiment: Mapping[str, Any],
    method: str,
    searched: tuple[Axis, ...],
    drawn: list[Trial],
    experiment_problems: Checks,
) -> Iterator[str]:
    """What the checks say of an experiment whose overrides are a trial's values, and not without them."""
    overrides = section_of(experiment, "overrides")
    own = section_of(overrides, method)
    known = set(experiment_problems(path, experiment))
    for trial in drawn:
        changed = {
            section: {**section_of(own, section), **getattr(trial, section)} for section in ("training", "adapter")
        }
        tried = {**experiment, "overrides": {**overrides, method: {**own, **changed}}}
        values = ", ".join(f"{axis.name} {getattr(trial, axis.section)[axis.name]}" for axis in searched)
        for problem in experiment_problems(path, tried):
            if problem not in known:
                yield f"{path}.search: found a trial of {method} with {values}, where {problem}"
                return  # the others will say the same
