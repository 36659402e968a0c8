"""What a metric is to a reader: its title, its better end, its definition. Every table, figure and sentence asks here.

`Metric.of` takes the definition from the docstring of the function that computes it: the first paragraph, as the report quotes it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Better = Literal[1, 0, -1]


@dataclass(frozen=True)
class Metric:
    """`name`: its key in records; `better`: 1 where a higher value is better, -1 where a lower one is, 0 where neither."""

    name: str
    title: str
    better: Better
    definition: str

    @classmethod
    def of(cls, function: Callable[..., Any], better: Better, title: str | None = None) -> Metric:
        """The metric that a function of its name computes. `title`: as people write it, if its name does not say so."""
        name = function.__name__
        definition = inspect.getdoc(function).split("\n\n")[0].replace("\n", " ")
        return cls(name, title or name.replace("_", " "), better, definition)
