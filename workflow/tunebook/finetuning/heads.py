"""Classification heads: which modules they are, where their weights come from, and which class is which label.

What the model's files lack starts at random. So a head is trained whole, saved beside the adapter and never quantized.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tunebook.finetuning.labels import Classes, classes_of
from tunebook.finetuning.pretrained import Loaded, config_of, load_from
from tunebook.records import read_json

POOLER = "pooler"  # transformers' name for a base model's last layer, which masked language models are saved without


@dataclass(frozen=True)
class Head:
    """The head of a classifier, as a run finds it in the model's files.

    `start`: `checkpoint`, the files have it; `new`, they have none; `replaced`, theirs has another number of classes. A new
    head starts at random, and so does one that replaces another. `modules`: the paths of its modules. `labels`: the label of
    each class, in the order of the classes; `matched`: by `name` or by `position`; `checkpoint_labels`: names in the files.
    """

    start: Literal["checkpoint", "new", "replaced"]
    modules: tuple[str, ...]
    labels: tuple[str, ...]
    matched: Literal["name", "position"]
    checkpoint_labels: tuple[str, ...]


def find_head(run: dict[str, Any], folder: Path) -> Head | None:
    """The head of a run's model (run.json), found without reading a weight; None where the run does not classify.

    Raises TunebookError if the files make no classifier.
    """
    if run["task"] != "sequence-classification":
        return None
    classes, config = classes_in(run, folder), config_of(folder)
    name_classes(config, classes)
    loaded = load_from(folder, run["task"], config, device_map={"": "meta"}, ignore_mismatched_sizes=True)
    modules = _modules(loaded)
    ours = [name for name in loaded.at_random if name.startswith(tuple(f"{module}." for module in modules))]
    start = "checkpoint" if not ours else "replaced" if loaded.mismatched.intersection(ours) else "new"
    return Head(start, modules, classes.labels, "name" if classes.by_name else "position", classes.named)


def _modules(loaded: Loaded) -> tuple[str, ...]:
    """All that stands outside of the base model, and the base model's pooler where the files have none."""
    model, base = loaded.model, loaded.model.base_model
    outside = [
        name
        for name, child in model.named_children()
        if child is not base and next(child.parameters(), None) is not None
    ]
    pooler = f"{model.base_model_prefix}.{POOLER}"
    return (*outside, *([pooler] if any(name.startswith(f"{pooler}.") for name in loaded.missing) else []))


def classes_in(run: dict[str, Any], folder: Path) -> Classes:
    """The classes of a run's classifier, after the config.json in `folder`."""
    return classes_of(read_json(Path(folder) / "config.json"), run["dataset"]["labels"])


def name_classes(config: Any, classes: Classes) -> None:
    """Give a classifier's config the study's labels as names of its classes, each row of which has one."""
    config.id2label = dict(enumerate(classes.labels))
    config.label2id = {label: number for number, label in config.id2label.items()}
    config.problem_type = "single_label_classification"
