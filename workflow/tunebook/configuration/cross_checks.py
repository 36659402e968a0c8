"""What no single key of a config can tell: dangling references and impossible combinations."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping
from typing import Any

import jinja2
from jinja2 import meta
from jinja2.sandbox import SandboxedEnvironment
from pydantic import BaseModel, TypeAdapter, ValidationError

from tunebook.configuration.config import RESERVED_METHOD, Lora, Method, Split, Study, Training
from tunebook.configuration.wording import nearest, sentences, shown
from tunebook.cost.architectures import shipped

RESERVED_STUDIES = ("models", "datasets", "logs", "benchmarks")  # folders below results/ that all studies share
FORMAT_KEYS = {  # format -> what it takes beside its type
    "csv": ("encoding", "delimiter"),
    "tsv": ("encoding",),
    "json": ("encoding", "key", "names"),
    "jsonl": ("encoding",),
    "parquet": (),
    "delimited": ("encoding", "delimiter", "names"),
    "yaml": ("encoding", "key", "names"),
    "python": ("encoding", "key", "names"),
}
SHARED_TRAINING = ("max_length", "max_target_length")  # an experiment's methods read the same tokens
_YES = TypeAdapter(bool)


def cross_problems(raw: Mapping[str, Any]) -> list[str]:
    """Dangling references and impossible combinations, found even where other parts are wrong."""
    models, datasets = _mapping(raw, "models"), _mapping(raw, "datasets")
    methods = _mapping(raw, "methods") if "methods" in raw else _default_methods()
    problems = []
    if raw.get("study") in RESERVED_STUDIES:
        problems.append(
            f"study: found {raw['study']}, a folder below results/ that all studies share; use another name"
        )
    for name, dataset in datasets.items():
        problems += _dataset_problems(f"datasets.{name}", dataset)
    for name, method in methods.items():
        problems += _method_problems(f"methods.{name}", name, method)
    for name, model in models.items():
        if _true(model.get("encoder_decoder")) and model.get("task") != "seq2seq-lm":
            problems.append(
                f"models.{name}.encoder_decoder: found task {shown(model.get('task'))}; an assembled model needs task "
                "seq2seq-lm"
            )
        problems += _architecture_problems(f"models.{name}", model)
    for name, experiment in _mapping(raw, "experiments").items():
        problems += _reference_problems(f"experiments.{name}", experiment, raw)
        problems += _experiment_problems(f"experiments.{name}", experiment, models, datasets, methods)
        problems += _mending_problems(name, _mapping(raw, "experiments"))
    return problems


def _mapping(raw: Mapping[str, Any], key: str) -> dict[str, Mapping[str, Any]]:
    """A section's entries that are mappings; anything else is pydantic's to report."""
    return {str(name): value for name, value in _section(raw, key).items() if isinstance(value, Mapping)}


def _section(raw: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    section = raw.get(key)
    return section if isinstance(section, Mapping) else {}


def _true(value: Any) -> bool:
    """Whether a value says yes, in any of the ways that the config accepts."""
    try:
        return _YES.validate_python(value)
    except ValidationError:
        return False


def _twice(values: Any) -> list[str]:
    """What stands more than once in a list; a list of whatever a file may hold."""
    words = [_word(value) for value in values] if isinstance(values, list) else []
    return [word for index, word in enumerate(words) if word in words[:index]]


def _word(value: Any) -> str:
    """A value as text; true, 1 and 1.0 are the same number to the config."""
    whole = isinstance(value, bool) or (isinstance(value, float) and value.is_integer())
    return str(int(value)) if whole else str(value)


def _default_methods() -> dict[str, Mapping[str, Any]]:
    methods: dict[str, Method] = Study.model_fields["methods"].default
    return {name: method.model_dump() for name, method in methods.items()}


def _method_problems(path: str, name: str, method: Mapping[str, Any]) -> Iterator[str]:
    if name == RESERVED_METHOD:
        yield f"{path}: reserved for the run that trains nothing; choose another name"
    if method.get("quantization") and not method.get("adapter"):
        yield (
            f"{path}: found quantization {shown(method['quantization'])} without an adapter; quantized weights cannot "
            "be trained: add adapter: lora, or drop the quantization"
        )


def _architecture_problems(path: str, model: Mapping[str, Any]) -> Iterator[str]:
    source = _section(model, "source")
    places = {f"{path}.architecture": model.get("architecture")}
    if source.get("type") == "random":
        places[f"{path}.source.architecture"] = source.get("architecture")
        if model.get("architecture") is not None:
            yield f"{path}.architecture: found beside a random source, which names its own; remove it"
    for place, name in places.items():
        if isinstance(name, str) and name and not name.endswith(".json") and name not in shipped():
            yield (
                f"{place}: found {shown(name)}; allowed: {', '.join(shipped())}, or the path of a .json file"
                f"{nearest(name, shipped())}"
            )


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
    for key in ("prompt", "completion", "text", "label"):
        if isinstance(dataset.get(key), str) and (key != "label" or "{{" in dataset[key]):
            yield from _template_problems(f"{path}.{key}", dataset[key])
    yield from _label_problems(path, dataset)
    yield from _format_problems(path, dataset)
    yield from _split_problems(path, _section(dataset, "split"))


def _label_problems(path: str, dataset: Mapping[str, Any]) -> Iterator[str]:
    label, labels = dataset.get("label"), dataset.get("labels")
    if labels and label is None:
        yield f"{path}.label: missing; labels are listed, so name the column that holds them"
    if label is not None and not labels:
        yield f"{path}.labels: missing; list the labels that column {shown(label)} may hold"
    if not isinstance(labels, list):
        return
    for word in _twice(labels):
        yield f"{path}.labels: found {word} twice in {shown(labels)}; labels differ from each other"
    if len(labels) == 1:
        yield f"{path}.labels: found one label, {shown(labels[0])}; there is nothing to tell apart: list two at least"
    for index, word in enumerate(labels):
        if isinstance(word, str) and word != word.strip():
            yield f"{path}.labels.{index}: found {word!r}; rows lose their outer white space, so no label may have it"


def _template_problems(path: str, template: str) -> Iterator[str]:
    environment = SandboxedEnvironment()
    try:
        environment.from_string(template)  # unknown filters and tests come to light only now
        variables = meta.find_undeclared_variables(environment.parse(template)) - set(environment.globals)
    except jinja2.TemplateSyntaxError as error:
        yield f"{path}: found {shown(template)}; not a Jinja template: {error.message}"
        return
    if not variables:
        yield (
            f"{path}: found {shown(template)}; it names no column, so that every row would be the same: use "
            "{{ column }}"
        )


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
    if isinstance(form, Mapping) and isinstance(form.get("type"), str):
        yield from _format_key_problems(f"{path}.format", form["type"], form)


def _format_key_problems(path: str, kind: str, form: Mapping[str, Any]) -> Iterator[str]:
    for key in ("encoding", "delimiter", "names", "key"):
        if form.get(key) and key not in FORMAT_KEYS.get(kind, (key,)):
            takes = f"takes {' and '.join(FORMAT_KEYS[kind])}" if FORMAT_KEYS[kind] else "takes nothing"
            yield f"{path}.{key}: found {shown(form[key])}, but {kind} {takes} beside its type; remove it"
    if kind == "delimited":
        yield from (
            f"{path}.{key}: missing; delimited text needs it" for key in ("delimiter", "names") if not form.get(key)
        )
    if kind == "python" and not form.get("key"):
        yield f"{path}.key: missing; name the variable that holds the rows"
    delimiter, encoding = form.get("delimiter"), form.get("encoding")
    if kind == "csv" and isinstance(delimiter, str) and (len(delimiter) > 1 or delimiter in '"\r\n'):
        yield (
            f"{path}.delimiter: found {delimiter!r}; csv takes one character, not a quote or a line end: or use type "
            "delimited"
        )
    for word in _twice(form.get("names")):
        yield f"{path}.names: found {word} twice; each field has a name of its own"
    if isinstance(encoding, str) and encoding and not _is_encoding(encoding):
        yield f"{path}.encoding: found {shown(encoding)}; not an encoding that Python knows, such as utf-8 or latin-1"


def _is_encoding(name: str) -> bool:
    try:
        codecs.lookup(name)
        return b"a".decode(name) is not None
    except UnicodeDecodeError:  # a real one, of two bytes a character
        return True
    except (LookupError, ValueError):
        return False


def _split_problems(path: str, split: Mapping[str, Any]) -> Iterator[str]:
    sizes = {key: split.get(key, Split.model_fields[key].default) for key in ("validation", "test", "train")}
    numbers = {key: size for key, size in sizes.items() if isinstance(size, int | float) and not isinstance(size, bool)}
    for key, size in numbers.items():
        if size > 1 and size % 1:
            yield f"{path}.split.{key}: found {size}; a share below 1 or a whole number of rows"
    numbers.pop("train", None)
    if len(numbers) == 2 and all(0 < size < 1 for size in numbers.values()) and sum(numbers.values()) >= 1:
        yield (
            f"{path}.split: found shares {sizes['validation']} and {sizes['test']}; together they must leave rows to "
            "train on"
        )


def _reference_problems(path: str, experiment: Mapping[str, Any], raw: Mapping[str, Any]) -> Iterator[str]:
    sections = {key: raw.get(key) for key in ("models", "datasets", "methods")}
    if "methods" not in raw:
        sections["methods"] = _default_methods()
    defined = {key: list(value) if isinstance(value, Mapping) else None for key, value in sections.items()}
    yield from _reference(f"{path}.model", experiment.get("model"), defined["models"], "models")
    yield from _reference(f"{path}.dataset", experiment.get("dataset"), defined["datasets"], "datasets")
    for index, name in enumerate(_methods_of(experiment)):
        if name == RESERVED_METHOD:
            yield f"{path}.methods.{index}: found base, which every experiment has already; remove it"
        else:
            yield from _reference(f"{path}.methods.{index}", name, defined["methods"], "methods")


def _methods_of(experiment: Mapping[str, Any]) -> list[Any]:
    names = experiment.get("methods")
    return names if isinstance(names, list) else []


def _experiment_problems(path, experiment, models, datasets, methods) -> Iterator[str]:
    for name in _twice(_methods_of(experiment)):
        yield f"{path}.methods: found {name} a second time; each method once"
    for seed in _twice(experiment.get("seeds")):
        yield f"{path}.seeds: found {seed} twice in {shown(experiment['seeds'])}; seeds differ from each other"
    yield from _override_problems(path, experiment, methods)
    model = models.get(str(experiment.get("model")), {})
    dataset = datasets.get(str(experiment.get("dataset")), {})
    if model and dataset:
        yield from _combination_problems(path, experiment, model, dataset)
    yield from _precision_problems(path, experiment, model)
    if _section(experiment, "generation").get("memorisation_rows") and model.get("task", "causal-lm") != "causal-lm":
        yield (
            f"{path}.generation.memorisation_rows: found for a {model['task']} model; only causal-lm models complete their "
            "training rows: remove it"
        )
    yield from _gpu_problems(path, experiment)


def _mending_problems(name: str, experiments: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """An experiment can only do better what another one does with the same model."""
    path, mended = f"experiments.{name}.mends", experiments[name].get("mends")
    if not isinstance(mended, str):  # pydantic's to report
        return
    if mended == name:
        yield f"{path}: found {shown(mended)}, the experiment itself; name another one, or remove the key"
        return
    yield from _reference(path, mended, list(experiments), "experiments")
    if mended in experiments and experiments[mended].get("model") != experiments[name].get("model"):
        yield (
            f"{path}: found {shown(mended)}, which has another model ({shown(experiments[mended].get('model'))}); losses of "
            "different models do not compare: give both the same model, or remove the key"
        )


def _reference(path: str, name: Any, names: list[str] | None, where: str) -> Iterator[str]:
    """A name that section `where` does not define. `names`: None where the section itself is broken, and reported."""
    if isinstance(name, str) and names is not None and name not in names:
        allowed = ", ".join(names) or "none yet"
        yield f"{path}: found {shown(name)}, which {where} does not define{nearest(name, names)}; defined: {allowed}"


def _override_problems(path: str, experiment: Mapping, methods: Mapping) -> Iterator[str]:
    names = [str(name) for name in _methods_of(experiment)]
    for name, override in _mapping(experiment, "overrides").items():
        here = f"{path}.overrides.{name}"
        if name not in names:
            listed = ", ".join(names) or "none"
            yield f"{here}: not among this experiment's methods{nearest(name, names)}; found: {listed}"
        for key, section in (("training", Training), ("adapter", Lora)):
            yield from _section_problems(f"{here}.{key}", section, _section(override, key))
        for key in SHARED_TRAINING:
            if key in _section(override, "training"):
                yield (
                    f"{here}.training.{key}: found here, but all methods of an experiment read the same tokens: set it "
                    f"under {path}.training"
                )
        if _section(override, "adapter") and name in methods and not methods[name].get("adapter"):
            yield f"{here}.adapter: found for {name}, which has no adapter; remove it"


def _section_problems(path: str, section: type[BaseModel], values: Mapping[str, Any]) -> Iterator[str]:
    """Problems of a part of a section, in the words of the whole."""
    try:
        TypeAdapter(section).validate_python(dict(values))
    except ValidationError as error:
        yield from (f"{path}.{line}" for line in sentences(error.errors(), section))


def _combination_problems(path: str, experiment: Mapping, model: Mapping, dataset: Mapping) -> Iterator[str]:
    task, name = model.get("task"), experiment["dataset"]
    if task == "sequence-classification" and dataset.get("label") is None:
        yield (
            f"{path}: found task sequence-classification on data set {name}, which has no labels; add label and labels "
            "to the data set, or choose a causal-lm or seq2seq-lm model"
        )
    if task == "seq2seq-lm" and dataset.get("completion") is None and dataset.get("label") is None:
        yield (
            f"{path}: found task seq2seq-lm on data set {name}, which has no prompt and completion; an encoder-decoder "
            "needs both: add them, or choose a causal-lm model"
        )
    if task in ("seq2seq-lm", "sequence-classification") and dataset.get("messages") and dataset.get("label"):
        yield f"{path}: found task {task} on data set {name}, whose rows are conversations; choose a causal-lm model"


def _gpu_problems(path: str, experiment: Mapping) -> Iterator[str]:
    """Several GPUs share the rows of a step; a share is the same for each."""
    gpus, shared = experiment.get("gpus"), _section(experiment, "training")
    if not isinstance(gpus, int) or gpus < 2:
        return
    keys = ("per_device_train_batch_size", "gradient_accumulation_steps")
    told = set()
    for override in ({}, *_mapping(experiment, "overrides").values()):
        training = {**shared, **_section(override, "training")}
        sizes = [training.get(key, Training.model_fields[key].default) for key in keys]
        if all(type(size) is int for size in sizes) and (rows := sizes[0] * sizes[1]) % gpus and rows not in told:
            told.add(rows)
            yield (
                f"{path}.gpus: found {gpus}, which does not divide the {rows} rows of a step ({sizes[0]} "
                f"per_device_train_batch_size x {sizes[1]} gradient_accumulation_steps); each GPU takes the same share"
            )


def _precision_problems(path: str, experiment: Mapping, model: Mapping) -> Iterator[str]:
    """Precisions that do not go together, in an experiment's training arguments and in those of each of its methods."""
    shared = _section(experiment, "training")
    places = {f"{path}.training": shared}
    for name, override in _mapping(experiment, "overrides").items():
        if {"bf16", "fp16"} & set(_section(override, "training")):
            places[f"{path}.overrides.{name}.training"] = {**shared, **_section(override, "training")}
    seq2seq = model.get("task") == "seq2seq-lm"
    for place, training in places.items():
        if _true(training.get("bf16")) and _true(training.get("fp16")):
            yield f"{place}: found bf16 and fp16; choose one"
        if seq2seq and _true(training.get("fp16")):
            yield f"{place}.fp16: found true for a seq2seq-lm model; T5's activations overflow in float16: use bf16"
    if seq2seq and model.get("dtype") == "float16":
        yield (
            f"{path}.model: found a seq2seq-lm model of dtype float16; T5's activations overflow in it: use bfloat16 "
            "or float32"
        )
