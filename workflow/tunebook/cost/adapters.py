"""What an adapter of each kind adds to the tape: weights, and what autograd keeps for them. By the code of peft 0.21's layers.

A layer kind has `before` (what becomes of a linear layer's input) and `after` (what becomes of its output).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tunebook.configuration.adapters import PROMPTS
from tunebook.finetuning.names import IA3_TARGETS, is_one_of

if TYPE_CHECKING:
    from tunebook.cost.architectures import Architecture
    from tunebook.cost.tape import Tape, Value

FLOAT, HALF = 4, 2


def has_adapter(adapter: dict[str, Any], layer: str, *, output: bool) -> bool:
    """Whether a linear layer gets an adapter, by peft's rule: `all-linear` means all but the output layer."""
    if adapter["kind"] in ("ln_tuning", *PROMPTS):
        return False
    if adapter["target_modules"] == "all-linear":
        return not output
    return is_one_of(layer, adapter["target_modules"])


def with_default_targets(adapter: dict[str, Any] | None, architecture: Architecture) -> dict[str, Any] | None:
    """IA3's arguments with peft's list for an architecture, where the config leaves it to peft."""
    if adapter is None or adapter["kind"] != "ia3" or adapter["target_modules"] is not None:
        return adapter
    targets, feedforward = IA3_TARGETS.get(architecture.config["model_type"], ((), ()))
    return {**adapter, "target_modules": targets, "feedforward_modules": feedforward}


def before(tape: Tape, layer: str, x: Value, elements: int, width: int) -> Value:
    """The input of a linear layer, of which it takes `elements` in rows of `width`, as an adapter changes it."""
    adapter = tape.setting.adapter
    if adapter["kind"] == "ia3" and is_one_of(layer, adapter["feedforward_modules"]):
        tape.adapter_weight(f"{layer}.ia3_l", 1, width)
        tape.keep(x)
        return tape.value(elements, x.size, True)
    if adapter["kind"] == "oft":
        return _rotated(tape, adapter, layer, x, elements, width)
    return x


def after(
    tape: Tape, layer: str, x: Value, made: Value, elements: int, width: int, out: int, *, quantized: bool
) -> None:
    """The output of a linear layer, with what an adapter adds to it."""
    adapter, kind = tape.setting.adapter, tape.setting.adapter["kind"]
    if kind == "lora":
        _lora(tape, adapter, layer, x, made, elements, width, out, quantized=quantized)
    elif kind == "ia3" and not is_one_of(layer, adapter["feedforward_modules"]):
        tape.adapter_weight(f"{layer}.ia3_l", out, 1)
        tape.keep(made)
    elif kind == "vera":
        _vera(tape, adapter, layer, x, elements, width, out)
    elif kind == "randlora":
        _randlora(tape, adapter, layer, x, elements, width, out)
    made.grad = True


