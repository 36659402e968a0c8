"""What no single key of a config can tell: dangling references and impossible combinations."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import jinja2
from jinja2 import meta
from jinja2.sandbox import SandboxedEnvironment
from pydantic import BaseModel, TypeAdapter, ValidationError

from tunebook.config import RESERVED_METHOD, Dataset, Lora, Method, Study, Training
from tunebook.wording import nearest, sentence, shown


def cross_problems(raw: Mapping[str, Any]) -> list[str]:
    """Dangling references and impossible combinations, found even where other parts are wrong."""
    models, datasets = _mapping(raw, "models"), _mapping(raw, "datasets")
    methods = _mapping(raw, "methods") if "methods" in raw else _default_methods()
    problems = []
    for name, dataset in datasets.items():
        problems += _dataset_problems(f"datasets.{name}", dataset)
    for name, method in methods.items():
        if name == RESERVED_METHOD:
            problems.append(f"methods.{name}: reserved for the run that trains nothing; choose another name")
        if method.get("quantization") and not method.get("adapter"):
            problems.append(
                f"methods.{name}: found quantization {method['quantization']} without an adapter; quantized weights "
                "cannot be trained: add adapter: lora, or drop the quantization"
            )
    for name, model in models.items():
        if model.get("encoder_decoder") and model.get("task") != "seq2seq-lm":
            problems.append(
                f"models.{name}.encoder_decoder: found task {shown(model.get('task'))}; an assembled model needs task seq2seq-lm"
            )
    for name, experiment in _mapping(raw, "experiments").items():
        problems += _experiment_problems(f"experiments.{name}", experiment, models, datasets, methods)
    return problems


def _mapping(raw: Mapping[str, Any], key: str) -> dict[str, Mapping[str, Any]]:
    """A section's entries that are mappings; anything else is pydantic's to report."""
    section = raw.get(key)
    section = section if isinstance(section, Mapping) else {}
    return {str(name): value for name, value in section.items() if isinstance(value, Mapping)}


def _default_methods() -> dict[str, Mapping[str, Any]]:
    methods: dict[str, Method] = Study.model_fields["methods"].default
    return {name: method.model_dump() for name, method in methods.items()}


def _dataset_problems(path: str, dataset: Mapping[str, Any]) -> Iterator[str]:
    given = [key for key in ("text", "messages", "completion") if dataset.get(key) is not None]
    if len(given) != 1 and not (not given and dataset.get("label") is not None and dataset.get("prompt") is not None):
        yield (
            f"{path}: found {' and '.join(given) or 'none'} of text, messages, completion; a row is either a text, or "
            "messages, or a prompt with a completion (or with a label)"
        )
    if dataset.get("prompt") is not None and ({"text", "messages"} & set(given)):
        yield f"{path}.prompt: found beside {given[0]}; a prompt goes with a completion or a label"
    if dataset.get("completion") is not None and dataset.get("prompt") is None:
        yield f"{path}.prompt: missing; a completion needs a prompt (a text without a prompt is: text)"
    for key in ("prompt", "completion", "text"):
        if isinstance(dataset.get(key), str):
            yield from _template_problems(f"{path}.{key}", dataset[key])
    if dataset.get("labels") and dataset.get("label") is None:
        yield f"{path}.label: missing; labels are listed, so name the column that holds them"
    if dataset.get("label") is not None and not dataset.get("labels"):
        yield f"{path}.labels: missing; list the labels that column {shown(dataset['label'])} may hold"
    labels = dataset.get("labels")
    if isinstance(labels, list) and len(set(map(str, labels))) != len(labels):
        yield f"{path}.labels: found a label twice in {labels}; labels differ from each other"
    yield from _format_problems(path, dataset)
    yield from _split_problems(path, dataset.get("split"))


def _template_problems(path: str, template: str) -> Iterator[str]:
    try:
        variables = meta.find_undeclared_variables(SandboxedEnvironment().parse(template))
    except jinja2.TemplateSyntaxError as error:
        yield f"{path}: found {shown(template)}; not a Jinja template: {error.message}"
        return
    if not variables:
        yield f"{path}: found {shown(template)}; it names no column, so that every row would be the same: use {{{{ column }}}}"


def _format_problems(path: str, dataset: Mapping[str, Any]) -> Iterator[str]:
    source, form = dataset.get("source"), dataset.get("format")
    if not isinstance(source, Mapping):
        return
    if source.get("type") == "generated":
        if form is not None:
            yield f"{path}.format: found for a generated source, which needs none; remove it"
        return
    if form is None:
        yield f"{path}.format: missing; say how the rows stand in the files, such as format: {{type: csv}}"
    if not isinstance(form, Mapping):
        return
    if form.get("type") == "delimited":
        yield from (
            f"{path}.format.{key}: missing; delimited text needs it"
            for key in ("delimiter", "names")
            if not form.get(key)
        )
    if form.get("type") == "python" and not form.get("key"):
        yield f"{path}.format.key: missing; name the variable that holds the rows"
    encoding = form.get("encoding")
    if isinstance(encoding, str):
        try:
            "".encode(encoding)
        except LookupError:
            yield f"{path}.format.encoding: found {shown(encoding)}; not an encoding that Python knows, such as utf-8 or latin-1"


def _split_problems(path: str, split: Any) -> Iterator[str]:
    if not isinstance(split, Mapping):
        return
    for key in ("validation", "test"):
        value = split.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 1 and value != math.floor(value):
            yield f"{path}.split.{key}: found {value}; a share below 1 or a whole number of rows"
    shares = [split.get(key, 0.1) for key in ("validation", "test")]
    if all(isinstance(share, int | float) and share < 1 for share in shares) and sum(shares) >= 1:
        yield f"{path}.split: found shares {shares[0]} and {shares[1]}; together they must leave rows to train on"


def _experiment_problems(path, experiment, models, datasets, methods) -> Iterator[str]:
    yield from _reference(f"{path}.model", experiment.get("model"), models, "models")
    yield from _reference(f"{path}.dataset", experiment.get("dataset"), datasets, "datasets")
    names = experiment.get("methods")
    names = [name for name in names if isinstance(name, str)] if isinstance(names, list | tuple) else []
    for index, name in enumerate(names):
        if name == RESERVED_METHOD:
            yield f"{path}.methods.{index}: found base, which every experiment has already; remove it"
        else:
            yield from _reference(f"{path}.methods.{index}", name, methods, "methods")
        if name in names[:index]:
            yield f"{path}.methods.{index}: found {name} a second time; each method once"
    seeds = experiment.get("seeds")
    if isinstance(seeds, list) and len({str(seed) for seed in seeds}) != len(seeds):
        yield f"{path}.seeds: found a seed twice in {seeds}; seeds differ from each other"
    yield from _override_problems(path, experiment, names)
    model = models.get(str(experiment.get("model")), {})
    dataset = datasets.get(str(experiment.get("dataset")), {})
    if model and dataset:
        yield from _combination_problems(path, experiment, model, dataset)


def _reference(path: str, name: Any, section: Mapping[str, Any], where: str) -> Iterator[str]:
    if isinstance(name, str) and name not in section:
        allowed = ", ".join(section) or "none yet"
        yield f"{path}: found {shown(name)}, which {where} does not define{nearest(name, list(section))}; defined: {allowed}"


def _override_problems(path: str, experiment: Mapping[str, Any], names: list[str]) -> Iterator[str]:
    for name, override in _mapping(experiment, "overrides").items():
        if name not in names:
            yield f"{path}.overrides.{name}: not among this experiment's methods{nearest(name, names)}; found: {', '.join(names)}"
        for key, section in (("training", Training), ("adapter", Lora)):
            changed = override.get(key)
            if isinstance(changed, Mapping):
                yield from _section_problems(f"{path}.overrides.{name}.{key}", section, changed)


def _section_problems(path: str, section: type[BaseModel], values: Mapping[str, Any]) -> Iterator[str]:
    """Problems of a part of a section, in the words of the whole."""
    try:
        TypeAdapter(section).validate_python(dict(values))
    except ValidationError as error:
        yield from (f"{path}.{sentence(detail, section)}" for detail in error.errors())


def _combination_problems(path: str, experiment: Mapping, model: Mapping, dataset: Mapping) -> Iterator[str]:
    task = model.get("task")
    if task == "sequence-classification" and dataset.get("label") is None:
        yield (
            f"{path}: found task sequence-classification on data set {experiment['dataset']}, which has no labels; add "
            "label and labels to the data set, or choose a causal-lm or seq2seq-lm model"
        )
    if task == "seq2seq-lm" and dataset.get("completion") is None and dataset.get("label") is None:
        yield (
            f"{path}: found task seq2seq-lm on data set {experiment['dataset']}, which has no prompt and completion; an "
            "encoder-decoder needs both: add them, or choose a causal-lm model"
        )
    training = experiment.get("training")
    training = training if isinstance(training, Mapping) else {}
    if training.get("bf16") and training.get("fp16"):
        yield f"{path}.training: found bf16 and fp16; choose one"
    if task == "seq2seq-lm" and (training.get("fp16") or model.get("dtype") == "float16"):
        yield f"{path}: found float16 for a seq2seq-lm model; T5's activations overflow in it: use bf16 or float32"


def dataset_columns(dataset: Dataset) -> set[str]:
    """Names of the columns that a data set's templates, messages and label refer to."""
    templates = [template for template in (dataset.prompt, dataset.completion, dataset.text) if template]
    parsed = [SandboxedEnvironment().parse(template) for template in templates]
    named = {name for name in (dataset.messages, dataset.label) if name}
    return named.union(*(meta.find_undeclared_variables(tree) for tree in parsed))
