"""Arguments of an adapter that do not go together, and the reason of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tunebook.configuration.raw import mapping, section_of, true

REWRITES_BASE = ("pissa", "olora")  # values of init_lora_weights that take a part out of the base's weights


def combination_problems(path: str, experiment: Mapping[str, Any], methods: Mapping[str, Any]) -> Iterator[str]:
    """Problems of each method of an experiment, its own arguments and those of the overrides filled in."""
    names = experiment.get("methods")
    for name in names if isinstance(names, list) else []:
        method = methods.get(name) if isinstance(name, str) else None
        if not isinstance(method, Mapping):
            continue
        for problem in _method_problems(experiment, name, method):
            yield f"{path}.methods: found {name}, with {problem}"


def _method_problems(experiment: Mapping[str, Any], name: str, method: Mapping[str, Any]) -> Iterator[str]:
    override, kind = mapping(experiment, "overrides").get(name, {}), method.get("adapter")
    training = {**section_of(experiment, "training"), **section_of(override, "training")}
    shared = section_of(experiment, "adapter") if kind == "lora" else {}
    arguments = {**shared, **section_of(method, "arguments"), **section_of(override, "adapter")}
    if kind == "lora":
        yield from _lora_problems(arguments, method.get("quantization"))
    elif kind == "ia3" and (arguments.get("target_modules") is None) != (arguments.get("feedforward_modules") is None):
        yield (
            "target_modules or feedforward_modules alone: IA3 scales the outputs of the former and the inputs of the latter; "
            "state both (feedforward_modules may be []), or neither"
        )
    elif kind == "prefix_tuning" and true(training.get("activation_checkpointing")):
        yield (
            "prefix_tuning and activation_checkpointing: trained keys and values reach a layer as its cache, which is off where "
            "activations are computed again; take prompt_tuning, or set activation_checkpointing to false"
        )


def _lora_problems(arguments: Mapping[str, Any], quantization: Any) -> Iterator[str]:
    dora, parameters = true(arguments.get("use_dora")), bool(arguments.get("target_parameters"))
    start = arguments.get("init_lora_weights")
    rewrites = isinstance(start, str) and start in REWRITES_BASE
    if dora and quantization == "int8":
        yield (
            "use_dora on int8 weights: DoRA reads the length of each row of a weight, and peft cannot read an int8 weight "
            "that was not used yet; take nf4, or no quantization"
        )
    if rewrites and quantization:
        yield (
            f"init_lora_weights {start} on {quantization} weights: what is left of a weight would be quantized again, and no "
            "adapter of the untouched model computes the same; drop the quantization"
        )
    if rewrites and dora:
        yield (
            f"init_lora_weights {start} and use_dora: the adapter is published for the untouched model, and DoRA's lengths "
            "belong to the changed one; choose one of them"
        )
    if parameters and (dora or rewrites):
        other = "use_dora" if dora else f"init_lora_weights {start}"
        yield f"{other} and target_parameters: peft has this for layers only; name layers under target_modules"
