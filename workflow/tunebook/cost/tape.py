"""A forward pass on paper: the weights a model has, and the tensors that autograd keeps for the backward pass.

A family (families.py) plays its forward pass on a `Tape`, one call an operation. The tape notes each weight with its
bytes as the method stores it, and each tensor that the operation's derivative needs, once, however many operations
need it. What an operation keeps is PyTorch's own formula for its derivative (tools/autograd/derivatives.yaml) and the
code of peft's and bitsandbytes' layers; a test holds it to the tensors that real models keep.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tunebook.cost.architectures import DTYPE_BYTES

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


@dataclass(eq=False)
class Value:
    """A tensor of the forward pass: its elements, bytes of each, and whether a gradient flows to it."""

    elements: int
    size: int
    grad: bool

    @property
    def bytes(self) -> int:
        return self.elements * self.size


@dataclass(frozen=True)
class Weight:
    """A weight: `shape` (one or two sides), `held_bytes` in training, `trained`, and whether it is a quantized layer's.

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
        rows, *rest = self.shape
        return rows * (rest[0] if rest else 1)


@dataclass
class Tape:
    """Notes weights and kept tensors while a family plays its forward pass."""

    setting: Setting
    weights: list[Weight] = field(default_factory=list)
    kept: dict[int, int] = field(default_factory=dict)  # id of a Value -> bytes
    layers: list[tuple[int, int]] = field(default_factory=list)  # (bytes kept within, bytes of its input)
    half_copies: int = 0  # bytes of weights that autocast copies to half precision
    widest: int = 0  # bytes of the largest tensor between operations
    largest_dequantized: int = 0
    cached: int = 0  # bytes of keys and values that stay while answers are made
    _values: list[Value] = field(default_factory=list)  # alive, so that ids stay unique

    # --- weights

    def weight(self, name: str, *shape: int, linear: bool = False, quantizable: bool = True) -> Weight:
        """Note a weight of the model, as the method holds it."""
        quantized = linear and quantizable and self._is_quantized(name)
        trained = self._is_trained(name)
        elements = shape[0] * (shape[1] if len(shape) > 1 else 1)
        held = _quantized_bytes(self.setting.quantization, *shape) if quantized else elements * self.setting.plain_bytes
        noted = Weight(name, shape, held, trained and self.setting.adapter is None, quantized=quantized)
        self.weights.append(noted)
        if trained and self.setting.adapter is not None:  # modules_to_save and biases: modules_to_save are copies
            if self._is_saved_whole(name):
                self.weights.append(Weight(f"{name} (copy)", shape, elements * FLOAT, True, stored=False))
            else:
                self.weights[-1] = Weight(name, shape, held, True)
        return noted

    def _is_quantized(self, name: str) -> bool:
        left = self.setting.skip_modules
        inside = f".{name}."
        return bool(self.setting.quantization) and not any(f".{part}." in inside for part in left)

    def _is_trained(self, name: str) -> bool:
        adapter = self.setting.adapter
        if adapter is None:
            return True
        return self._is_saved_whole(name) or (adapter["bias"] == "all" and name.endswith("bias"))

    def _is_saved_whole(self, name: str) -> bool:
        parts = name.split(".")
        return self.setting.adapter is not None and any(
            part in parts for part in self.setting.adapter["modules_to_save"]
        )

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

    def keep(self, value: Value, copies: int = 1) -> None:
        """Note that the backward pass needs a tensor (or, where it is new each time, `copies` of its size)."""
        self.kept[id(value)] = value.bytes * copies

    def keep_new(self, elements: int, size: int) -> None:
        self.keep(self.value(elements, size, False))

    def embedding(self, name: str, rows: int, width: int, tokens: int) -> Value:
        noted = self.weight(name, rows, width)
        return self.value(tokens * width, self.setting.plain_bytes, noted.trained)

    def add(self, left: Value, right: Value) -> Value:
        return self.value(left.elements, max(left.size, right.size), left.grad or right.grad)

    def multiply(self, left: Value, right: Value) -> Value:
        if left.grad or right.grad:
            self.keep(left)
            self.keep(right)
        return self.value(left.elements, max(left.size, right.size), left.grad or right.grad)

    def linear(
        self,
        name: str,
        x: Value,
        width: int,
        out: int,
        *,
        bias: bool = True,
        quantizable: bool = True,
        output: bool = False,
        tied: Weight | None = None,
    ) -> Value:
        """A linear layer `width` -> `out` with the adapter that it may have. `tied`: it shares this weight.

        A trained weight needs its input, a frozen one does not; bitsandbytes' int8 layers hold it all the same.
        """
        setting = self.setting
        noted = tied or self.weight(f"{name}.weight", out, width, linear=True, quantizable=quantizable)
        if bias:
            self.weight(f"{name}.bias", out)
        trained = noted.trained or self._is_saved_whole(name)
        half = setting.mixed and not noted.quantized
        source = self.value(x.elements, HALF, x.grad) if half and x.size > HALF else x
        if half and setting.plain_bytes > HALF:
            self.half_copies += noted.elements * HALF
        if trained or (noted.quantized and setting.quantization == "int8"):
            self.keep(source)
        if noted.quantized:
            self.largest_dequantized = max(self.largest_dequantized, noted.elements * x.size)
        size = HALF if half or (setting.mixed and not setting.gpu and setting.quantization == "int8") else x.size
        made = self.value(x.elements // width * out, size, x.grad or trained)
        return self._with_adapter(name, x, width, out, made) if self.has_adapter(name, output=output) else made

    def _with_adapter(self, name: str, x: Value, width: int, out: int, made: Value) -> Value:
        """LoRA beside a layer: dropout (its mask), A (its input), B (its input, of rank r)."""
        rank, dropout = self.setting.adapter["r"], self.setting.adapter["lora_dropout"]
        for side, shape in (("lora_A", (rank, width)), ("lora_B", (out, rank))):
            self.weights.append(Weight(f"{name}.{side}.weight", shape, shape[0] * shape[1] * FLOAT, True, stored=False))
        taken = x if self.setting.mixed or x.size == FLOAT else self.value(x.elements, FLOAT, x.grad)
        if dropout:
            if taken.grad:
                self.keep_new(x.elements, 1 if self.setting.gpu else taken.size)
            taken = self.value(x.elements, taken.size, taken.grad)
        if self.setting.mixed and taken.size > HALF:
            taken = self.value(x.elements, HALF, taken.grad)
        self.keep(taken)
        self.keep_new(x.elements // width * rank, taken.size)
        made.grad = True
        return made

    def layer_norm(self, name: str, x: Value, width: int, *, bias: bool = True) -> Value:
        noted = self.weight(f"{name}.weight", width)
        if bias:
            self.weight(f"{name}.bias", width)
        size = FLOAT if self.setting.mixed else x.size
        source = x if size == x.size else self.value(x.elements, size, x.grad)
        if x.grad or noted.trained:
            self.keep(source)
            self.keep_new(2 * (x.elements // width), FLOAT)  # mean and reciprocal deviation
        return self.value(x.elements, size, x.grad or noted.trained)

    def rms_norm(self, name: str, x: Value, width: int) -> Value:
        """As transformers writes it out: square, mean, reciprocal root and product, then the weight."""
        noted = self.weight(f"{name}.weight", width)
        source = x if x.size == FLOAT else self.value(x.elements, FLOAT, x.grad)
        if x.grad:
            self.keep(source)
            self.keep_new(x.elements // width, FLOAT)
        if noted.trained:
            self.keep_new(x.elements, x.size)
        return self.value(x.elements, x.size, x.grad or noted.trained)

    def dropout(self, x: Value, share: float) -> Value:
        """A dropout keeps its mask: on a GPU in bytes, on a CPU in the tensor's own precision."""
        if not share:
            return x
        if x.grad:
            self.keep_new(x.elements, 1 if self.setting.gpu else x.size)
        return self.value(x.elements, x.size, x.grad)

    def activation(self, kind: str, x: Value) -> Value:
        """relu keeps its result, silu and gelu their input, gelu_new (four steps in Python) four tensors."""
        made = self.value(x.elements, x.size, x.grad)
        if x.grad:
            self.keep(made if kind == "relu" else x)
            if kind == "gelu_new":
                self.keep_new(3 * x.elements, x.size)
        return made

    def cache(self, *values: Value) -> None:
        """Note keys and values of a decoder's attention, as its projections make them."""
        self.cached += sum(value.bytes for value in values)

    def attention(self, q: Value, k: Value, v: Value, *, scores: int, rows: int, share: float, fused: bool) -> Value:
        """Scaled dot-product attention. A fused kernel keeps queries, keys, values, its result and a figure a row; the
        plain one the scores, and their dropout. A CPU has no fused kernel with dropout.

        `scores`: elements of the score matrices; `rows`: rows of them.
        """
        grad = q.grad or k.grad or v.grad
        made = self.value(q.elements, q.size, grad)
        if not grad:
            return made
        fused = fused and (self.setting.gpu or not share)
        for value in (q, k, v):
            self.keep(value) if fused else self.keep_new(value.elements, FLOAT)
        if fused:
            self.keep(made)
            self.keep_new(rows, FLOAT)
        else:
            self.keep_new(scores, FLOAT)
            if share:
                self.keep_new(scores, 1 if self.setting.gpu else FLOAT)
                self.keep_new(scores, FLOAT)
            self.widest = max(self.widest, scores * FLOAT)
        return made

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


def _quantized_bytes(quantization: str | None, out: int, width: int) -> int:
    """int8 (LLM.int8()): a byte a weight and a float32 scale a row. nf4 with double quantization (QLoRA): half a byte, a
    byte of scale for 64 weights, a float32 for 256 scales, and two tables of 16 and 256 float32."""
    elements = out * width
    if quantization == "int8":
        return elements + FLOAT * out
    blocks = -(-elements // 64)
    return -(-elements // 2) + blocks + FLOAT * (-(-blocks // 256)) + FLOAT * (16 + 256 + 1)
