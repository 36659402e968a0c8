"""Programs as JSON: records as lists of their fields, in order, without defaults at the end."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

from tunebook.cost.program import Attention, Block, Call, Made, Op, Program, Size, Stored


def to_json(program: Program) -> str:
    """The program as JSON text."""
    return json.dumps(_bare(program), separators=(",", ":"))


def _bare(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_bare(each) for each in value]
    if not hasattr(value, "__dataclass_fields__"):
        return value
    told = [getattr(value, each.name) for each in fields(value)]
    while told and told[-1] == fields(value)[len(told) - 1].default:
        told.pop()
    return [_bare(each) for each in told]


def from_json(text: str) -> Program:
    """The program of `to_json`. Raises ValueError, TypeError or IndexError where the text is none."""
    calls, blocks, weights, constants, cached, predictions, vocabulary, *names = json.loads(text)
    return Program(
        calls=tuple(Call(block, *told[:1], *(tuple(each) for each in told[1:2]), *told[2:]) for block, *told in calls),
        blocks=tuple(
            Block(tuple(map(_op, ops)), *(tuple(map(_stored, each)) for each in rest)) for ops, *rest in blocks
        ),
        weights=tuple(map(_stored, weights)),
        constants=tuple(map(_made, constants)),
        cached=tuple(map(_made, cached)),
        predictions=Size(*predictions),
        vocabulary=vocabulary,
        **{key: tuple(value) for key, value in zip(("spared", "heads"), names, strict=False)},
    )


def _made(told: list[Any]) -> Made:
    return Made(Size(*told[0]), *told[1:])


def _stored(told: list[Any]) -> Stored:
    return Stored(told[0], tuple(told[1]), *told[2:])


def _op(told: list[Any]) -> Op:
    do, inputs, *rest = told
    made = tuple(map(_made, rest[0])) if rest else ()
    kept = (
        tuple(tuple(one if isinstance(one, int) else _made(one) for one in each) for each in rest[1])
        if rest[1:]
        else ()
    )
    shared = tuple(map(_made, rest[2])) if rest[2:] else ()
    attention = _attention(rest[8]) if rest[8:] else None
    return Op(do, tuple(inputs), made, kept, shared, *rest[3:8], attention=attention)


def _attention(told: list[Any]) -> Attention:
    inputs, scores, rows, *rest = told
    return Attention(tuple(Size(*each) for each in inputs), Size(*scores), Size(*rows), *rest)
