"""Matrix weights: what quantization and adapters are for, and what share of them each reaches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch

from tunebook.errors import TunebookError
from tunebook.finetuning.names import is_bias

OF_ADAPTERS = ("lora_", "ia3_", "vera_", "randlora_", "oft_", "ln_tuning_", "prompt_encoder", "modules_to_save")
LEAST_SHARE = 0.5  # of the bytes of matrix weights, that quantization and `all-linear` must reach


@dataclass(frozen=True)
class Matrix:
    """A weight of two or more dimensions. `module`: path of the layer that holds it, as the untouched model has it; `name`: its
    name there; `elements`: counted as before quantization; `adapted`: an adapter changes it, or a trained copy replaces it."""

    module: str
    name: str
    elements: int
    quantized: bool
    adapted: bool


def is_quantized(module: torch.nn.Module) -> bool:
    """Whether a layer's weights are in 8 or 4 bits."""
    from bitsandbytes.nn import Linear4bit, Linear8bitLt

    return isinstance(module, Linear8bitLt | Linear4bit)


def elements_of(parameter: torch.nn.Parameter) -> int:
    """Elements of a weight. A 4-bit weight packs two values into a byte: its original shape counts."""
    state = getattr(parameter, "quant_state", None)
    return state.shape.numel() if state is not None else parameter.numel()


def matrices(model: torch.nn.Module) -> list[Matrix]:
    """The matrix weights of a model, with or without an adapter: all weights of two or more dimensions but the biases of
    experts; experts and routers of a mixture are among them. The tables of embeddings, what is tied to them, and the output layer do not count."""
    adapted = {id(parameter) for parameter in _adapted(model)}
    seen = {id(parameter) for parameter in _embeddings(model)}
    found = []
    for path, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) in seen or parameter.ndim < 2 or is_bias(name) or _is_of_adapter(path):
                continue
            seen.add(id(parameter))
            found.append(
                Matrix(
                    module=_original(path),
                    name=name,
                    elements=elements_of(parameter),
                    quantized=is_quantized(module),
                    adapted=id(parameter) in adapted,
                )
            )
    return found


def shares(model: torch.nn.Module, *, trained_whole: bool) -> dict[str, float]:
    """The shares of the bytes of all matrix weights (counted as before quantization, where each takes equally many) that are
    quantized and that training changes: by an adapter, by a copy, or, of a model that is `trained_whole`, all."""
    found = matrices(model)
    adapted = 1.0 if trained_whole else share_of([matrix for matrix in found if matrix.adapted], found)
    return {
        "quantized_share": share_of([matrix for matrix in found if matrix.quantized], found),
        "adapted_share": adapted,
    }


def share_of(some: Iterable[Matrix], all_of_them: Iterable[Matrix]) -> float:
    """The share of the matrix weights' bytes that some make up; 0 where there are none."""
    whole = sum(matrix.elements for matrix in all_of_them)
    return sum(matrix.elements for matrix in some) / whole if whole else 0.0


def parts(found: Iterable[Matrix]) -> list[str]:
    """The ends of the matrices' paths, those with the most elements first: `experts.gate_up_proj`."""
    sizes: dict[str, int] = {}
    for matrix in found:
        end = f"{matrix.module.rpartition('.')[2]}.{matrix.name}"
        sizes[end] = sizes.get(end, 0) + matrix.elements
    return sorted(sizes, key=lambda end: -sizes[end])


def listed(names: list[str]) -> str:
    """The first five names."""
    return ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")


def assert_adapted(model: torch.nn.Module) -> None:
    """Raise TunebookError where an adapter for `all-linear` reaches less than half of the matrix weights: experts of a mixture
    are parameters and no linear layers, and peft finds them by name only."""
    found = matrices(model)
    left = [matrix for matrix in found if not matrix.adapted]
    share = 1 - share_of(left, found)
    if share < LEAST_SHARE:
        experts = [f"{matrix.module.rpartition('.')[2]}.{matrix.name}" for matrix in left if matrix.name != "weight"]
        raise TunebookError(
            f"adapter.target_modules: all-linear reaches {share:.0%} of the matrix weights, at least {LEAST_SHARE:.0%} is "
            f"wanted; without an adapter are {listed(parts(left))}. Name parameters under adapter.target_parameters"
            + (f" ([{', '.join(dict.fromkeys(experts))}], with lora_dropout: 0)" if experts else "")
            + ", or list adapter.target_modules if these layers alone are meant"
        )


def _embeddings(model: torch.nn.Module) -> Iterator[torch.nn.Parameter]:
    for module in model.modules():
        if isinstance(module, torch.nn.Embedding):
            yield module.weight
    output = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    if output is not None:
        yield from output.parameters()


def _adapted(model: torch.nn.Module) -> Iterator[torch.nn.Parameter]:
    """The frozen weights that an adapter changes, and those that a trained copy stands for."""
    if not hasattr(model, "peft_config"):
        return
    from peft.tuners.ln_tuning.layer import LNTuningLayer
    from peft.tuners.lora import ParamWrapper
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import ModulesToSaveWrapper

    for module in model.modules():
        if isinstance(module, ParamWrapper):
            yield module.get_param()
        elif isinstance(module, BaseTunerLayer) and not isinstance(module, LNTuningLayer):
            yield module.get_base_layer().weight
        elif isinstance(module, ModulesToSaveWrapper):
            yield from module.original_module.parameters()


def _is_of_adapter(path: str) -> bool:
    return any(part.startswith(OF_ADAPTERS) for part in path.split("."))


def _original(path: str) -> str:
    """A layer's path without what peft puts in between."""
    inner = path.removeprefix("base_model.model.").split(".")
    return ".".join(part for part in inner if part not in ("base_layer", "original_module"))
