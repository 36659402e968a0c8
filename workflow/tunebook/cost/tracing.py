"""The trace of a model: one forward pass without memory, recorded as a `Program` that needs no torch to be played.

The model runs on fake tensors, which have a shape and no data. Each operation whose result depends on a weight is recorded.
What its derivative keeps is asked of PyTorch itself: the operation runs once more for each of its inputs with a gradient
for that input alone, and saved_tensors_hooks see what is saved. Two passes of different sizes must give one program.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_unflatten
from transformers import AutoConfig, EncoderDecoderConfig
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.pytorch_utils import Conv1D

from tunebook.cost.program import LABELS, Attention, Batch, Block, Call, Made, Op, Program, Size, Stored
from tunebook.errors import TunebookError
from tunebook.finetuning.models import AUTO_CLASSES
from tunebook.finetuning.names import DROPOUTS
from tunebook.finetuning.quantization import let_falcon_be_quantized, output_layers

OWN, EXPLICIT = torch.bfloat16, torch.float32  # a dtype of its own shows where the model's code asks for float32
MARK, MARK_STEP = 0.5, 0.001  # dropout shares that tell which key of the config a dropout follows
FEWEST, MOST = 23, 2048  # tokens to trace with
ROWS = (10_007, 10_009)  # primes, that no side of a weight has as a factor


def trace(config: dict[str, Any], task: str, *, encoder_decoder: bool = False) -> Program:
    """The program of a model of `config` (keys of config.json) with the head of a task.

    Raises TunebookError where the model cannot be traced: its sizes depend on data, or on more than rows and lengths.
    """
    built = _config(config, task, encoder_decoder=encoder_decoder)
    try:
        first, second = (_recorded(built, task, point) for point in (0, 1))
    except TunebookError:
        raise
    except Exception as error:  # whatever a model's code does not do without data
        words = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise TunebookError(
            f"models of type {built.model_type} cannot be traced: {words}; rehearse the run instead"
        ) from None
    if first != second:
        raise TunebookError(
            f"models of type {built.model_type} cannot be traced: the sizes of their tensors do not follow from rows and lengths "
            "alone; rehearse the run instead"
        )
    return first


def _config(config: dict[str, Any], task: str, *, encoder_decoder: bool) -> Any:
    try:
        if encoder_decoder and config["model_type"] != "encoder-decoder":
            encoder, decoder = AutoConfig.for_model(**config), AutoConfig.for_model(**config)
            return EncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
        built = AutoConfig.for_model(**copy.deepcopy(config))
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        words = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise TunebookError(f"models of type {config['model_type']} are not known to transformers: {words}") from None
    if type(built) not in AUTO_CLASSES[task]._model_mapping:
        raise TunebookError(f"models of type {built.model_type} have no head for {task}")
    if task == "sequence-classification":
        built.num_labels = LABELS
    return built


def _recorded(config: Any, task: str, point: int) -> Program:
    """One pass. `point`: which of two sizes it has."""
    config = copy.deepcopy(config)
    marks = {}
    for number, key in enumerate(DROPOUTS):
        if isinstance(getattr(config, key, None), int | float):
            marks[round(MARK + number * MARK_STEP, 6)] = float(getattr(config, key))
            setattr(config, key, MARK + number * MARK_STEP)
    config.pad_token_id = 0 if getattr(config, "pad_token_id", None) is None else config.pad_token_id
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = _built(config, task)
        batch = _sizes(model, config, task, point)
        recorder = Recorder(model, batch, marks, labels=task == "sequence-classification")
        inputs = _inputs(model, batch)
        with torch.enable_grad(), recorder.layers(), recorder:
            logits = model(**inputs, use_cache=False).logits if _caches(model) else model(**inputs).logits
        cached = _cached(model, inputs, recorder) if task != "sequence-classification" else ()
    return recorder.program(logits, cached, _spared(model, task), _heads(model, task))


def _built(config: Any, task: str) -> torch.nn.Module:
    from transformers.initialization import no_init_weights

    if config.model_type == "falcon":
        let_falcon_be_quantized()  # as for training
    with no_init_weights():
        model = AUTO_CLASSES[task].from_config(config, dtype=OWN)
    model.tie_weights()
    head = model.get_output_embeddings()
    if config.tie_word_embeddings is False and head is not None and head.weight is model.get_input_embeddings().weight:
        head.weight = torch.nn.Parameter(torch.empty_like(head.weight))  # as its files have it
    return model.requires_grad_(True).train()


def _sizes(model: torch.nn.Module, config: Any, task: str, point: int) -> Batch:
    """Rows and lengths that are primes and no factor of a weight's side, within the model's positions."""
    sides = {side for parameter in model.parameters() for side in parameter.shape}
    positions = [getattr(part, "max_position_embeddings", None) for part in (config, *_parts(config))]
    most = min([MOST, *(limit for limit in positions if isinstance(limit, int) and limit > FEWEST)])
    primes = [n for n in range(most, FEWEST - 1, -1) if all(n % d for d in range(2, int(n**0.5) + 1))]
    free = [n for n in primes if not any(side % n == 0 for side in sides)]
    clash = any(
        side % n == 0
        for side in sides - {LABELS}
        for n in (*ROWS, LABELS if task == "sequence-classification" else ROWS[0])
    )
    if len(free) < 4 or clash:
        raise TunebookError(
            f"models of type {config.model_type} cannot be traced with {most} positions; rehearse the run instead"
        )
    return Batch(ROWS[point], free[2 * point], free[2 * point + 1])


def _parts(config: Any) -> Iterator[Any]:
    for name in ("encoder", "decoder", "text_config"):
        if hasattr(config, name) and not isinstance(getattr(config, name), int | str | dict | type(None)):
            yield getattr(config, name)


def _inputs(model: torch.nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
    """As the collator makes them: tokens and their mask, and an encoder-decoder's targets."""
    shape = (batch.rows, batch.length)
    inputs = {"input_ids": torch.ones(shape, dtype=torch.long), "attention_mask": torch.ones(shape, dtype=torch.long)}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = torch.ones((batch.rows, batch.target), dtype=torch.long)
    return inputs


