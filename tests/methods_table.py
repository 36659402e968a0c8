"""docs/methods.md: what each way of training does to a tiny model, measured. `python -m tests.methods_table > docs/methods.md`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch

from tests import tiny
from tests.test_scoring import run_for
from tunebook.configuration.adapters import ADAPTERS, adapter_spec
from tunebook.finetuning.adapters import make_trainable
from tunebook.finetuning.models import load_model, quiet_libraries, size_of

LORA = {"r": 4, "lora_dropout": 0.0}
METHODS: dict[str, tuple[str | None, dict[str, Any]]] = {  # name -> kind, arguments
    "LoRA": ("lora", LORA),
    "DoRA": ("lora", LORA | {"use_dora": True}),
    "rsLoRA": ("lora", LORA | {"use_rslora": True}),
    "PiSSA": ("lora", LORA | {"init_lora_weights": "pissa"}),
    "OLoRA": ("lora", LORA | {"init_lora_weights": "olora"}),
    "IA3": ("ia3", {}),
    "VeRA": ("vera", {"r": 16}),
    "RandLoRA": ("randlora", {"r": 8}),
    "OFT": ("oft", {"oft_block_size": 16}),
    "LayerNorm tuning": ("ln_tuning", {}),
    "prompt tuning": ("prompt_tuning", {"num_virtual_tokens": 4}),
    "prefix tuning": ("prefix_tuning", {"num_virtual_tokens": 4}),
    "p-tuning": ("p_tuning", {"num_virtual_tokens": 4, "encoder_hidden_size": 16}),
    "full": (None, {}),
}
FORMULAS = {
    "LoRA": "r (in + out) a layer",
    "DoRA": "LoRA's, and out",
    "rsLoRA": "LoRA's",
    "PiSSA": "LoRA's",
    "OLoRA": "LoRA's",
    "IA3": "out a layer (keys, values), in (last feed-forward layer)",
    "VeRA": "r + out a layer",
    "RandLoRA": "n (r + m) a layer; m = min(in, out), n = m / r rounded up",
    "OFT": "in (b - 1) / 2 a layer; b the block's size",
    "LayerNorm tuning": "weights and biases of normalisation layers",
    "prompt tuning": "tokens x width",
    "prefix tuning": "tokens x 2 x layers x width of keys",
    "p-tuning": "tokens x width, and the network",
    "full": "all",
}
IDS = torch.tensor([[4, 5, 6, 7, 8, 9, 10, 11]])
HEAD = """# Methods

Measured on a Llama of two layers (width 64) by `python -m tests.methods_table`; each method was trained for one step of AdamW with a
learning rate of 0.01. *Start* and *step* are the largest change of a logit against the untouched model, before the first step and after
it. A method that starts at 0 computes what the model computes until it has learnt. PiSSA and OLoRA split a weight in two, whose sum is
the weight up to rounding; what stands before the input changes the output from the start. *not offered*: the config refuses it, and says why.

LoRA+ is LoRA with other learning rates for half of its matrices, so that its row would be LoRA's but for the step. BOFT is not offered:
without a CUDA extension that it compiles, peft 0.21 sets its number of butterfly factors to 1 and only warns.

"""


def measured(folder: Path, name: str, quantization: str | None) -> str:
    """Three cells of a row: trained parameters, start, step."""
    kind, arguments = METHODS[name]
    spec = adapter_spec(kind, arguments) if kind else None
    if not _offered(spec, quantization):
        return "not offered | | "
    run = run_for("llama", quantization) | {"adapter": spec, "trains": None if kind else "all"}
    run |= {"training": {"activation_checkpointing": False, "max_length": 32}}
    with torch.no_grad():
        base = load_model(run_for("llama", quantization), folder).eval()(input_ids=IDS).logits
    torch.manual_seed(0)
    model = make_trainable(load_model(run, folder), run).eval()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    start = _change(model, base)
    optimizer = torch.optim.AdamW(trained, lr=0.01)
    logits = model(input_ids=IDS).logits[0, -IDS.shape[1] :]
    torch.nn.functional.cross_entropy(logits[:-1], IDS[0, 1:]).backward()
    optimizer.step()
    return f"{size_of(model)['trainable_parameters']:,} | {_shown(start)} | {_shown(_change(model, base))}"


def _offered(spec: dict[str, Any] | None, quantization: str | None) -> bool:
    if quantization is None:
        return True
    if spec is None or spec.get("init_lora_weights", True) is not True:
        return False
    return not (spec.get("use_dora") and quantization == "int8")


@torch.no_grad()
def _change(model: torch.nn.Module, base: torch.Tensor) -> float:
    return float((model(input_ids=IDS).logits[:, -IDS.shape[1] :] - base).abs().max())


def _shown(change: float) -> str:
    return "0" if change < 1e-5 else f"{change:.2f}" if change >= 0.01 else f"{change:.0e}"


def table() -> str:
    quiet_libraries()
    lines = [
        "| method | kind | trained parameters | float32: trained | start | step | int8: trained | start | step | nf4: trained | start | step |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as place:
        folder = tiny.model(Path(place), "llama")
        for name, (kind, _) in METHODS.items():
            cells = " | ".join(measured(folder, name, quantization) for quantization in (None, "int8", "nf4"))
            lines.append(f"| {name} | {f'`{kind}`' if kind else ''} | {FORMULAS[name]} | {cells} |")
    return HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    assert {kind for kind, _ in METHODS.values() if kind} == ADAPTERS.keys()
    print(table(), end="")
