"""8-bit and 4-bit weights with bitsandbytes, and the proof that they are there."""

from __future__ import annotations

from typing import Any

import torch
from transformers import BitsAndBytesConfig

from tunebook.errors import TunebookError
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


def is_quantized(module: torch.nn.Module) -> bool:
    """Whether a layer's weights are in 8 or 4 bits."""
    from bitsandbytes.nn import Linear4bit, Linear8bitLt

    return isinstance(module, Linear8bitLt | Linear4bit)


def assert_quantized(model: torch.nn.Module, quantization: str | None, skip_modules: list[str]) -> None:
    """Raise TunebookError unless the layers are quantized that were asked for.

    Left alone may be the output layer, `skip_modules` and what the architecture keeps in float32 (T5's `wo`).
    """
    from bitsandbytes.nn import Linear4bit, Linear8bitLt

    wanted: Any = {"int8": Linear8bitLt, "nf4": Linear4bit, None: ()}[quantization]
    linear = {name: module for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    quantized = [name for name, module in linear.items() if is_quantized(module)]
    if quantization is None:
        if quantized:
            raise TunebookError(f"found {len(quantized)} quantized layers where none was asked for")
        return
    # what transformers itself leaves alone: skip_modules, the output layer or head, T5's wo (float32 by design)
    kept = [*skip_modules, *(getattr(getattr(model, "hf_quantizer", None), "modules_to_not_convert", None) or [])]
    left = [
        name
        for name, module in linear.items()
        if not isinstance(module, wanted)
        and not any(f".{part}." in f".{name}." or name.startswith(part) for part in kept)
    ]
    if left or not quantized:
        raise TunebookError(
            f"asked for {quantization}, found {len(quantized)} of {len(linear)} linear layers quantized; left in full "
            f"precision: {', '.join(left[:5])}{' ...' if len(left) > 5 else ''}; name them under skip_modules if that is meant"
        )
