"""Models: loaded for a run, with its quantization, and measured."""

from __future__ import annotations

import copy
import logging
import os
import warnings
from pathlib import Path
from typing import Any

import torch
import transformers

from tunebook.errors import TunebookError
from tunebook.finetuning.heads import Head, classes_in, find_head, name_classes
from tunebook.finetuning.matrices import elements_of, is_quantized, shares
from tunebook.finetuning.names import DROPOUTS
from tunebook.finetuning.pretrained import Loaded, config_of, load_from
from tunebook.finetuning.quantization import (
    COMPUTE_DTYPE,
    assert_quantized,
    keep_nf4_layout,
    let_falcon_be_quantized,
    own_int8_outputs,
    quantization_config,
    spared_modules,
)


def quiet_libraries() -> None:
    """Keep libraries' progress bars and advice out of the log, where they would hide what a person looks for."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it says at every step that int8 multiplies in float16
    warnings.filterwarnings("ignore", category=FutureWarning, module="(transformers|peft|bitsandbytes|torch)")
    # peft sets it by itself for GPT-2's layers, whose weights are transposed
    warnings.filterwarnings("ignore", category=UserWarning, message="fan_in_fan_out is set to False")
    # peft 0.21 applies these patterns, which it makes itself for experts, and looks for them among layers only
    warnings.filterwarnings("ignore", category=RuntimeWarning, message="The following (rank|alpha)_pattern keys")
    # peft looks in vain for the in_features of a normalisation layer, which LayerNorm tuning does not need
    warnings.filterwarnings("ignore", category=UserWarning, message="Unsupported layer type .*Norm")
    # peft lets the model count its positions itself: right, for prompts of one length are answered together (generation.py)
    warnings.filterwarnings("ignore", category=UserWarning, message="Position ids are not supported for parameter")


def use_allowed_cores(*, sharers: int = 1) -> None:
    """Compute on every core that this process may run on. Snakemake sets OMP_NUM_THREADS to a rule's threads, which is 1
    under --cores 1: there it means one job at a time. A scheduler's or taskset's limit is kept. `sharers`: processes that
    share the cores."""
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // sharers))


def present_device() -> torch.device:
    """The device that a stage computes on: the first GPU that it may see, or its own of several; else the CPU."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def load_model(run: dict[str, Any], folder: Path, *, dropout: float | None = None) -> torch.nn.Module:
    """The pretrained model of a run (run.json), quantized as the run asks, on the present device.

    Raises TunebookError if the files do not make the model, if its weights do not fit into memory, or if a layer that
    should be quantized is not.
    """
    model_spec, quantization = run["model"], run["quantization"]
    head = find_head(run, folder)
    config = _config(run, folder, dropout)
    if config.model_type == "falcon":
        let_falcon_be_quantized()
    options: dict[str, Any] = {"dtype": COMPUTE_DTYPE[model_spec["dtype"]], "device": present_device()}
    if model_spec["attn_implementation"] is not None:
        options["attn_implementation"] = model_spec["attn_implementation"]
    if quantization:
        spared = _spared(run, folder, config, head)
        options["quantization_config"] = quantization_config(quantization, model_spec["dtype"], spared)
        options["device_map"] = {"": options.pop("device")}
    if head:
        options["ignore_mismatched_sizes"] = head.start == "replaced"
    torch.manual_seed(run["seed"])  # a new head starts at random
    loaded = load_from(folder, run["task"], config, **options)
    _refuse_random_weights(run, loaded, head, folder)
    if quantization:
        keep_nf4_layout(loaded.model)
        own_int8_outputs(loaded.model)
    assert_quantized(loaded.model, quantization)
    return loaded.model


def _spared(run: dict[str, Any], folder: Path, config: Any, head: Head | None) -> list[str]:
    """What quantization leaves alone, found by loading the model without memory for its weights. A head is trained whole."""
    options = {"device_map": {"": "meta"}, "ignore_mismatched_sizes": head is not None}
    outline = load_from(folder, run["task"], copy.deepcopy(config), **options)
    spared = spared_modules(outline.model, outline.at_random, run["model"]["skip_modules"])
    return sorted({*spared, *(head.modules if head else ())})


def _refuse_random_weights(run: dict[str, Any], loaded: Loaded, head: Head | None, folder: Path) -> None:
    """transformers draws weights at random that the files do not have, and only warns. Only a head may start at random."""
    inside = tuple(f"{module}." for module in head.modules) if head else ()
    lost = {name for name in loaded.at_random if not name.startswith(inside)} if inside else loaded.at_random
    if lost:
        raise TunebookError(
            f"{folder}: its files lack {len(lost)} weights of a {run['task']} model, {min(lost)} among them, which would start "
            "at random: fetch it again whole, or name the task that the model was made for"
        )


def _config(run: dict[str, Any], folder: Path, dropout: float | None) -> Any:
    config = config_of(folder)
    if run["task"] == "sequence-classification":
        name_classes(config, classes_in(run, folder))
    if dropout is not None:
        named = [key for key in DROPOUTS if hasattr(config, key)]
        if not named:
            raise TunebookError(
                f"training.dropout: found {dropout}, but a {config.model_type} model has no dropout; set it to null"
            )
        for key in named:
            setattr(config, key, dropout)
    return config


def load_finetuned(run: dict[str, Any], folder: Path, adapter: Path | None) -> torch.nn.Module:
    """A run's model as training published it, ready to score; without an adapter folder the untouched model."""
    if adapter is not None and run["adapter"] is None:
        model = load_model(run, adapter)  # full finetuning publishes the whole model
    else:
        model = load_model(run, folder)
        if adapter is not None:
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, adapter, is_trainable=False)
    return model.eval()


def size_of(model: torch.nn.Module) -> dict[str, Any]:
    """What a model holds: quantized layers, the names that quantization spared, shares of the matrix weights (`matrices.shares`),
    parameters (counted as before quantization), those that are trained, bytes of all weights."""
    parameters = trainable = weight_bytes = 0
    for parameter in model.parameters():
        state = getattr(parameter, "quant_state", None)
        count = elements_of(parameter)
        parameters += count
        trainable += count if parameter.requires_grad else 0
        weight_bytes += parameter.numel() * parameter.element_size()
        weight_bytes += _state_bytes(state)
        scales = getattr(parameter, "SCB", None)
        weight_bytes += scales.numel() * scales.element_size() if isinstance(scales, torch.Tensor) else 0
    weight_bytes += sum(buffer.numel() * buffer.element_size() for buffer in model.buffers())
    quantization = getattr(model.config, "quantization_config", None)
    return {
        "quantized_layers": sum(is_quantized(module) for module in model.modules()),
        "unquantized_modules": list(getattr(quantization, "llm_int8_skip_modules", None) or []),
        **shares(model, trained_whole=trainable == parameters),
        "parameters": parameters,
        "trainable_parameters": trainable,
        "weight_bytes": weight_bytes,
    }


def _state_bytes(state: Any) -> int:
    """Bytes of a 4-bit weight's scales, those of the scales' own quantization included."""
    if state is None:
        return 0
    held = [value for value in vars(state).values() if isinstance(value, torch.Tensor)]
    return sum(value.numel() * value.element_size() for value in held) + _state_bytes(getattr(state, "state2", None))


def optimizer_bytes(optimizer: torch.optim.Optimizer) -> int:
    """Bytes of the optimizer's state."""
    states = (value for state in optimizer.state.values() for value in state.values())
    return sum(value.numel() * value.element_size() for value in states if isinstance(value, torch.Tensor))
