"""A forward pass on paper: the weights a model has, and the tensors that autograd keeps for the backward pass.

A `Program` (program.py) is played on a `Tape`, one call an operation. The tape notes each weight with its bytes as the method
stores it, and each tensor that an operation's derivative needs, once, however many operations need it. What a plain operation
keeps stands in the program; linear layers, dropout and attention are played here, for a method, a device and the run's
dropout change what they keep: by the code of peft's and bitsandbytes' layers and of PyTorch's kernels. A test holds it to
the tensors that real models keep.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tunebook.cost.architectures import DTYPE_BYTES
from tunebook.finetuning.names import is_spared

FLOAT = 4  # bytes of a float32
HALF = 2


@dataclass(frozen=True)
class Setting:
    """What of a run decides about bytes.

    `dtype`: of unquantized weights; `adapter`: the run's adapter arguments, None for full finetuning; `mixed`: autocast
    to half precision (bf16 or fp16); `dropout`: of the model, where the run changes it; `gpu`: kernels of a GPU, else of the CPU; `training`: False is a forward pass
    without gradients.
    """

    task: str
    dtype: str
    quantization: str | None
    adapter: dict[str, Any] | None
    mixed: bool
    gpu: bool
    checkpointing: bool = False
    skip_modules: tuple[str, ...] = ()
    dropout: float | None = None
    labels: int = 2

    @property
    def plain_bytes(self) -> int:
        """Bytes of an unquantized weight. peft casts what is left beside quantized layers to float32."""
        return FLOAT if self.quantization else DTYPE_BYTES[self.dtype]


@dataclass(eq=False, slots=True)
class Value:
    """A tensor of the forward pass: its elements, bytes of each, whether a gradient flows to it, and the weight that it is, if it
    is one. `floating`: it holds floating-point numbers."""

    elements: int
    size: int
    grad: bool
    floating: bool = True
    weight: Weight | None = None

    @property
    def bytes(self) -> int:
        return self.elements * self.size


@dataclass(frozen=True)
class Weight:
    """A weight: `shape`, `held_bytes` in training, `trained`, and whether it is a quantized layer's.

    `stored`: whether the model's files hold it (an adapter is new); `as_stored`: whether loading leaves it unquantized.
    """

    name: str
    shape: tuple[int, ...]
    held_bytes: int
    trained: bool
    stored: bool = True
    quantized: bool = False

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


@dataclass
class Tape:
    """Notes weights and kept tensors while a program is played. `spared`: what quantization leaves alone by itself; `heads`:
    modules that are new, and trained whole beside an adapter."""

    setting: Setting
    spared: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()
    weights: list[Weight] = field(default_factory=list)
    kept: dict[int, int] = field(default_factory=dict)  # id of a Value -> bytes
    layers: list[tuple[int, int]] = field(default_factory=list)  # (bytes kept within, bytes of its input)
    half_copies: int = 0  # bytes of weights that autocast copies to half precision
    widest: int = 0  # bytes of the largest tensor between operations
    largest_dequantized: int = 0
    cached: int = 0  # bytes of keys and values that stay while answers are made
    _values: list[Value] = field(default_factory=list)  # alive, so that ids stay unique

    # --- weights

    def weight(self, name: str, *shape: int, linear: bool = False) -> Value:
        """Note a weight of the model, as the method holds it."""
        setting = self.setting
        layer = name.rpartition(".")[0]
        quantized = (
            bool(setting.quantization) and linear and not is_spared(layer, (*setting.skip_modules, *self.spared))
        )
        elements = math.prod(shape)
        held = _quantized_bytes(setting.quantization, *shape) if quantized else elements * setting.plain_bytes
        copied = self._is_saved_whole(name)  # peft trains a copy
        trained = setting.adapter is None or (setting.adapter["bias"] == "all" and name.endswith("bias") and not copied)
        noted = Weight(name, shape, held, trained, quantized=quantized)
        self.weights.append(noted)
        if copied:
            self.weights.append(Weight(f"{name} (copy)", shape, elements * FLOAT, True, stored=False))
        return Value(elements, setting.plain_bytes, trained or copied, weight=noted)

    def _is_saved_whole(self, name: str) -> bool:
        if self.setting.adapter is None:
            return False
        parts = name.split(".")
        return any(part in parts for part in (*self.setting.adapter["modules_to_save"], *self.heads))

    def has_adapter(self, name: str, *, output: bool = False) -> bool:
        """Whether a linear layer gets an adapter, by peft's rule: `all-linear` means all but the output layer."""
        adapter = self.setting.adapter
        if adapter is None or self._is_saved_whole(name):
            return False
        if adapter["target_modules"] == "all-linear":
            return not output
        return any(name == target or name.endswith(f".{target}") for target in adapter["target_modules"])

    # --- operations, each with what its derivative keeps

    def value(self, elements: int, size: int, grad: bool) -> Value:
        made = Value(elements, size, grad)
        self._values.append(made)
        self.widest = max(self.widest, made.bytes)
        return made

    def keep(self, value: Value) -> None:
        """Note that the backward pass needs a tensor; a weight is there anyway."""
        if value.weight is None:
            self.kept[id(value)] = value.bytes

    def keep_new(self, elements: int, size: int) -> None:
        self.keep(self.value(elements, size, False))

    def linear(self, name: str, x: Value, weight: Value, elements: int, width: int, *, output: bool) -> Value:
        """A linear layer over rows of `width`, which makes `elements`, with the adapter that it may have. `output`: it is the
        output layer.

        A trained weight needs its input, a frozen one does not; bitsandbytes' int8 layers hold it all the same.
        """
        setting, noted = self.setting, weight.weight
        out = noted.elements // width
        taken = elements // out * width  # x may be part of a larger tensor
        half = setting.mixed and not noted.quantized
        source = self.value(taken, HALF, x.grad) if half and x.size > HALF else x
        if half and setting.plain_bytes > HALF:
            self.half_copies += noted.elements * HALF
        if weight.grad or (noted.quantized and setting.quantization == "int8"):
            self.keep(source)
        if noted.quantized:
            self.largest_dequantized = max(self.largest_dequantized, noted.elements * x.size)
        size = HALF if half or (setting.mixed and not setting.gpu and setting.quantization == "int8") else x.size
        made = self.value(elements, size, x.grad or weight.grad)
        return self._with_adapter(name, x, taken, width, noted, made) if self.has_adapter(name, output=output) else made

    def _with_adapter(self, name: str, x: Value, elements: int, width: int, base: Weight, made: Value) -> Value:
        """LoRA beside a layer that takes `elements` of x: dropout (its mask), A (its input), B (its input, of rank r).

        DoRA (peft 0.21, tuners/lora/dora.py) has a length for each row of the weight, and keeps what base and LoRA put out; with
        dropout it computes the base's output again, and keeps a quantized weight in full for that."""
        out = base.elements // width
        rank, dropout = self.setting.adapter["r"], self.setting.adapter["lora_dropout"]
        for side, shape in (("lora_A", (rank, width)), ("lora_B", (out, rank))):
            self.weights.append(Weight(f"{name}.{side}.weight", shape, shape[0] * shape[1] * FLOAT, True, stored=False))
        taken = x if self.setting.mixed or x.size == FLOAT else self.value(elements, FLOAT, x.grad)
        if dropout:
            if taken.grad:
                self.keep_new(elements, 1 if self.setting.gpu else taken.size)
            taken = self.value(elements, taken.size, taken.grad)
        if self.setting.mixed and taken.size > HALF:
            taken = self.value(elements, HALF, taken.grad)
        self.keep(taken)
        self.keep_new(elements // width * rank, taken.size)
        if self.setting.adapter["use_dora"]:
            name = f"{name}.lora_magnitude_vector.weight"
            self.weights.append(Weight(name, (out,), out * FLOAT, True, stored=False))
            self.keep_new(made.elements, taken.size)
            self.keep_new(made.elements, taken.size)
            if dropout and base.quantized and x.grad:
                self.keep_new(base.elements, taken.size)
        made.grad = True
        return made

    def dropout(self, x: Value, share: float, elements: int) -> Value:
        """A dropout keeps its mask: on a GPU in bytes, on a CPU in the tensor's own precision."""
        if not share:
            return x
        if x.grad:
            self.keep_new(elements, 1 if self.setting.gpu else x.size)
        return self.value(elements, x.size, x.grad)

    def attention(
        self,
        q: Value,
        k: Value,
        v: Value,
        *,
        sizes: tuple[int, ...],
        made: int,
        scores: int,
        rows: int,
        share: float,
        mask: Value | None,
        fused: bool,
    ) -> Value:
        """Scaled dot-product attention. A fused kernel keeps queries, keys, values, mask, its result and a figure a row; the
        plain one the scores, and their dropout. A CPU has no fused kernel with dropout, and none has a mask that is trained.

        `sizes`: elements of queries, keys and values; `made`: of the result; `scores`: of the score matrices; `rows`: rows of them.
        """
        grad = q.grad or k.grad or v.grad or (mask is not None and mask.grad)
        result = self.value(made, q.size, grad)
        if not grad:
            return result
        fused = fused and (self.setting.gpu or not share) and not (mask is not None and mask.grad)
        for value, elements in zip((q, k, v), sizes, strict=True):
            self.keep(value) if fused else self.keep_new(elements, FLOAT)
        if fused:
            self.keep(result)
            self.keep_new(rows, FLOAT)
            if mask is not None:
                self.keep(mask)
        else:
            self.keep_new(scores, FLOAT)
            if share:
                self.keep_new(scores, 1 if self.setting.gpu else FLOAT)
                self.keep_new(scores, FLOAT)
            self.widest = max(self.widest, scores * FLOAT)
        return result

    @contextmanager
    def layer(self, entry: Value) -> Iterator[None]:
        """A layer that activation checkpointing computes again: only its input stays."""
        before = sum(self.kept.values())
        yield
        self.layers.append((sum(self.kept.values()) - before, entry.bytes))

    @property
    def activation_bytes(self) -> int:
        """Bytes of all tensors that are kept at the end of the forward pass, or at the fullest moment thereafter."""
        total = sum(self.kept.values())
        if not self.setting.checkpointing or not self.layers:
            return total
        inside = sum(kept for kept, _ in self.layers)
        return total - inside + sum(entry for _, entry in self.layers) + max(kept for kept, _ in self.layers)


def _quantized_bytes(quantization: str | None, *shape: int) -> int:
    """int8 (LLM.int8()): a byte a weight and a float32 scale a row. nf4 with double quantization (QLoRA): half a byte, a
    byte of scale for 64 weights, a float32 for 256 scales, and two tables of 16 and 256 float32."""
    elements = math.prod(shape)
    if quantization == "int8":
        return elements + FLOAT * shape[0]
    blocks = -(-elements // 64)
    return -(-elements // 2) + blocks + FLOAT * (-(-blocks // 256)) + FLOAT * (16 + 256 + 1)
