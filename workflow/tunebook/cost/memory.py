"""Bytes of a run, from its spec alone: weights, adapter, gradients, optimizer, activations, and the peak of its phases.

Phases: loading the weights; the end of a forward pass, when all activations and the loss's tensors are there; the end of
the backward pass, when all gradients are; the optimizer's step; validation. The peak is that of the fullest phase.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from tunebook.configuration.adapters import PROMPTS
from tunebook.cost.adapters import added_tokens, prompt_weights, with_default_targets
from tunebook.cost.architectures import Architecture
from tunebook.cost.program import Batch, Program, Trace, play
from tunebook.cost.tape import FLOAT, Setting, Weight
from tunebook.cost.traces import program_of

# What a process holds before it has a model. CPU: resident memory of `tunebook train` with torch, transformers, peft,
# bitsandbytes and datasets as pinned, measured on a model of 0.1 MB (tests/benchmarks/estimate.py measures it again).
# GPU: training.json counts what torch allocates, so nothing; the driver's context comes on top, see CONTEXT_BYTES.
RUNTIME_BYTES = {"cpu": 575_000_000, "gpu": 0}
CONTEXT_BYTES = 600_000_000  # a CUDA context with its kernels, outside of torch's count (torch on an A100 or H100)
SPARE_SHARE = 0.05  # of a GPU, lost to blocks of the caching allocator that no tensor fits
LOSS_COPIES = 3  # float32 tensors of the size of the logits at once: logits, those of supervised tokens, log-softmax
# Bytes of optimizer state for a trained parameter. AdamW keeps two moments in the parameter's precision (Loshchilov &
# Hutter 2019); in 8 bit a byte each and a float32 for 256 of them (Dettmers et al. 2022); SGD without momentum nothing.
SMALLEST_IN_8_BIT = 4096  # elements; bitsandbytes keeps smaller tensors in 32 bit


@dataclass(frozen=True)
class Estimate:
    """Bytes of a run on a device (`cpu` or `gpu`). `peak_bytes` compares with training.json's peak_memory_bytes."""

    run: str
    device: str
    parameters: int
    trainable_parameters: int
    weight_bytes: int
    adapter_bytes: int
    gradient_bytes: int
    optimizer_bytes: int
    activation_bytes: int
    runtime_bytes: int
    load_peak_bytes: int
    train_peak_bytes: int
    validation_peak_bytes: int
    stored_bytes: int

    @property
    def peak_bytes(self) -> int:
        return max(self.load_peak_bytes, self.train_peak_bytes, self.validation_peak_bytes)

    @property
    def needed_bytes(self) -> int:
        """What the device must have: on a GPU the peak, the context, and the share that is lost between blocks."""
        return self.peak_bytes if self.device == "cpu" else int(self.peak_bytes / (1 - SPARE_SHARE)) + CONTEXT_BYTES


def setting_of(run: dict[str, Any], architecture: Architecture, *, gpu: bool) -> Setting:
    """What of a trained run's spec (run.json) decides about bytes in training."""
    training = run["training"]
    return replace(
        _untrained(run, architecture, gpu=gpu),
        mixed=training["bf16"] or training["fp16"],
        checkpointing=training["activation_checkpointing"],
        dropout=training["dropout"],
    )


def _untrained(run: dict[str, Any], architecture: Architecture, *, gpu: bool) -> Setting:
    """What of any run's spec, the untouched model's among them, decides about bytes while nothing is trained."""
    model = run["model"]
    return Setting(
        task=run["task"],
        dtype=model["dtype"],
        quantization=run["quantization"],
        adapter=with_default_targets(run["adapter"], architecture),
        trains=run["trains"],
        mixed=False,
        gpu=gpu,
        skip_modules=tuple(model["skip_modules"]),
        labels=max(2, len(run["dataset"]["labels"])),
    )


def _prompt_weights(run: dict[str, Any], architecture: Architecture) -> list[Weight]:
    """What an adapter trains that is no part of a layer."""
    if run["adapter"] is None or run["adapter"]["kind"] not in PROMPTS:
        return []
    shapes = prompt_weights(run["adapter"], architecture.config, run["task"])
    return [Weight(name, shape, FLOAT * math.prod(shape), True, stored=False) for name, shape in shapes.items()]


def _program(run: dict[str, Any], architecture: Architecture) -> Program:
    return program_of(architecture, run["task"], encoder_decoder=run["model"]["encoder_decoder"])


def batch_of(run: dict[str, Any], rows: int) -> Batch:
    """The largest batch of a run: every row as long as it may be. Vectors that an adapter puts before a row lengthen it; prefix
    tuning's lengthen only keys and values, so that its activations are somewhat fewer than estimated."""
    training = run["training"]
    return Batch(rows, training["max_length"] + added_tokens(run["adapter"]), training["max_target_length"])


