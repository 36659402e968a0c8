"""What no single key of a config can tell: dangling references and impossible combinations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from tunebook.configuration.adapter_checks import combination_problems as adapter_problems
from tunebook.configuration.adapters import ADAPTERS
from tunebook.configuration.config import RESERVED_METHOD, Method, Study, Training
from tunebook.configuration.dataset_checks import dataset_problems
from tunebook.configuration.raw import mapping, section_of, true, twice
from tunebook.configuration.search_checks import search_problems
from tunebook.configuration.styles import styled
from tunebook.configuration.wording import nearest, sentences, shown
from tunebook.cost.architectures import shipped

RESERVED_STUDIES = ("models", "datasets", "logs", "benchmarks", "readme.md")  # below results/, for all studies
SHARED_TRAINING = ("max_length", "max_target_length")  # an experiment's methods read the same tokens


def cross_problems(raw: Mapping[str, Any]) -> list[str]:
    """Dangling references and impossible combinations, found even where other parts are wrong."""
    models, unstyled = mapping(raw, "models"), mapping(raw, "datasets")
    datasets = {name: styled(dataset) for name, dataset in unstyled.items()}
    methods = mapping(raw, "methods") if "methods" in raw else _default_methods()
    problems = []
    if str(raw.get("study")).casefold() in RESERVED_STUDIES:
        problems.append(f"study: found {raw['study']}, which stands below results/ for all studies; use another name")
    for name, dataset in unstyled.items():
        problems += dataset_problems(f"datasets.{name}", dataset)
    for name, method in methods.items():
        problems += _method_problems(f"methods.{name}", name, method)
    for name, model in models.items():
        if true(model.get("encoder_decoder")) and model.get("task") != "seq2seq-lm":
            problems.append(
                f"models.{name}.encoder_decoder: found task {shown(model.get('task'))}; an assembled model needs task "
                "seq2seq-lm"
            )
        problems += _architecture_problems(f"models.{name}", model)
    for name, experiment in mapping(raw, "experiments").items():
        problems += _reference_problems(f"experiments.{name}", experiment, raw)
        problems += _experiment_problems(f"experiments.{name}", experiment, models, datasets, methods)
        problems += _mending_problems(name, mapping(raw, "experiments"))
    return problems


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
    own = section_of(method, "arguments")
    if own and not method.get("adapter"):
        yield f"{path}.arguments: found for a method without an adapter; add adapter: lora, or remove them"
    if method.get("adapter") and method.get("train", "all") != "all":
        yield (
            f"{path}.train: found {shown(method['train'])} beside an adapter, which is what is trained then; remove one of them"
        )
    if kind := _kind(method):
        yield from _section_problems(f"{path}.arguments", ADAPTERS[kind], own)


def _kind(method: Any) -> str | None:
    """The kind of a method's adapter; None where there is none, or none that is known."""
    kind = method.get("adapter") if isinstance(method, Mapping) else None
    return kind if isinstance(kind, str) and kind in ADAPTERS else None


def _architecture_problems(path: str, model: Mapping[str, Any]) -> Iterator[str]:
    source = section_of(model, "source")
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
    for name in twice(_methods_of(experiment)):
        yield f"{path}.methods: found {name} a second time; each method once"
    for seed in twice(experiment.get("seeds")):
        yield f"{path}.seeds: found {seed} twice in {shown(experiment['seeds'])}; seeds differ from each other"
    model = models.get(str(experiment.get("model")), {})
    dataset = datasets.get(str(experiment.get("dataset")), {})

    def argument_problems(path: str, experiment: Mapping[str, Any]) -> Iterator[str]:
        yield from _override_problems(path, experiment, methods)
        yield from adapter_problems(path, experiment, methods)
        yield from _precision_problems(path, experiment, model)
        yield from _gpu_problems(path, experiment)

    yield from argument_problems(path, experiment)
    kinds = {
        name: _kind(methods[name]) for name in _methods_of(experiment) if isinstance(name, str) and name in methods
    }
    yield from search_problems(path, experiment, kinds, argument_problems)
    if model and dataset:
        yield from _combination_problems(path, experiment, model, dataset)
    if section_of(experiment, "generation").get("memorisation_rows") and model.get("task", "causal-lm") != "causal-lm":
        yield (
            f"{path}.generation.memorisation_rows: found for a {model['task']} model; only causal-lm models complete their "
            "training rows: remove it"
        )
    if experiment.get("key_term") is not None and dataset.get("labels"):
        yield f"{path}.key_term: found where rows have labels, which say what is right; remove it"


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
    for name, override in mapping(experiment, "overrides").items():
        here = f"{path}.overrides.{name}"
        if name not in names:
            listed = ", ".join(names) or "none"
            yield f"{here}: not among this experiment's methods{nearest(name, names)}; found: {listed}"
        yield from _section_problems(f"{here}.training", Training, section_of(override, "training"))
        if kind := _kind(methods.get(name)):
            yield from _section_problems(f"{here}.adapter", ADAPTERS[kind], section_of(override, "adapter"))
        for key in SHARED_TRAINING:
            if key in section_of(override, "training"):
                yield (
                    f"{here}.training.{key}: found here, but all methods of an experiment read the same tokens: set it "
                    f"under {path}.training"
                )
        if section_of(override, "adapter") and name in methods and not methods[name].get("adapter"):
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
    gpus, shared = experiment.get("gpus"), section_of(experiment, "training")
    if not isinstance(gpus, int) or gpus < 2:
        return
    keys = ("per_device_train_batch_size", "gradient_accumulation_steps")
    told = set()
    for override in ({}, *mapping(experiment, "overrides").values()):
        training = {**shared, **section_of(override, "training")}
        sizes = [training.get(key, Training.model_fields[key].default) for key in keys]
        if all(type(size) is int for size in sizes) and (rows := sizes[0] * sizes[1]) % gpus and rows not in told:
            told.add(rows)
            yield (
                f"{path}.gpus: found {gpus}, which does not divide the {rows} rows of a step ({sizes[0]} "
                f"per_device_train_batch_size x {sizes[1]} gradient_accumulation_steps); each GPU takes the same share"
            )


def _precision_problems(path: str, experiment: Mapping, model: Mapping) -> Iterator[str]:
    """Precisions that do not go together, in an experiment's training arguments and in those of each of its methods."""
    shared = section_of(experiment, "training")
    places = {f"{path}.training": shared}
    for name, override in mapping(experiment, "overrides").items():
        if {"bf16", "fp16"} & set(section_of(override, "training")):
            places[f"{path}.overrides.{name}.training"] = {**shared, **section_of(override, "training")}
    seq2seq = model.get("task") == "seq2seq-lm"
    for place, training in places.items():
        if true(training.get("bf16")) and true(training.get("fp16")):
            yield f"{place}: found bf16 and fp16; choose one"
        if seq2seq and true(training.get("fp16")):
            yield f"{place}.fp16: found true for a seq2seq-lm model; T5's activations overflow in float16: use bf16"
    if seq2seq and model.get("dtype") == "float16":
        yield (
            f"{path}.model: found a seq2seq-lm model of dtype float16; T5's activations overflow in it: use bfloat16 "
            "or float32"
        )
