"""A model's forward pass as a list of operations, with sizes that follow from rows and lengths: recorded once by `tracing.py`,
kept as JSON, and played on a `Tape` for any method and batch. Light: no torch.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from tunebook.cost.tape import FLOAT, Setting, Tape, Value
from tunebook.finetuning.names import positions_at_a_time

LABELS = 1009  # a prime: the side of a classification head that stands for the number of labels


@dataclass(frozen=True)
class Batch:
    """`rows` of `length` tokens; `target`: tokens of an encoder-decoder's target."""

    rows: int
    length: int
    target: int = 0


@dataclass(frozen=True)
class Size:
    """Elements of a tensor: `factor` times powers of the batch's rows, lengths and targets, and of the number of labels."""

    factor: int
    rows: int = 0
    length: int = 0
    target: int = 0
    labels: int = 0

    def of(self, batch: Batch, labels: int) -> int:
        return (
            self.factor
            * batch.rows**self.rows
            * batch.length**self.length
            * batch.target**self.target
            * labels**self.labels
        )


@dataclass(frozen=True)
class Made:
    """A tensor that an operation makes. `kind`: `own` (in the precision of what it is computed from), `float32` (asked for by
    the model's code), or the bytes of an element that is no floating-point number."""

    size: Size
    kind: str = "own"


@dataclass(frozen=True)
class Attention:
    """Scaled dot-product attention: elements of queries, and of keys and values as many heads as queries have, of the
    score matrices, and their rows. `equal_heads`: as many heads of keys as of queries; `mask`: its value, if there is one."""

    inputs: tuple[Size, ...]
    scores: Size
    rows: Size
    equal_heads: bool = True
    mask: int | str | None = None
    bool_mask: bool = False


@dataclass(frozen=True)
class Op:
    """An operation. `do`: operation, layer_norm, cast, dropout, attention, linear; `inputs`: values (numbers) and weights (names);
    `made`: its results; `kept`: for each input what its derivative keeps: values, or tensors that are new; `shared`: new tensors
    that any derivative keeps.

    `share`: of dropout; `settable`: whether `training.dropout` changes it; of a linear layer, `layer`: its path, `width`: of its
    input, `output`: whether it is the output layer.
    """

    do: str
    inputs: tuple[int | str, ...]
    made: tuple[Made, ...] = ()
    kept: tuple[tuple[int | Made, ...], ...] = ()
    shared: tuple[Made, ...] = ()
    share: float = 0.0
    settable: bool = False
    layer: str = ""
    width: int = 0
    output: bool = False
    attention: Attention | None = None


@dataclass(frozen=True)
class Stored:
    """A weight of the model's files. `linear`: a linear layer's, which quantization is for."""

    name: str
    shape: tuple[int, ...]
    linear: bool = False


@dataclass(frozen=True)
class Block:
    """Operations in their order. Values are numbered from 0 as they are made; those from outside are -1, -2, ... Names with a
    dot in front stand below the path that the block is called with."""

    ops: tuple[Op, ...]
    weights: tuple[Stored, ...] = ()


@dataclass(frozen=True)
class Call:
    """A block at its place: `outside`: the values (numbers over the whole pass, from 0; constants from -1 downwards) that it
    takes. `entry`: which of them goes into the layer, of a layer that activation checkpointing computes again."""

    block: int
    prefix: str = ""
    outside: tuple[int, ...] = ()
    entry: int | None = None


@dataclass(frozen=True)
class Program:
    """The forward pass of a model with the head of a task.

    `weights`: those that no block holds; `constants`: tensors that depend on no weight, such as masks; `cached`: keys and
    values of answers; `predictions`: rows of logits over the `vocabulary`; `spared`: what quantization leaves alone by itself;
    `heads`: what starts at random beside a pretrained model.
    """

    calls: tuple[Call, ...]
    blocks: tuple[Block, ...]
    weights: tuple[Stored, ...]
    constants: tuple[Made, ...]
    cached: tuple[Made, ...]
    predictions: Size
    vocabulary: int
    spared: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trace:
    """A tape that was played, and the loss's part: predictions (rows of logits at a time) and the vocabulary they are over."""

    tape: Tape
    predictions: int
    vocabulary: int


def play(program: Program, setting: Setting, batch: Batch) -> Trace:
    """The forward pass of a batch under a setting: weights as the method holds them, tensors as autograd keeps them."""
    tape = Tape(setting, spared=program.spared, heads=program.heads, output=_output_layer(program))
    player = _Player(program, tape, batch)
    for call in program.calls:
        player.run(call)
    tape = player.tape
    tape.cached = sum(player.elements(made.size) for made in program.cached) * setting.plain_bytes
    vocabulary = setting.labels if program.vocabulary == LABELS else program.vocabulary
    predictions = player.elements(program.predictions)
    return Trace(tape, min(predictions, positions_at_a_time(vocabulary)) if player.chunked else predictions, vocabulary)


def _output_layer(program: Program) -> str:
    """The path of the output layer; empty where the program has none."""
    layers = (
        _path(op.layer, call.prefix) for call in program.calls for op in program.blocks[call.block].ops if op.output
    )
    return next(layers, "")


