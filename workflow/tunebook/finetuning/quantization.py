"""8-bit and 4-bit weights with bitsandbytes, and the proof that they are there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from transformers import BitsAndBytesConfig
from transformers.quantizers.base import get_keys_to_not_convert

from tunebook.errors import TunebookError
from tunebook.finetuning.matrices import LEAST_SHARE, listed, matrices, parts, share_of
from tunebook.finetuning.names import is_spared
from tunebook.imports import compiled_when_called

with compiled_when_called():  # peft imports it, too, whether or not a run is quantized
    import bitsandbytes  # noqa: F401

COMPUTE_DTYPE = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def quantization_config(quantization: str | None, dtype: str, skip_modules: list[str]) -> BitsAndBytesConfig | None:
    """bitsandbytes' config for `int8` (LLM.int8(), Dettmers et al. 2022) or `nf4` (QLoRA, Dettmers et al. 2023)."""
    if quantization is None:
        return None
    skip = {"llm_int8_skip_modules": skip_modules} if skip_modules else {}
    if quantization == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, **skip)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=COMPUTE_DTYPE[dtype],
        **skip,
    )


def let_falcon_be_quantized() -> None:
    """Make Falcon's linear layers plain ones. transformers 5.23 replaces `nn.Linear` and no subclass of it, and Falcon has
    a subclass that differs in nothing that matters here; without this, int8 and nf4 silently leave Falcon as it is."""
    from transformers.models.falcon import modeling_falcon

    modeling_falcon.FalconLinear = torch.nn.Linear


def keep_nf4_layout(model: torch.nn.Module) -> None:
    """Keep 4-bit layers in the layout that they are trained in. On a CPU with AVX-512 BF16, bitsandbytes 0.50 repacks a layer
    at its first forward pass in eval mode, and the repacked layer has no backward pass: a validation before or within
    training would silently cut the gradient."""
    from bitsandbytes.nn import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False


def own_int8_outputs(model: torch.nn.Module) -> None:
    """Give each int8 layer an output of its own. On a GPU, bitsandbytes 0.50 returns a view of its product, and autograd lets
    nobody change that in place: Falcon, which adds to the output of its MLP, ends in a RuntimeError at its first step."""
    from bitsandbytes.nn import Linear8bitLt

    for module in model.modules():
        if isinstance(module, Linear8bitLt):
            module.register_forward_hook(_copy_of_view)


def _copy_of_view(module: torch.nn.Module, arguments: Any, output: torch.Tensor) -> torch.Tensor:
    return output.clone() if torch.is_grad_enabled() and output._is_view() else output


def spared_modules(model: torch.nn.Module, missing: Iterable[str], skip_modules: Iterable[str]) -> list[str]:
    """The names (see `names.is_spared`) of the layers that quantization leaves alone, for bitsandbytes' `llm_int8_skip_modules`.

    `model`: unquantized, without memory for its weights; `missing`: weights that its files lack. Spared are `skip_modules`,
    the output layer and what is tied to it (transformers' own default, which any value of the argument would replace), and
    new layers: they are trained whole.

    Raises TunebookError where a name of `skip_modules` is that of no layer.
    """
    owners = {name.rpartition(".")[0] for name, parameter in model.named_parameters() if parameter.ndim > 1}
    for name in skip_modules:
        if not any(is_spared(owner, [name]) for owner in owners):
            last = sorted({owner.rpartition(".")[2] for owner in owners})
            raise TunebookError(
                f"skip_modules: found {name}, with which no layer's path starts or ends; allowed: the start of a path, such as "
                f"{min(owners)}, or its end: {', '.join(last)}"
            )
    new = {name.rpartition(".")[0] for name in missing}
    return sorted({*skip_modules, *output_layers(model), *new} - {""})


def output_layers(model: torch.nn.Module) -> set[str]:
    """Paths of the output layer and of what is tied to it. transformers 5.23 names the bias of a classification head, and then
    quantizes its weight: here it names the layer."""
    paths = set()
    for key in get_keys_to_not_convert(model):
        layer = key.removesuffix(".bias")
        paths.add(layer if layer == key or isinstance(model.get_submodule(layer), torch.nn.Linear) else key)
    return paths


def assert_quantized(model: torch.nn.Module, quantization: str | None) -> None:
    """Raise TunebookError unless the layers are quantized that were asked for.

    Each linear layer must be, but for those that `spared_modules` named and those that the architecture keeps in float32
    (T5's `wo`). Matrices outside of linear layers (experts of a mixture) cannot be: unless they are spared by name, they may
    make up at most half of the bytes of all matrix weights.
    """
    from bitsandbytes.nn import Linear4bit, Linear8bitLt

    found = matrices(model)
    quantized = [matrix for matrix in found if matrix.quantized]
    if quantization is None:
        if quantized:
            raise TunebookError(f"found {len(quantized)} quantized layers where none was asked for")
        return
    wanted: Any = {"int8": Linear8bitLt, "nf4": Linear4bit}[quantization]
    spared = getattr(getattr(model, "hf_quantizer", None), "modules_to_not_convert", None) or []
    layers = dict(model.named_modules())
    left = [matrix for matrix in found if not isinstance(layers[matrix.module], wanted)]
    left = [matrix for matrix in left if not is_spared(matrix.module, spared)]
    plain = [matrix.module for matrix in left if isinstance(layers[matrix.module], torch.nn.Linear)]
    if plain or not quantized:
        linear = sum(isinstance(layers[matrix.module], torch.nn.Linear) for matrix in found)
        raise TunebookError(
            f"asked for {quantization}, found {len(quantized)} of {linear} linear layers quantized; left in full "
            f"precision: {listed(plain)}; name them under skip_modules if that is meant"
        )
    share = share_of(left, found)
    if share > 1 - LEAST_SHARE:
        raise TunebookError(
            f"asked for {quantization}, but {share:.0%} of the matrix weights stay in full precision: {listed(parts(left))}. "
            f"bitsandbytes quantizes linear layers, and these are parameters of another kind, such as a mixture's experts. Take "
            "a method without quantization, or name them under skip_modules if that is meant "
            f"(skip_modules: [{left[0].module.rpartition('.')[2]}])"
        )
