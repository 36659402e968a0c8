"""Pretrained models as transformers loads them from a folder, with errors in the project's words. Nothing runs remote code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoModelForSequenceClassification

from tunebook.errors import TunebookError
from tunebook.finetuning.memory import is_out_of_memory

AUTO_CLASSES = {
    "causal-lm": AutoModelForCausalLM,
    "seq2seq-lm": AutoModelForSeq2SeqLM,
    "sequence-classification": AutoModelForSequenceClassification,
}


def config_of(folder: Path) -> Any:
    """The config of the model in a folder. Raises TunebookError where transformers does not know its architecture."""
    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError) as error:
        raise TunebookError(f"{folder}: no usable config.json: {str(error).splitlines()[0]}") from None


@dataclass(frozen=True)
class Loaded:
    """A model, with the names of its weights that the files lack (`missing`) or have in another shape (`mismatched`)."""

    model: torch.nn.Module
    missing: frozenset[str]
    mismatched: frozenset[str]

    @property
    def at_random(self) -> frozenset[str]:
        """Names of the weights that transformers drew at random."""
        return self.missing | self.mismatched


def load_from(folder: Path, task: str, config: Any, *, device: torch.device | None = None, **options: Any) -> Loaded:
    """Load the model in a folder, and move it to `device` if one is given. `options`: of transformers' `from_pretrained`.

    Raises TunebookError if the files do not make a model of the task, or if its weights do not fit into memory.
    """
    try:
        model, loading = AUTO_CLASSES[task].from_pretrained(
            folder,
            config=config,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            **options,
        )
        if device is not None:
            model.to(device)
    except (OSError, ValueError, RuntimeError, ImportError) as error:  # ImportError: flash-attn is missing
        if is_out_of_memory(error):
            raise TunebookError(
                f"{folder}: out of memory before the first row: the weights alone do not fit; quantize them (a method with "
                "int8 or nf4), take a dtype of 16 bits, or a larger device"
            ) from None
        raise TunebookError(f"{folder}: not usable as a {task} model: {str(error).splitlines()[0]}") from error
    return Loaded(model, frozenset(loading["missing_keys"]), frozenset(name for name, *_ in loading["mismatched_keys"]))
