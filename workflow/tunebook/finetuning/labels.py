"""Labels and classes: which class of a classification head stands for which label of the study. Light: no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Classes:
    """The classes of a classifier. `labels`: the study's label of each class, in the order of the classes; `named`: the
    names that the model's config.json gives to its own classes, in their order; `by_name`: whether these decided the order."""

    labels: tuple[str, ...]
    named: tuple[str, ...]
    by_name: bool


def classes_of(config: Mapping[str, Any], labels: Sequence[str]) -> Classes:
    """Give each label its class. `config`: a model's config.json.

    A finished classifier has an order of its own. Where its `id2label` names just the study's labels (upper and lower case
    alike), that order is kept; else class i is label i.
    """
    id2label = config.get("id2label") or {}
    named = tuple(str(id2label[key]) for key in sorted(id2label, key=int))
    keys = [name.strip().casefold() for name in named]
    spelled = {label.strip().casefold(): label for label in labels}
    if len(spelled) == len(labels) == len(keys) and set(keys) == set(spelled):
        return Classes(tuple(spelled[key] for key in keys), named, by_name=True)
    return Classes(tuple(labels), named, by_name=False)
