"""What a causal model does after its last layer, applied to chosen positions only, a few hundred of them at a time.

A model's forward pass makes logits of every position, (B, T, V) numbers of which a loss over answers needs a few. Here the
model's body runs as always; its hidden states are kept, those of supervised positions are chosen, and the model's own forward
pass turns them into logits with its body replaced by them. So a bias, a scale, soft-capping, an adapter or quantization of the
head keep their meaning, whatever the architecture.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from tunebook.finetuning.names import positions_at_a_time

PROBED_TOKENS = 16
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 3e-2, torch.float16: 1e-2}  # as a share of the largest logit


@dataclass(frozen=True)
class Hidden:
    """Output of a model's body: `states` (B, T, D), of the chosen positions (N, D); `output`: the body's own record."""

    states: torch.Tensor
    output: Any
    autocast: tuple[str, torch.dtype, bool]  # device, dtype, enabled: what the model's wrapper asked for

    def of(self, chosen: torch.Tensor) -> Hidden:
        """Those where `chosen` (B, T') is true; T' is T, or less by the positions that a prompt adapter puts before."""
        states = self.states[:, self.states.shape[1] - chosen.shape[1] :]
        return Hidden(states[chosen], self.output, self.autocast)


class OutputHead:
    """The head of a causal model `lm` with the submodule `body`. `weights`: those of its parameters that are trained."""

    def __init__(self, lm: torch.nn.Module, body: torch.nn.Module) -> None:
        self.lm, self.body = lm, body
        self.weights: tuple[torch.nn.Parameter, ...] = ()

    def hidden(self, model: torch.nn.Module, inputs: dict[str, Any]) -> Hidden:
        """Run `model` (`lm`, or what wraps it) on `inputs` and keep what its body put out. Raises LookupError where the body
        is not called once, or puts out something else."""
        kept: list[Hidden] = []

        def keep(module: torch.nn.Module, arguments: Any, output: Any) -> None:
            if not hasattr(output, "last_hidden_state"):
                return
            kind = output.last_hidden_state.device.type
            cast = (kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind))
            kept.append(Hidden(output.last_hidden_state, output, cast))

        with self.body.register_forward_hook(keep):
            first = torch.zeros(1, dtype=torch.long, device=inputs["input_ids"].device)
            model(**inputs, logits_to_keep=first)  # logits of the first position, which nobody needs
        if len(kept) != 1:
            raise LookupError(f"{type(self.body).__name__} gave its hidden states {len(kept)} times, not once")
        return kept[0]

    def logits(self, hidden: Hidden) -> torch.Tensor:
        """(N, D) -> (N, V), by the model's own forward pass."""
        states = hidden.states[None]  # (1, N, D)
        output = copy.copy(hidden.output)
        output["last_hidden_state"] = states
        device, dtype, enabled = hidden.autocast
        with _returning(self.body, output), torch.autocast(device, dtype=dtype, enabled=enabled):
            ids = torch.zeros(states.shape[:2], dtype=torch.long, device=states.device)
            return self.lm(input_ids=ids, use_cache=False).logits[0]

    def losses(self, hidden: Hidden, labels: torch.Tensor) -> torch.Tensor:
        """Negative log-likelihood of `labels` (N,) at the chosen positions (N, D), without a gradient: (N,), float32."""
        parts = [_cross_entropy(self.logits(part), ids, "none") for part, ids in self._chunks(hidden, labels)]
        return torch.cat(parts) if parts else labels.new_zeros(0, dtype=torch.float32)

    def summed_loss(self, hidden: Hidden, labels: torch.Tensor) -> torch.Tensor:
        """The sum of the above, with a gradient. Logits of one chunk are alive at a time: each chunk's gradient is computed
        together with its loss, as in Liger Kernel (Hsu et al. 2024, section 3.2), so that nothing is computed twice."""
        return _SummedLoss.apply(hidden.states, hidden, labels, self, *self.weights)

    def _chunks(self, hidden: Hidden, labels: torch.Tensor) -> Iterator[tuple[Hidden, torch.Tensor]]:
        size = positions_at_a_time(self.lm.config.get_text_config().vocab_size)
        for start in range(0, len(labels), size):
            part = slice(start, start + size)
            yield Hidden(hidden.states[part], hidden.output, hidden.autocast), labels[part]


class _SummedLoss(torch.autograd.Function):
    """Sum of losses; the gradient is ready when the loss is, and the backward pass scales it."""

    @staticmethod
    def forward(ctx: Any, states: torch.Tensor, hidden: Hidden, labels: torch.Tensor, head: OutputHead, *weights: Any):
        total = torch.zeros((), dtype=torch.float32, device=states.device)
        gradients = [torch.zeros_like(weight) for weight in weights]
        of_states = torch.zeros_like(states)
        start = 0
        for part, ids in head._chunks(hidden, labels):
            leaf = part.states.detach().requires_grad_(True)
            with torch.enable_grad():
                loss = _cross_entropy(head.logits(Hidden(leaf, part.output, part.autocast)), ids, "sum")
            of_leaf, *found = torch.autograd.grad(loss, [leaf, *weights])
            of_states[start : start + len(ids)] = of_leaf
            for gradient, more in zip(gradients, found, strict=True):
                gradient += more
            total += loss.detach()
            start += len(ids)
        ctx.save_for_backward(of_states, *gradients)
        return total

    @staticmethod
    def backward(ctx: Any, scale: torch.Tensor):
        of_states, *gradients = ctx.saved_tensors
        return of_states * scale, None, None, None, *(gradient * scale for gradient in gradients)


def _cross_entropy(logits: torch.Tensor, labels: torch.Tensor, reduction: str) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(logits.float(), labels, reduction=reduction)


@contextlib.contextmanager
def _returning(module: torch.nn.Module, output: Any) -> Iterator[None]:
    """Within this block `module` returns `output`, whatever it is called with."""
    had = module.__dict__.get("forward")  # accelerate and others put their own in the instance
    module.forward = lambda *arguments, **options: output
    try:
        yield
    finally:
        del module.forward
        if had is not None:
            module.forward = had


TRIED = "_tunebook_output_head"  # the attribute of a model that keeps what was found


def output_head(model: torch.nn.Module) -> OutputHead | None:
    """The output head of a causal model, or of what wraps one; None where the model's own logits are needed.

    It is tried when first asked for, and again where other parameters are trained than then: a few tokens must give the same
    logits by both ways, or the head is not used.
    """
    unwrapped = getattr(model, "module", model)  # of DistributedDataParallel
    lm = unwrapped.get_base_model() if hasattr(unwrapped, "get_base_model") else unwrapped
    trained = [id(parameter) for parameter in unwrapped.parameters() if parameter.requires_grad]
    if getattr(lm, TRIED, (None, None))[0] != trained:
        setattr(lm, TRIED, (trained, _tried(unwrapped, lm)))
    return getattr(lm, TRIED)[1]


def _tried(model: torch.nn.Module, lm: torch.nn.Module) -> OutputHead | None:
    if "logits_to_keep" not in inspect.signature(type(lm).forward).parameters:
        return None
    was_training = model.training
    model.eval()
    try:
        for body in _bodies(lm):
            head = OutputHead(lm, body)
            if _gives_the_same_logits(head, model):
                head.weights = _trained_weights(head, model)
                return head
    finally:
        model.train(was_training)
    print(f"{type(lm).__name__}: the loss is computed from the logits of all positions", flush=True)
    return None


def _bodies(lm: torch.nn.Module) -> list[torch.nn.Module]:
    """Submodules that may be all of a model but its head; OPT's forward pass calls its decoder, others the base model."""
    named = [getattr(lm, lm.base_model_prefix, None), lm.get_decoder()]
    return [body for body in named if body is not None and body is not lm]


def _probe(lm: torch.nn.Module) -> tuple[dict[str, Any], torch.Tensor]:
    """A few tokens as the model's input, and their places in another order than the model reads them."""
    tokens = min(PROBED_TOKENS, lm.config.get_text_config().vocab_size)
    device = next(lm.parameters()).device
    places = torch.arange(tokens, device=device)
    return {"input_ids": places[None], "use_cache": False}, places.flip(0)


@torch.no_grad()
def _gives_the_same_logits(head: OutputHead, model: torch.nn.Module) -> bool:
    probe, places = _probe(head.lm)
    expected = model(**probe).logits[0, -len(places) :][places].float()  # (T, V)
    try:
        found = head.logits(_at(places, head.hidden(model, probe)))
    except LookupError:
        return False
    if found.shape != expected.shape:
        return False
    limit = TOLERANCE.get(found.dtype, 0.0) * expected.abs().max()
    return bool((found.float() - expected).abs().max() <= limit)


def _at(places: torch.Tensor, hidden: Hidden) -> Hidden:
    return Hidden(hidden.states[0, -len(places) :][places], hidden.output, hidden.autocast)


def _trained_weights(head: OutputHead, model: torch.nn.Module) -> tuple[torch.nn.Parameter, ...]:
    """Parameters of the model that are trained and that its head uses."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        return ()
    probe, places = _probe(head.lm)
    with torch.no_grad():
        hidden = _at(places, head.hidden(model, probe))
    leaf = hidden.states.detach().requires_grad_(True)
    with torch.enable_grad():
        total = head.logits(Hidden(leaf, hidden.output, hidden.autocast)).sum()
    found = torch.autograd.grad(total, trained, allow_unused=True)
    return tuple(p for p, gradient in zip(trained, found, strict=True) if gradient is not None)
