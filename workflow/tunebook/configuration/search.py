"""A search: which arguments of an experiment's methods are tried with which values, and the trials that this makes.

Trials are drawn when the config is read, so that each is a run like any other. A draw depends on the search's seed, its number and
the argument alone: of a range that was widened, or a list with a new entry, most trials stay what they were.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import Field, ValidationError

from tunebook.configuration.adapters import ADAPTERS
from tunebook.configuration.section import Section
from tunebook.errors import TunebookError
from tunebook.records import identity_of

# All trials train equally long, on the same tokens, and are validated alike: these may differ.
SEARCHABLE = (
    "learning_rate",
    "lr_scheduler_type",
    "warmup_steps",
    "weight_decay",
    "max_grad_norm",
    "optim",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "dropout",
)
LOG_DOMAIN = (-12, 6)  # exponents of ten: values of log ranges are drawn in here until one lies in the range
MOST_DRAWS = 20_000  # for one value
DIGITS = 3  # significant ones of a drawn value


class Range(Section):
    """The values between two numbers, both included."""

    low: float = Field(ge=0)
    high: float = Field(gt=0)
    scale: Literal["linear", "log"] = Field("linear", description="log: each power of ten is drawn as often")
    points: int | None = Field(None, ge=2, le=100, description="sampler grid: how many values, at equal distances")


class Space(Section):
    """What is searched: argument -> a list of values, or a range (low, high, scale, points)."""

    training: dict[str, Any] = Field({}, description="training arguments: " + ", ".join(SEARCHABLE))
    adapter: dict[str, Any] = Field(
        {}, description="adapter arguments; each is searched for the methods whose kind has it"
    )


class Search(Space):
    """A search over arguments, alike for each method of an experiment."""

    sampler: Literal["random", "grid", "halving"] = Field(
        "random",
        description="random: values are drawn; grid: all combinations; halving: drawn, and only the best of short trials go on to "
        "longer ones",
    )
    trials: int | None = Field(
        None, ge=2, le=1000, description="trials of each method that are drawn; of a grid the values say how many"
    )
    reduction: int = Field(
        3, ge=2, le=16, description="sampler halving: one trial in so many goes on, with so many times the steps"
    )
    seed: int = Field(0, ge=0, lt=2**32, description="of the draws")


@dataclass(frozen=True)
class Trial:
    """One choice of values, trained for a share of a final run's steps. `key`: names its folder, a hash of these."""

    training: dict[str, Any]
    adapter: dict[str, Any]
    draw: int  # its place among the trials of its rung
    rung: int = 0
    share: float = 1.0

    @property
    def key(self) -> str:
        values = {"training": self.training, "adapter": self.adapter}
        return identity_of(values if self.share == 1 else values | {"share": self.share})[:8]


@dataclass(frozen=True)
class Rung:
    """What trains equally long: how many trials, at most, and for which share of a final run's steps."""

    trials: int
    share: float