def _lora(
    tape: Tape,
    adapter: dict[str, Any],
    layer: str,
    x: Value,
    made: Value,
    elements: int,
    width: int,
    out: int,
    *,
    quantized: bool,
) -> None:
    """Dropout (its mask), A (its input), B (its input, of rank r).

    DoRA (peft 0.21, tuners/lora/dora.py) has a length for each row of the weight, and keeps what base and LoRA put out; with
    dropout it computes the base's output again, and keeps a quantized weight in full for that."""
    rank, dropout = adapter["r"], adapter["lora_dropout"]
    tape.adapter_weight(f"{layer}.lora_A.weight", rank, width)
    tape.adapter_weight(f"{layer}.lora_B.weight", out, rank)
    taken = _dropped(tape, x, elements, dropout)
    if tape.setting.mixed and taken.size > HALF:
        taken = tape.value(elements, HALF, taken.grad)
    tape.keep(taken)
    tape.keep_new(elements // width * rank, taken.size)
    if adapter["use_dora"]:
        tape.adapter_weight(f"{layer}.lora_magnitude_vector.weight", out)
        tape.keep_new(made.elements, taken.size)
        tape.keep_new(made.elements, taken.size)
        if dropout and quantized and x.grad:
            tape.keep_new(width * out, taken.size)


def _dropped(tape: Tape, x: Value, elements: int, dropout: float) -> Value:
    """The input in the adapter's precision, behind a dropout, which keeps its mask."""
    taken = x if tape.setting.mixed or x.size == FLOAT else tape.value(elements, FLOAT, x.grad)
    if not dropout:
        return taken
    if taken.grad:
        tape.keep_new(elements, 1 if tape.setting.gpu else taken.size)
    return tape.value(elements, taken.size, taken.grad)


def _vera(tape: Tape, adapter: dict[str, Any], layer: str, x: Value, elements: int, width: int, out: int) -> None:
    """b * (B (d * (A x))): the shared A and B are frozen; each trained vector keeps what it is multiplied with."""
    rank = adapter["r"]
    tape.adapter_weight(f"{layer}.vera_lambda_d", rank)
    tape.adapter_weight(f"{layer}.vera_lambda_b", out)
    tape.share("vera_A", rank, width)
    tape.share("vera_B", out, rank)
    taken = _dropped(tape, x, elements, adapter["vera_dropout"])
    size, rows = HALF if tape.setting.mixed else taken.size, elements // width
    tape.keep_new(rows * rank, size)
    tape.keep_new(rows * out, size)
    if tape.setting.mixed:  # copies of both matrices, for the gradient of the input
        tape.keep_new((width + out) * rank, HALF)


def _randlora(tape: Tape, adapter: dict[str, Any], layer: str, x: Value, elements: int, width: int, out: int) -> None:
    """x (B, A) with A scaled by the trained vectors: a matrix as large as the layer's smaller side squared is made at each step,
    and kept, as is its input."""
    rank, small, large = adapter["r"], min(width, out), max(width, out)
    bases = math.ceil(small / rank)
    tape.adapter_weight(f"{layer}.randlora_lambda", rank, bases)
    tape.adapter_weight(f"{layer}.randlora_gamma", bases, small)
    tape.share("randlora_A", rank, 1, small)
    tape.share("randlora_B", large, bases, rank)
    taken = _dropped(tape, x, elements, adapter["randlora_dropout"])
    size, rows, inner = HALF if tape.setting.mixed else taken.size, elements // width, bases * rank
    tape.keep_new(inner * small, size)
    if small == width:
        tape.keep(taken if taken.size == size else tape.value(elements, size, taken.grad))
    else:
        tape.keep_new(rows * inner, size)
    if tape.setting.mixed:  # autocast copies the part of the shared matrix that is used
        tape.keep_new(large * inner, size)


def _rotated(tape: Tape, adapter: dict[str, Any], layer: str, x: Value, elements: int, width: int) -> Value:
    """OFT: each block of inputs by its rotation, which is a series of products of a skew-symmetric matrix."""
    side = adapter["oft_block_size"]
    blocks = 1 if adapter["block_share"] else width // side
    tape.adapter_weight(f"{layer}.oft_R.weight", blocks, side * (side - 1) // 2)
    terms = adapter["num_cayley_neumann_terms"] if adapter["use_cayley_neumann"] else 4
    size = HALF if tape.setting.mixed else FLOAT
    for _ in range(max(1, terms - 1)):  # the powers, and the rotations
        tape.keep_new(blocks * side * side, size)
    tape.keep(x if x.size == size else tape.value(elements, size, x.grad))
    return tape.value(elements, x.size, True)


def added_tokens(adapter: dict[str, Any] | None) -> int:
    """Trained vectors that stand before a row."""
    return adapter["num_virtual_tokens"] if adapter is not None and adapter["kind"] in PROMPTS else 0


def prompt_weights(adapter: dict[str, Any], config: dict[str, Any], task: str) -> dict[str, tuple[int, ...]]:
    """Name -> shape of what a kind that lengthens the input trains, for a model of this config.json."""
    model = config.get("text_config") or config.get("encoder") or config
    dim = next(model[key] for key in ("hidden_size", "n_embd", "d_model", "dim") if key in model)
    parts = 2 if task == "seq2seq-lm" and adapter["kind"] != "prefix_tuning" else 1  # encoder and decoder
    tokens = parts * adapter["num_virtual_tokens"]
    if adapter["kind"] == "prompt_tuning":
        return {"prompt_encoder.embedding.weight": (tokens, dim)}
    wide = adapter["encoder_hidden_size"] or dim
    if adapter["kind"] == "p_tuning":
        return {"prompt_encoder.embedding.weight": (tokens, dim), **_reparameterization(adapter, dim, wide)}
    layers = next(
        model[key]
        for key in ("num_hidden_layers", "num_layers", "n_layer", "n_layers", "decoder_layers")
        if key in model
    )
    if model.get("num_key_value_heads"):
        heads = next(model[key] for key in ("num_attention_heads", "n_head") if key in model)
        dim = (model.get("head_dim") or dim // heads) * model["num_key_value_heads"]
        wide = adapter["encoder_hidden_size"] or dim
    if not adapter["prefix_projection"]:
        return {"prompt_encoder.embedding.weight": (tokens, 2 * layers * dim)}
    shapes = {"prompt_encoder.embedding.weight": (tokens, dim)}
    sizes = {"transform.0": (wide, dim), "transform.2": (2 * layers * dim, wide)}
    for name, (out, width) in sizes.items():
        shapes |= {f"prompt_encoder.{name}.weight": (out, width), f"prompt_encoder.{name}.bias": (out,)}
    return shapes


def _reparameterization(adapter: dict[str, Any], dim: int, wide: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    if adapter["encoder_reparameterization_type"] == "MLP":
        sides = [(wide, dim), (wide, wide), (dim, wide)]
    else:
        sides = [(2 * wide, 2 * wide), (dim, 2 * wide)]
        for number, width in enumerate((dim, 2 * wide)):  # two layers, in both directions, with two biases each
            for way in ("forward", "backward"):
                name = f"prompt_encoder.lstm_head.{number}.{way}"
                shapes |= {
                    f"{name}.input": (4 * wide, width),
                    f"{name}.hidden": (4 * wide, wide),
                    f"{name}.bias": (8 * wide,),
                }
    for number, (out, width) in enumerate(sides):
        name = f"prompt_encoder.mlp_head.{2 * number}"
        shapes |= {f"{name}.weight": (out, width), f"{name}.bias": (out,)}
    return shapes
