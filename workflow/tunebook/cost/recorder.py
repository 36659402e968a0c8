"""What the trace of a model records: operations, the values between them, and what each derivative keeps.

A `Recorder` sees each call of a torch function while the model runs on fake tensors. What depends on no weight is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_unflatten
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.pytorch_utils import Conv1D

from tunebook.cost.program import LABELS, Attention, Batch, Block, Call, Made, Op, Program, Size, Stored
from tunebook.errors import TunebookError

OWN, EXPLICIT = torch.bfloat16, torch.float32  # models are traced in OWN: where their code asks for float32, it shows
# What changes its first tensor makes a new value of the same storage, as the operation beside it does: Falcon adds its
# attention to the output of its MLP so, and without it no gradient would flow past its first layer.
IN_PLACE = {
    "add_": torch.Tensor.add,
    "__iadd__": torch.Tensor.add,
    "sub_": torch.Tensor.sub,
    "__isub__": torch.Tensor.sub,
    "mul_": torch.Tensor.mul,
    "__imul__": torch.Tensor.mul,
    "div_": torch.Tensor.div,
    "__itruediv__": torch.Tensor.div,
}


class Recorder(TorchFunctionMode):
    """Records a forward pass. `marks`: shares of dropout that `training.dropout` changes -> as the model has them. A value is a storage: views of a tensor are the tensor itself.

    `refs`: values are numbered from 0; what depends on no weight is a constant, numbered from -1 downwards; weights have names.
    """

    def __init__(self, model: torch.nn.Module, batch: Batch, marks: dict[float, float], *, labels: bool) -> None:
        super().__init__()
        self.model, self.batch, self.marks, self.labels = model, batch, marks, labels
        self.weights = {_key(parameter): name for name, parameter in model.named_parameters()}
        self.linear = {
            _key(module.weight): (name, module)
            for name, module in model.named_modules()
            if isinstance(module, torch.nn.Linear | Conv1D)
        }
        self.output = model.get_output_embeddings()
        self.refs: dict[int, int] = {}  # storage -> value or constant
        self.count = 0
        self.constants: list[Made] = []
        self.alive: list[torch.Tensor] = []  # so that no storage's address comes back
        self.probed: dict[Any, list[list[Any]]] = {}
        self.parts: list[_Part] = [_Part("", 0)]

    @contextmanager
    def layers(self) -> Iterator[None]:
        """Note where the layers begin and end that activation checkpointing computes again."""
        names = {module: name for name, module in self.model.named_modules()}
        open_layers: list[torch.nn.Module] = []

        def enter(module: torch.nn.Module, args: Any, kwargs: Any) -> None:
            open_layers.append(module)
            if len(open_layers) == 1:
                entry = next(each for each in tree_flatten((args, kwargs))[0] if isinstance(each, torch.Tensor))
                self.parts.append(_Part(f"{names[module]}.", self.count, self.ref(entry)))

        def leave(module: torch.nn.Module, args: Any, result: Any) -> None:
            open_layers.pop()
            if not open_layers:
                self.parts.append(_Part("", self.count))

        layers = [module for module in names if isinstance(module, GradientCheckpointingLayer)]
        hooks = [module.register_forward_pre_hook(enter, with_kwargs=True) for module in layers]
        hooks += [module.register_forward_hook(leave) for module in layers]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    # --- values

    def size(self, elements: int) -> Size:
        powers = []
        for side in (self.batch.rows, self.batch.length, self.batch.target, LABELS if self.labels else 0):
            power = 0
            while side and elements and elements % side == 0:
                elements //= side
                power += 1
            powers.append(power)
        return Size(elements, *powers)

    def made(self, tensor: torch.Tensor) -> Made:
        """A tensor's storage as a record."""
        elements = tensor.untyped_storage().nbytes() // tensor.element_size()
        kind = {OWN: "own", EXPLICIT: "float32"}.get(tensor.dtype, str(tensor.element_size()))
        return Made(self.size(elements), kind)

    def ref(self, tensor: torch.Tensor) -> int | str:
        key = _key(tensor)
        if key in self.weights:
            return self.weights[key]
        if key not in self.refs:
            if tensor.requires_grad:
                raise TunebookError("a tensor comes from an operation that the trace does not see")
            self.alive.append(tensor)
            self.constants.append(self.made(tensor))
            self.refs[key] = -len(self.constants)
        return self.refs[key]

    def new(self, tensor: torch.Tensor) -> Made:
        self.alive.append(tensor)
        self.refs[_key(tensor)] = self.count
        self.count += 1
        return self.made(tensor)

    # --- operations

    def __torch_function__(self, func: Callable, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.rand and args and args[0] in ([], ()):
            return 1.0  # the draw of a layer that may be dropped: it is not
        flat, shape = tree_flatten((args, kwargs))
        tensors = [each for each in flat if isinstance(each, torch.Tensor)]
        keys = {_key(each) for each in tensors}
        result = func(*args, **kwargs)
        outputs = [each for each in tree_flatten(result)[0] if isinstance(each, torch.Tensor)]
        name = getattr(func, "__name__", "")
        func = IN_PLACE.get(name, func)
        fresh = [each for each in outputs if each.requires_grad and (name in IN_PLACE or _key(each) not in keys)]
        if not fresh or not torch.is_grad_enabled():
            return result
        if name == "linear" and _key(tensors[1]) in self.linear:
            self._linear(tensors[0], tensors[1], tensors[2:], fresh[0])
        elif name == "addmm" and _key(tensors[2]) in self.linear:
            self._linear(tensors[1], tensors[2], tensors[:1], fresh[0])
        elif name == "scaled_dot_product_attention":
            self._attention(tensors, args, kwargs, fresh[0])
        elif name == "dropout":
            settable, share = self._share(kwargs.get("p", args[1] if len(args) > 1 else 0.5))
            inputs = (self.ref(tensors[0]),)
            self._add(Op("dropout", inputs, (self.new(fresh[0]),), share=share, settable=settable))
        else:
            self._operation(func, name, flat, shape, fresh)
        return result

    def _add(self, op: Op) -> None:
        self.parts[-1].ops.append(op)

    def _operation(self, func: Callable, name: str, flat: list[Any], shape: Any, fresh: list[Any]) -> None:
        refs = {place: self.ref(each) for place, each in enumerate(flat) if isinstance(each, torch.Tensor)}
        signature = (func, str(shape), tuple(_signature(each) for each in flat))
        if signature not in self.probed:
            self.probed[signature] = self._derivatives(func, flat, shape, list(refs))
        made = tuple(self.new(each) for each in fresh)
        outputs = [self.refs[_key(each)] for each in fresh]
        *found, shared = self.probed[signature]
        kept = []
        for saved in found:
            told = [refs[at] if how == "input" else outputs[at] if how == "output" else at for how, at in saved]
            kept.append(tuple(each for each in told if not isinstance(each, str)))  # weights are there anyway
        do = {"layer_norm": "layer_norm", "to": "cast", "float": "cast", "type_as": "cast"}.get(name, "operation")
        self._add(Op(do, tuple(refs.values()), made, tuple(kept), shared=tuple(made for _, made in shared)))

    def _derivatives(
        self, func: Callable, flat: list[Any], shape: Any, places: list[int]
    ) -> list[list[tuple[str, Any]]]:
        """What the derivative by each input keeps, and, at the end, the new tensors that all of them share, such as a norm's
        mean: with a gradient for all inputs there are fewer of them than for each alone together."""
        trained = [place for place in places if flat[place].requires_grad]
        found = [self._probe(func, flat, shape, [place]) if place in trained else [] for place in places]
        new = [[one for one in each if one[0] == "new"] for each in found]
        together = [one for one in self._probe(func, flat, shape, trained) if one[0] == "new"]
        if len(together) == sum(map(len, new)):
            return [*found, []]
        return [*([one for one in each if one[0] != "new"] for each in found), together]

    def _probe(self, func: Callable, flat: list[Any], shape: Any, places: list[int]) -> list[tuple[str, Any]]:
        """What an operation saves for the derivatives by its inputs at `places`: inputs, outputs, and tensors that are new."""
        fresh = [each.detach() if isinstance(each, torch.Tensor) else each for each in flat]
        for place in places:
            fresh[place].requires_grad_(True)
        inputs = {_key(each): at for at, each in enumerate(fresh) if isinstance(each, torch.Tensor)}
        saved: list[torch.Tensor] = []

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            saved.append(tensor)
            return tensor

        args, kwargs = tree_unflatten(fresh, shape)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            result = func(*args, **kwargs)
        made = [each for each in tree_flatten(result)[0] if isinstance(each, torch.Tensor) and each.requires_grad]
        outputs = {_key(each): at for at, each in enumerate(made)}
        found: dict[int, tuple[str, Any]] = {}
        for tensor in saved:
            key = _key(tensor)
            known = ("input", inputs[key]) if key in inputs else ("output", outputs[key]) if key in outputs else None
            found[key] = known or ("new", self.made(tensor))
        return list(found.values())

    def _linear(self, x: torch.Tensor, weight: torch.Tensor, bias: list[torch.Tensor], result: torch.Tensor) -> None:
        layer, module = self.linear[_key(weight)]
        inputs = tuple(self.ref(each) for each in (x, weight, *bias))
        width = weight.shape[0 if isinstance(module, Conv1D) else 1]
        self._add(Op("linear", inputs, (self.new(result),), layer=layer, width=width, output=module is self.output))

    def _attention(self, tensors: list[torch.Tensor], args: Any, kwargs: Any, result: torch.Tensor) -> None:
        query, key, value = tensors[:3]
        mask = kwargs.get("attn_mask", args[3] if len(args) > 3 else None)
        settable, share = self._share(kwargs.get("dropout_p", args[4] if len(args) > 4 else 0.0))
        rows = query.shape[:-1].numel()
        told = Attention(
            inputs=tuple(self.size(query.shape[:-2].numel() * each.shape[-2:].numel()) for each in (query, key, value)),
            scores=self.size(rows * key.shape[-2]),
            rows=self.size(rows),
            equal_heads=query.shape[1] == key.shape[1],
            mask=None if mask is None else self.ref(mask),
            bool_mask=mask is not None and mask.dtype == torch.bool,
        )
        inputs = tuple(self.ref(each) for each in (query, key, value))
        self._add(Op("attention", inputs, (self.new(result),), share=share, settable=settable, attention=told))

    def _share(self, share: float) -> tuple[bool, float]:
        """(whether it follows `training.dropout`, its share as the model has it)."""
        mark = round(share, 6)
        return (True, self.marks[mark]) if mark in self.marks else (False, share)

    # --- the program

    def program(
        self, logits: torch.Tensor, cached: tuple[Made, ...], spared: tuple[str, ...], heads: tuple[str, ...]
    ) -> Program:
        """What was recorded; layers that are alike are one block."""
        matrices = {
            self.weights[key] for key, (name, _) in self.linear.items() if self.weights[key] == f"{name}.weight"
        }
        left = {n: Stored(n, tuple(p.shape), n in matrices) for n, p in self.model.named_parameters()}
        blocks: dict[Block, int] = {}
        calls = []
        for part in self.parts:
            if part.ops:
                block, outside = part.block(left)
                entry = None if part.entry is None else -1 - outside.index(part.entry)
                calls.append(Call(blocks.setdefault(block, len(blocks)), part.prefix, outside, entry))
        return Program(
            calls=tuple(calls),
            blocks=tuple(blocks),
            weights=tuple(left.values()),
            constants=tuple(self.constants),
            cached=cached,
            predictions=self.size(logits.numel() // logits.shape[-1]),
            vocabulary=logits.shape[-1],
            spared=spared,
            heads=heads,
        )


@dataclass
class _Part:
    """Operations between two borders of layers. `start`: values made before; `entry`: what goes into the layer."""

    prefix: str
    start: int
    entry: int | str | None = None
    ops: list[Op] = field(default_factory=list)

    def block(self, left: dict[str, Stored]) -> tuple[Block, tuple[int, ...]]:
        """The block, and the values that it takes from outside. Takes its own weights out of those that are `left`."""
        outside: dict[int, int] = {} if self.entry is None else {self.entry: -1}
        weights: dict[str, Stored] = {}

        def name(path: str) -> str:
            if not self.prefix or not path.startswith(self.prefix):
                return path
            local = f".{path.removeprefix(self.prefix)}"
            if path in left:
                weights[local] = replace(left.pop(path), name=local)
            return local

        def local(ref: int | str | Made | None) -> Any:
            if ref is None or isinstance(ref, Made):
                return ref
            if isinstance(ref, str):
                return name(ref)
            return ref - self.start if ref >= self.start else outside.setdefault(ref, -1 - len(outside))

        ops = []
        for op in self.ops:
            attention = op.attention and replace(op.attention, mask=local(op.attention.mask))
            kept = tuple(tuple(local(one) for one in each) for each in op.kept)
            inputs = tuple(local(ref) for ref in op.inputs)
            ops.append(replace(op, inputs=inputs, kept=kept, attention=attention, layer=name(op.layer)))
        return Block(tuple(ops), tuple(weights.values())), tuple(outside)


def _key(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _signature(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return (tuple(value.shape), value.stride(), value.dtype, value.requires_grad)
    return repr(value)