def rungs(search: Search, drawn: int) -> tuple[Rung, ...]:
    """The rungs of a search of so many trials; one, but for successive halving (Jamieson & Talwalkar 2016): there each has
    1 / reduction of the trials before it, and `reduction` times their steps; the last trains as long as a final run."""
    if search.sampler != "halving":
        return (Rung(drawn, 1.0),)
    counts = [drawn]
    while counts[-1] >= search.reduction:
        counts.append(counts[-1] // search.reduction)
    last = len(counts) - 1
    return tuple(Rung(count, float(search.reduction) ** (rung - last)) for rung, count in enumerate(counts))


@dataclass(frozen=True)
class Axis:
    """One argument that is searched. `section`: training or adapter; `whole`: it is a whole number."""

    section: str
    name: str
    values: Range | tuple[Any, ...]
    whole: bool

    @property
    def path(self) -> str:
        return f"{self.section}.{self.name}"

    def drawn(self, seed: int, number: int) -> Any:
        """The value of a trial. Of a list, the entry with the greatest hash (Thaler & Ravishankar 1998): a new entry takes its
        share of the trials and leaves the others alone. Of a range, the first that lies in it of a sequence drawn on a
        domain that does not depend on the range."""
        if not isinstance(self.values, Range):
            return max(self.values, key=lambda value: _uniform(seed, number, self.path, repr(value)))
        low, high = self.values.low, self.values.high
        for attempt in range(MOST_DRAWS):
            share = _uniform(seed, number, self.path, attempt)
            if self.values.scale == "log":
                value = 10 ** (LOG_DOMAIN[0] + share * (LOG_DOMAIN[1] - LOG_DOMAIN[0]))
            else:
                value = share * 2 ** math.ceil(math.log2(high))
            if low <= self._shown(value) <= high:
                return self._shown(value)
        raise TunebookError(
            f"{self.path}: found the range {low:g} to {high:g}; too narrow to draw from: list the values"
        )

    def on_grid(self) -> tuple[Any, ...]:
        """All values of a list, or a range's points."""
        if not isinstance(self.values, Range):
            return self.values
        if self.values.points is None:
            raise TunebookError(
                f"{self.path}: found a range without points; a grid needs their number, or a list of values"
            )
        low, high, last = self.values.low, self.values.high, self.values.points - 1
        if self.values.scale == "log":
            points = [low * (high / low) ** (index / last) for index in range(last + 1)]
        else:
            points = [low + (high - low) * index / last for index in range(last + 1)]
        return tuple(dict.fromkeys(self._shown(point) for point in points))

    def _shown(self, value: float) -> float | int:
        return round(value) if self.whole else float(f"{value:.{DIGITS}g}")


def axes(search: Search, own: Space | None, kind: str | None, training: type[Section]) -> tuple[Axis, ...]:
    """What is searched for one method. `own`: what its overrides say of the search; `kind`: of its adapter; `training`: the class
    of training arguments."""
    told = {
        "training": {**search.training, **(own.training if own else {})},
        "adapter": {**search.adapter, **(own.adapter if own else {})},
    }
    sections = {"training": training} | ({"adapter": ADAPTERS[kind]} if kind else {})
    return tuple(
        Axis(name, argument, _values(section, argument, told[name][argument]), _is_whole(section, argument))
        for name, section in sections.items()
        for argument in told[name]
        if argument in section.model_fields
    )


def _values(section: type[Section], argument: str, told: Any) -> Range | tuple[Any, ...]:
    if isinstance(told, Mapping):
        return Range.model_validate(told)
    return tuple({repr(read): read for read in (_read(section, argument, value) for value in told)}.values())


def _read(section: type[Section], argument: str, value: Any) -> Any:
    """A value as its section reads it (YAML's 1e-4 is a text); one that is wrong as it is: the checks of trials say so."""
    try:
        read = section.model_validate({argument: value})
    except ValidationError:
        return value
    return read.model_dump(mode="json")[argument]


def _is_whole(section: type[Section], argument: str) -> bool:
    annotation = section.model_fields[argument].annotation
    kinds = {annotation, *typing.get_args(annotation)}
    return int in kinds and float not in kinds


def trials(search: Search, searched: tuple[Axis, ...]) -> tuple[Trial, ...]:
    """The trials of one method, rung by rung in the order of the draws, none twice; which of them reach a later rung is known
    when those before have ended. Raises TunebookError where the values do not give as many."""
    drawn = _first_rung(search, searched)
    steps = rungs(search, len(drawn))
    return tuple(
        replace(trial, draw=draw, rung=number, share=rung.share)
        for number, rung in enumerate(steps)
        for draw, trial in enumerate(drawn)
    )


def _first_rung(search: Search, searched: tuple[Axis, ...]) -> tuple[Trial, ...]:
    if search.sampler == "grid":
        combinations = itertools.product(*(axis.on_grid() for axis in searched))
        return tuple({trial.key: trial for trial in (_trial(searched, one) for one in combinations)}.values())
    found: dict[str, Trial] = {}
    for trial in _drawn(search, searched):
        found.setdefault(trial.key, trial)
        if len(found) == search.trials:
            return tuple(found.values())
    raise TunebookError(
        f"found {search.trials} trials, where the values give {len(found)} different ones; ask for fewer, or search more values"
    )


def _drawn(search: Search, searched: tuple[Axis, ...]) -> Iterator[Trial]:
    for number in range(50 * search.trials):
        yield _trial(searched, [axis.drawn(search.seed, number) for axis in searched])


def _trial(searched: tuple[Axis, ...], values: typing.Iterable[Any]) -> Trial:
    chosen: dict[str, dict[str, Any]] = {"training": {}, "adapter": {}}
    for axis, value in zip(searched, values, strict=True):
        chosen[axis.section][axis.name] = value
    return Trial(**chosen, draw=0)


def _uniform(*parts: Any) -> float:
    """A number from 0 up to 1, the same for the same parts on each machine."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56
