"""Values of a data set's keys that may be written in several ways: labels, and sizes or files of splits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainValidator

from tunebook.configuration.section import Text
from tunebook.data.labels import label_text

LabelValue = str | int | float | bool


def _labels_by_value(labels: Any) -> Any:
    """A list of labels as a mapping of each to itself; numbers as texts.

    Truth values become texts where they stand for what the rows hold. A label that is one is left to be refused: YAML reads
    yes and no as truth values, and the label would be another word than the file says.
    """
    if isinstance(labels, Mapping):
        return {label_text(value): _name(name) for value, name in labels.items()}
    if not isinstance(labels, list | tuple):
        raise ValueError("it should be a list of labels, or a mapping of what the rows hold to labels")
    truths = all(isinstance(name, bool) for name in labels)
    return {label_text(name): label_text(name) if truths else _name(name) for name in labels}


def _name(name: Any) -> Any:
    return label_text(name) if isinstance(name, int | float) and not isinstance(name, bool) else name


LabelNames = Annotated[
    dict[Text, Text],
    BeforeValidator(_labels_by_value, json_schema_input_type=list[LabelValue] | dict[str, LabelValue]),
]


def _size_or_files(value: Any) -> Any:
    """A number above 0, also as a text, or a text that names files."""
    try:
        size = None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        size = None
    if size is not None and 0 < size < math.inf:
        return size
    if size is None and isinstance(value, str) and value:
        return value
    raise ValueError("it should be a share below 1, a number of rows, or the name of a file or a pattern with *")


SizeOrFiles = Annotated[
    float | str, PlainValidator(_size_or_files, json_schema_input_type=Annotated[float, Field(gt=0)] | Text)
]
