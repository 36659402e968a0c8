"""What to change where a run does not fit: single changes that suffice, else the few that do together."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

from tunebook.cost.architectures import Architecture
from tunebook.cost.memory import Estimate, estimate

MOST = 3  # changes to name
SHORTEST = 64  # tokens, below which no shorter max_length is proposed

Change = tuple[str, Callable[[dict[str, Any]], None]]


def advice(run: dict[str, Any], architecture: Architecture, *, gpu: bool, room: int) -> list[str]:
    """At most three changes of a run's config that would make it fit in `room` bytes, with what it then needs.

    Single changes that suffice are alternatives to each other; where none does, one line names those that do together,
    and where not even they do, a line says what the weights alone take.
    """
    alone: dict[str, str] = {}  # what is changed -> the smallest change that suffices
    for words, change in _changes(run):
        found = estimate(_with(run, [change]), architecture, gpu=gpu)
        if found.needed_bytes <= room:
            alone.setdefault(_key(words), f"{words}: {gigabytes(found.needed_bytes)}")
    if alone:
        return list(alone.values())[:MOST]
    return [_together(run, architecture, gpu=gpu, room=room)]


def _together(run: dict[str, Any], architecture: Architecture, *, gpu: bool, room: int) -> str:
    """The changes, the most effective first, until they suffice."""
    left, taken, words = list(_changes(run)), [], []
    found = estimate(run, architecture, gpu=gpu)
    while left and found.needed_bytes > room and len(taken) < MOST:
        tried = [(estimate(_with(run, [*taken, change]), architecture, gpu=gpu), each, change) for each, change in left]
        found, chosen, change = min(tried, key=lambda one: one[0].needed_bytes)
        taken.append(change)
        words.append(chosen)
        left = [one for one in left if _key(one[0]) != _key(chosen)]
    if found.needed_bytes <= room:
        return f"{' and '.join(words)}: {gigabytes(found.needed_bytes)}"
    return (
        f"no change of batch, length or method makes it fit (at best {gigabytes(found.needed_bytes)}; its weights take "
        f"{gigabytes(_weights(found))}): take a smaller model or a larger device"
    )


def _key(words: str) -> str:
    return words.split(":")[0]


def _weights(found: Estimate) -> int:
    return found.weight_bytes + found.adapter_bytes


def _with(run: dict[str, Any], changes: list[Callable[[dict[str, Any]], None]]) -> dict[str, Any]:
    changed = copy.deepcopy(run)
    for change in changes:
        change(changed)
    return changed


def _changes(run: dict[str, Any]) -> Iterator[Change]:
    """Changes in the order of how little they change the experiment."""
    training = run["training"]
    rows, accumulated = training["per_device_train_batch_size"], training["gradient_accumulation_steps"]
    smaller = rows // 2
    while smaller:
        if rows % smaller == 0:
            steps = accumulated * rows // smaller
            values = {"per_device_train_batch_size": smaller, "gradient_accumulation_steps": steps}
            words = f"per_device_train_batch_size: {smaller} with gradient_accumulation_steps: {steps}"
            yield words, _sets(**values)
            if training["per_device_eval_batch_size"] > smaller:  # validation may be what does not fit
                values["per_device_eval_batch_size"] = smaller
                yield f"{words} and per_device_eval_batch_size: {smaller}", _sets(**values)
        smaller //= 2
    if training["per_device_eval_batch_size"] > 1:
        yield "per_device_eval_batch_size: 1", _sets(per_device_eval_batch_size=1)
    if not training["activation_checkpointing"]:
        yield "activation_checkpointing: true", _sets(activation_checkpointing=True)
    for quantization in _quantizations(run["adapter"]):
        if run["quantization"] not in (quantization, "nf4"):
            yield f"method with quantization: {quantization}", _quantizes(quantization)
    if training["max_length"] // 2 >= SHORTEST:
        yield f"max_length: {training['max_length'] // 2}", _sets(max_length=training["max_length"] // 2)


def _quantizations(adapter: dict[str, Any] | None) -> tuple[str, ...]:
    """What may lie beneath an adapter: the config refuses DoRA on int8, and what starts at parts of the weights on either."""
    if adapter is None or adapter.get("init_lora_weights", True) is not True:
        return ()
    return ("nf4",) if adapter.get("use_dora") else ("int8", "nf4")


def _sets(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda run: run["training"].update(values)


def _quantizes(quantization: str) -> Callable[[dict[str, Any]], None]:
    return lambda run: run.update(quantization=quantization)


def gigabytes(size: int | None) -> str:
    """A size as a person reads it, in decimal units: 3.1 GB, 74 MB."""
    if size is None:
        return "?"
    if size < 999_500:
        return f"{size / 1e3:.0f} kB"
    return f"{size / 1e9:.1f} GB" if size >= 999_500_000 else f"{size / 1e6:.0f} MB"
