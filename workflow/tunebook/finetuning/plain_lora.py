"""An adapter that took a part out of the base's weights, published as a plain LoRA adapter of the untouched model.

PiSSA (Meng et al. 2024) and OLoRA (Büyükakyüz 2024) start at matrices A0, B0 that are parts of a weight W, and train beside
W - s B0 A0. What they learnt is s (B A - B0 A0), which is a plain adapter of twice the rank: peft's `subtract_mutated_init`,
here on files, for the model is gone when a run is published.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from tunebook.errors import TunebookError
from tunebook.records import read_json
from tunebook.storage import replace_file

START = "start.safetensors"  # beside the checkpoints: the adapter before the first step
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def rewrites_base(run: dict[str, Any]) -> bool:
    """Whether a run (run.json) takes a part out of the base's weights before it trains."""
    return bool(run["adapter"]) and run["adapter"].get("init_lora_weights", True) is not True


def check_layers(model: torch.nn.Module, run: dict[str, Any]) -> None:
    """Raise TunebookError where an adapted layer has fewer rows or columns than the rank, or holds its weight transposed in a
    way that peft 0.21's OLoRA does not know (GPT-2's Conv1D)."""
    from peft.tuners.lora import LoraLayer

    start, rank = run["adapter"]["init_lora_weights"], run["adapter"]["r"]
    for name, module in model.named_modules():
        if not isinstance(module, LoraLayer):
            continue
        if rank > min(module.in_features, module.out_features):
            raise TunebookError(
                f"adapter.r: found {rank}, but {name} is {module.out_features} x {module.in_features}, and {start} takes no more "
                "parts of a weight than it has rows and columns: lower r, or list other layers under adapter.target_modules"
            )
        if start == "olora" and type(module.get_base_layer()).__name__ == "Conv1D":
            raise TunebookError(
                f"adapter.init_lora_weights: found olora, but {name} holds its weight transposed, which peft does not see: take "
                "pissa, or true"
            )


def keep_start(model: torch.nn.Module, work: Path) -> None:
    """Keep the adapter as it is before the first step. A run that goes on keeps the one that it began with."""
    from peft import get_peft_model_state_dict

    if not (work / START).exists():
        found = get_peft_model_state_dict(model, save_embedding_layers=False)
        tensors = {name: tensor.detach().cpu().clone() for name, tensor in found.items() if _side(name)}
        replace_file(work / START, lambda partial: save_file(tensors, partial, metadata={"format": "pt"}))


def to_plain_lora(folder: Path, start: Path) -> None:
    """Turn the adapter in `folder` into a plain one of twice the rank. `start`: the folder that `keep_start` was given."""
    before, trained = load_file(start / START), load_file(folder / WEIGHTS)
    for name, tensor in before.items():  # A (r, in) above A0; B (out, r) beside -B0
        below = _side(name) == "A"
        trained[name] = torch.cat([trained[name], tensor if below else -tensor], dim=0 if below else 1).contiguous()
    save_file(trained, folder / WEIGHTS, metadata={"format": "pt"})
    config = read_json(folder / CONFIG)
    alpha = config["lora_alpha"] * (math.sqrt(2) if config["use_rslora"] else 2)  # the scale s stays
    config |= {"r": 2 * config["r"], "lora_alpha": alpha, "init_lora_weights": True}
    (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _side(name: str) -> str:
    """Which of the two matrices a weight is: A, B, or neither."""
    return next((side for side in "AB" if f".lora_{side}." in name), "")