def _caches(model: torch.nn.Module) -> bool:
    return hasattr(model.config, "use_cache") or model.config.is_encoder_decoder


@torch.no_grad()
def _cached(model: torch.nn.Module, inputs: dict[str, torch.Tensor], recorder: Recorder) -> tuple[Made, ...]:
    """Keys and values that stay while answers are made."""
    kept = model.eval()(**inputs, use_cache=True).past_key_values
    model.train()
    parts = [kept.self_attention_cache, kept.cross_attention_cache] if model.config.is_encoder_decoder else [kept]
    return tuple(recorder.made(each) for part in parts for layer in part.layers for each in (layer.keys, layer.values))


def _spared(model: torch.nn.Module, task: str) -> tuple[str, ...]:
    """What quantization leaves alone by itself, see finetuning/quantization.py."""
    return tuple(sorted({*output_layers(model), *(model._keep_in_fp32_modules or []), *_heads(model, task)}))


def _heads(model: torch.nn.Module, task: str) -> tuple[str, ...]:
    """Modules beside the pretrained model: they start at random and are trained whole."""
    if task != "sequence-classification":
        return ()
    names = [name for name, child in model.named_children() if any(True for _ in child.parameters())]
    return tuple(sorted(name for name in names if name != model.base_model_prefix))


class Recorder(TorchFunctionMode):
    """Records a forward pass. A value is a storage: views of a tensor are the tensor itself.

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
        fresh = [each for each in outputs if each.requires_grad and _key(each) not in keys]
        if not fresh or not torch.is_grad_enabled():
            return result
        name = getattr(func, "__name__", "")
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