def estimate(run: dict[str, Any], architecture: Architecture, *, gpu: bool) -> Estimate:
    """The bytes of a trained run (run.json) of a model of this architecture.

    Raises TunebookError where the architecture was not traced, or cannot be.
    """
    setting, training = setting_of(run, architecture, gpu=gpu), run["training"]
    program = _program(run, architecture)
    trace = play(program, setting, batch_of(run, training["per_device_train_batch_size"]))
    weights = [*trace.tape.weights, *_prompt_weights(run, architecture)]
    base = [weight for weight in weights if weight.stored]
    trained = [weight for weight in weights if weight.trained]
    held = sum(weight.held_bytes for weight in base)
    adapter = sum(weight.held_bytes for weight in weights if not weight.stored) + trace.tape.shared_bytes
    gradients = sum(weight.held_bytes for weight in trained)
    optimizer = sum(_optimizer_bytes(weight, training["optim"]) for weight in trained)
    runtime = RUNTIME_BYTES["gpu" if gpu else "cpu"]
    load, mapped = _loading(base, held, architecture, setting)
    activations = trace.tape.activation_bytes + _loss_bytes(trace)
    fixed = runtime + held + adapter + optimizer + mapped
    accumulates = training["gradient_accumulation_steps"] > 1
    phases = [
        activations + trace.tape.half_copies + (gradients if accumulates else 0),
        trace.tape.activation_bytes + trace.tape.half_copies + _working_bytes(trace),
        gradients + _step_bytes(trained, gpu=gpu),
    ]
    rows = training["per_device_eval_batch_size"]
    seen = play(program, setting, batch_of(run, rows))
    return Estimate(
        run=run["run"],
        device="gpu" if gpu else "cpu",
        parameters=sum(weight.elements for weight in weights),
        trainable_parameters=sum(weight.elements for weight in trained),
        weight_bytes=held,
        adapter_bytes=adapter,
        gradient_bytes=gradients,
        optimizer_bytes=optimizer,
        activation_bytes=activations,
        runtime_bytes=runtime,
        load_peak_bytes=runtime + load,
        train_peak_bytes=fixed + max(phases),
        validation_peak_bytes=fixed + seen.tape.half_copies + max(_loss_bytes(seen), _working_bytes(seen)),
        stored_bytes=_stored_bytes(weights, architecture),
    )


def stored_bytes(run: dict[str, Any], architecture: Architecture) -> int:
    """Bytes of the weights in the model's files. Raises TunebookError as `estimate` does."""
    trace = play(_program(run, architecture), _untrained(run, architecture, gpu=False), Batch(1, 1, 1))
    return _stored_bytes(trace.tape.weights, architecture)


def _stored_bytes(weights: list[Weight], architecture: Architecture) -> int:
    return sum(weight.elements for weight in weights if weight.stored) * architecture.stored_bytes


def inference_bytes(run: dict[str, Any], architecture: Architecture, *, max_length: int, max_target_length: int) -> int:
    """Peak bytes on a CPU of scoring test rows and of making answers with a run's model (run.json, `base` among them).

    The lengths are the experiment's; every row is as long as they allow. Raises TunebookError as `estimate` does.
    """
    generation, setting = run["generation"], _untrained(run, architecture, gpu=False)
    new, added = generation["max_new_tokens"], added_tokens(run["adapter"])
    scored = Batch(generation["batch_size"], max_length + added, max_target_length)
    answered = Batch(
        generation["batch_size"],
        added + max_length * (1 + max(run["few_shot"], default=0)) + (new if run["task"] == "causal-lm" else 0),
        max(max_target_length, new),
    )
    program = _program(run, architecture)
    scoring, answering = (play(program, setting, batch) for batch in (scored, answered))
    base = [weight for weight in scoring.tape.weights if weight.stored]
    held = sum(weight.held_bytes for weight in scoring.tape.weights) + scoring.tape.shared_bytes
    load, mapped = _loading(base, sum(weight.held_bytes for weight in base), architecture, setting)
    work = max(_loss_bytes(scoring), answering.tape.cached + _working_bytes(answering))
    return RUNTIME_BYTES["cpu"] + max(load, held + mapped + work)


def _loss_bytes(trace: Trace) -> int:
    return LOSS_COPIES * FLOAT * trace.predictions * trace.vocabulary


def _working_bytes(trace: Trace) -> int:
    """What a layer in work holds beside what is kept: a quantized weight in full, a tensor in, one out, one between."""
    return trace.tape.largest_dequantized + 3 * trace.tape.widest


def _step_bytes(trained: list[Weight], *, gpu: bool) -> int:
    """Temporary tensors of an optimizer's step: on a GPU for all parameters at once (torch's foreach), else for one."""
    sizes = [weight.held_bytes for weight in trained] or [0]
    return sum(sizes) if gpu else 2 * max(sizes)


def _optimizer_bytes(weight: Weight, optim: str) -> int:
    if optim == "sgd":
        return 0
    if optim == "adafactor":  # Shazeer & Stern 2018: a row and a column of a matrix, else the second moment
        return FLOAT * (sum(weight.shape) if len(weight.shape) > 1 else weight.elements)
    if optim in ("adamw_torch", "adamw_torch_fused"):
        return 2 * weight.held_bytes
    if weight.elements < SMALLEST_IN_8_BIT:
        return 2 * FLOAT * weight.elements
    return 2 * (weight.elements + FLOAT * (-(-weight.elements // 256)))


def _loading(base: list[Weight], held: int, architecture: Architecture, setting: Setting) -> tuple[int, int]:
    """(bytes at the fullest moment of loading, bytes of the file that stay mapped after it).

    safetensors maps the file into memory. On a CPU a weight that is kept as it is stored *is* the file's pages, and one
    such weight keeps the whole mapping: then the pages that quantized weights were read from stay resident too. What is
    converted is read once and copied, and the mapping goes when nothing of it is left; beside quantized layers peft
    converts all that is not float32. On a GPU the file is no memory of the device; one tensor at a time stands beside
    its converted self.
    """
    largest = max(weight.elements for weight in base) * architecture.stored_bytes
    if setting.gpu:
        return held + largest, 0
    read = sum(w.elements for w in base if w.quantized or setting.dtype != architecture.stored_dtype)
    mapped = read if setting.quantization and setting.dtype == architecture.stored_dtype == "float32" else 0
    return held + read * architecture.stored_bytes, mapped * architecture.stored_bytes
