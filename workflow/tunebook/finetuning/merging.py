"""A run's model without its adapter: the change is added to the weights, so that any program can load the result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tunebook.errors import TunebookError
from tunebook.finetuning.models import load_finetuned


def merged_model(run: dict[str, Any], folder: Path, adapter: Path) -> torch.nn.Module:
    """The finetuned model of a run (run.json) with its adapter merged into unquantized weights, in the run's dtype.

    An adapter that was trained beside quantized weights is merged into the weights that these were made from: what quantization
    rounded away comes back, so that the merged model is not quite the one that was scored. Raises TunebookError for adapters that
    change no weight and so cannot be merged.
    """
    model = load_finetuned(run | {"quantization": None}, folder, adapter)
    if run["adapter"] is None:
        return model
    if any(config.is_prompt_learning for config in model.peft_config.values()):
        raise TunebookError(
            f"an adapter of the kind {run['adapter']['kind']} puts trained vectors before the input and changes no weight, so that it "
            "cannot be merged; use the adapter itself, with peft"
        )
    try:
        return model.merge_and_unload(safe_merge=True)
    except (ValueError, NotImplementedError, AttributeError) as error:
        raise TunebookError(
            f"peft cannot merge this adapter: {' '.join(str(error).split())}; use the adapter itself"
        ) from None
