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

from tunebook.configuration.adapters import PROMPTS
from tunebook.cost import adapters
from tunebook.cost.architectures import DTYPE_BYTES
from tunebook.finetuning.names import is_bias, is_one_of, is_spared

FLOAT = 4  # bytes of a float32
HALF = 2


@dataclass(frozen=True)
class Setting:
    """What of a run decides about bytes.

    `dtype`: of unquantized weights; `adapter`: the run's adapter arguments, `trains`: without one, which weights are trained; `mixed`: autocast
    to half precision (bf16 or fp16); `dropout`: of the model, where the run changes it; `gpu`: kernels of a GPU, else of the CPU; `training`: False is a forward pass
    without gradients.
    """

    task: str
    dtype: str
    quantization: str | None
    adapter: dict[str, Any] | None
    trains: str | None
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
    output: str = ""  # path of the output layer
    norms: set[str] = field(default_factory=set)  # paths of normalisation layers that are trained
    shared: dict[str, tuple[int, ...]] = field(
        default_factory=dict
    )  # name -> shape of random numbers that all layers share
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
        copied = self._is_saved_whole(name) or self._is_copied_norm(name, shape)  # peft trains a copy
        trained = not copied and self._is_trained(name)
        noted = Weight(name, shape, held, trained, quantized=quantized)
        self.weights.append(noted)
        if copied:
            self.weights.append(Weight(f"{name} (copy)", shape, elements * FLOAT, True, stored=False))
        flows = trained or copied or self._starts_a_gradient(name, shape, linear=linear)
        return Value(elements, setting.plain_bytes, flows, weight=noted)

    def _is_trained(self, name: str) -> bool:
        """Whether a weight of the model itself is trained."""
        setting = self.setting
        if setting.adapter is not None:
            return setting.adapter.get("bias") == "all" and is_bias(name)
        if setting.trains == "biases":
            return is_bias(name) or self._is_of(name, self.heads)
        if setting.trains == "head":
            return self._is_of(name, (*self.heads, self.output))
        return True

    def _is_copied_norm(self, name: str, shape: tuple[int, ...]) -> bool:
        """Whether LayerNorm tuning trains a weight: a layer whose weight has one dimension normalises. Its bias follows it."""
        adapter, (layer, _, ending) = self.setting.adapter, name.rpartition(".")
        if adapter is None or adapter["kind"] != "ln_tuning" or len(shape) > 1:
            return False
        if ending == "weight" and (adapter["target_modules"] is None or is_one_of(layer, adapter["target_modules"])):
            self.norms.add(layer)
        return layer in self.norms

    def _starts_a_gradient(self, name: str, shape: tuple[int, ...], *, linear: bool) -> bool:
        """Whether what is looked up in a table has a gradient though the table is frozen: trained vectors stand beside it."""
        adapter = self.setting.adapter
        lengthens = adapter is not None and adapter["kind"] in PROMPTS
        return lengthens and len(shape) == 2 and not linear and "relative" not in name

    def _is_saved_whole(self, name: str) -> bool:
        adapter = self.setting.adapter
        return adapter is not None and self._is_of(name, (*adapter["modules_to_save"], *self.heads))

    def _is_of(self, name: str, modules: tuple[str, ...]) -> bool:
        return any(f".{module}." in f".{name}." for module in modules if module)

    def has_adapter(self, name: str, *, output: bool = False) -> bool:
        """Whether a linear layer gets an adapter."""
        adapter = self.setting.adapter
        return bool(adapter) and not self._is_saved_whole(name) and adapters.has_adapter(adapter, name, output=output)

    def adapter_weight(self, name: str, *shape: int) -> None:
        """Note a trained weight of an adapter."""
        self.weights.append(Weight(name, shape, math.prod(shape) * FLOAT, True, stored=False))

    def share(self, name: str, *shape: int) -> None:
        """Note random numbers that all layers share: a tensor as large as the largest need in each dimension."""
        known = self.shared.get(name, shape)
        self.shared[name] = tuple(max(sides) for sides in zip(known, shape, strict=True))

    @property
    def shared_bytes(self) -> int:
        return sum(math.prod(shape) for shape in self.shared.values()) * FLOAT

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
        adapted, given = self.has_adapter(name, output=output), x
        if adapted:
            x = adapters.before(self, name, x, taken, width)
        half = setting.mixed and not noted.quantized
        source = self.value(taken, HALF, x.grad) if half and x.size > HALF else x
        if half and setting.plain_bytes > HALF:
            self.half_copies += noted.elements * HALF
        if weight.grad or (x.grad and noted.quantized and setting.quantization == "int8"):
            self.keep(source)
        if noted.quantized:
            self.largest_dequantized = max(self.largest_dequantized, noted.elements * x.size)
        size = HALF if half or (setting.mixed and not setting.gpu and setting.quantization == "int8") else x.size
        made = self.value(elements, size, x.grad or weight.grad)
        if adapted:
            adapters.after(self, name, given, made, taken, width, out, quantized=noted.quantized)
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