@dataclass
class _Player:
    program: Program
    tape: Tape
    batch: Batch
    values: list[Value] = field(default_factory=list)
    weights: dict[str, Value] = field(default_factory=dict)
    constants: list[Value] = field(default_factory=list)

    def __post_init__(self) -> None:
        plain = self.tape.setting.plain_bytes
        for made in self.program.constants:
            self.constants.append(self.tape.value(self.elements(made.size), _bytes(made, plain), False))
            self.constants[-1].floating = not made.kind.isdigit()
        for stored in self.program.weights:
            self.note(stored, stored.name)

    def elements(self, size: Size) -> int:
        return size.of(self.batch, self.tape.setting.labels)

    def note(self, stored: Stored, name: str) -> None:
        labels = self.tape.setting.labels
        shape = tuple(labels if side == LABELS and self.program.vocabulary == LABELS else side for side in stored.shape)
        self.weights[name] = self.tape.weight(name, *shape, linear=stored.linear)

    def run(self, call: Call) -> None:
        block, start = self.program.blocks[call.block], len(self.values)
        for stored in block.weights:
            self.note(stored, call.prefix + stored.name[1:])

        def value(ref: int | str) -> Value:
            if isinstance(ref, str):
                return self.weights[_path(ref, call.prefix)]
            place = start + ref if ref >= 0 else call.outside[-1 - ref]
            return self.values[place] if place >= 0 else self.constants[-1 - place]

        entry = None if call.entry is None else self.values[call.outside[-1 - call.entry]]
        with nullcontext() if entry is None else self.tape.layer(entry):
            for op in block.ops:
                inputs = [value(ref) for ref in op.inputs]
                if op.do == "linear":
                    made = self.linear(op, inputs, _path(op.layer, call.prefix))
                elif op.do == "attention":
                    mask = None if op.attention.mask is None else value(op.attention.mask)
                    made = self.attention(op, inputs, mask)
                elif op.do == "dropout":
                    made = self.tape.dropout(inputs[0], self.share(op), self.elements(op.made[0].size))
                elif op.do == "cast":
                    made = self.cast(op, inputs)
                else:
                    self.values += self.operation(op, inputs, value)
                    continue
                self.values.append(made)

    def share(self, op: Op) -> float:
        changed = self.tape.setting.dropout
        return op.share if changed is None or not op.settable else changed

    @property
    def chunked(self) -> bool:
        """Whether the loss makes logits a chunk at a time, see finetuning/output_head.py."""
        return self.tape.setting.task == "causal-lm" and self.program.vocabulary != LABELS

    def output_layer(self, op: Op, inputs: list[Value]) -> Value:
        """The logits of one chunk. The loss leaves the gradient of its input, and of the layer's weight where it is trained."""
        x, weight = inputs[:2]
        if x.grad:
            self.tape.keep_new(x.elements, x.size)
        if weight.grad:
            self.tape.keep_new(weight.elements, FLOAT)
        vocabulary = self.program.vocabulary
        made = min(self.elements(op.made[0].size), positions_at_a_time(vocabulary) * vocabulary)
        return self.tape.value(made, x.size, False)

    def linear(self, op: Op, inputs: list[Value], layer: str) -> Value:
        if op.output and self.chunked and not self.tape.has_adapter(layer, output=True):
            return self.output_layer(op, inputs)
        return self.tape.linear(layer, *inputs[:2], self.elements(op.made[0].size), op.width, output=op.output)

    def cast(self, op: Op, inputs: list[Value]) -> Value:
        size = _bytes(op.made[0], self.tape.setting.plain_bytes)
        if inputs[0].size == size:
            return inputs[0]
        return self.tape.value(self.elements(op.made[0].size), size, inputs[0].grad)

    def attention(self, op: Op, inputs: list[Value], mask: Value | None) -> Value:
        told, tape = op.attention, self.tape
        if mask is not None and told.bool_mask and any(each.grad for each in inputs):
            mask = tape.value(mask.elements, inputs[0].size, False)  # the kernels add it to the scores
        made = self.elements(op.made[0].size)
        return tape.attention(
            *inputs,
            sizes=tuple(self.elements(size) for size in told.inputs),
            made=made,
            scores=self.elements(told.scores),
            rows=self.elements(told.rows),
            share=self.share(op),
            mask=mask,
            fused=told.equal_heads,
        )

    def operation(self, op: Op, inputs: list[Value], value: Any) -> list[Value]:
        tape = self.tape
        own = max(each.size for each in inputs if each.floating)
        if op.do == "layer_norm" and tape.setting.mixed and own < FLOAT:  # autocast computes it in float32
            own = FLOAT
            inputs = [tape.value(inputs[0].elements, FLOAT, inputs[0].grad), *inputs[1:]]
        grad = any(each.grad for each in inputs)
        start = len(self.values)
        made = [tape.value(self.elements(each.size), _bytes(each, own), grad) for each in op.made]
        self.values += made  # what is kept may be what is made
        for each, kept in zip(inputs, op.kept, strict=True):
            for one in kept if each.grad else ():
                if isinstance(one, Made):
                    tape.keep_new(self.elements(one.size), _bytes(one, own))
                else:
                    tape.keep(value(one))
        for one in op.shared if grad else ():
            tape.keep_new(self.elements(one.size), _bytes(one, own))
        del self.values[start:]
        return made


def _bytes(made: Made, own: int) -> int:
    return own if made.kind == "own" else FLOAT if made.kind == "float32" else int(made.kind)


def _path(name: str, prefix: str) -> str:
    return prefix + name[1:] if name.startswith(".") else name
