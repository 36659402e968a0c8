"""Architectures of a few hundred kilobytes, one of each family that the estimate knows, for the `random` source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {
        "model_type": "llama",
        "hidden_size": 128,
        "intermediate_size": 320,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 600,
        "tie_word_embeddings": False,
    },
    "opt": {
        "model_type": "opt",
        "hidden_size": 128,
        "word_embed_proj_dim": 128,
        "ffn_dim": 320,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "vocab_size": 600,
        "max_position_embeddings": 64,
    },
    "falcon": {
        "model_type": "falcon",
        "hidden_size": 128,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "vocab_size": 600,
        "multi_query": True,
        "parallel_attn": True,
        "new_decoder_architecture": False,
        "bias": False,
        "alibi": False,
    },
    "t5": {
        "model_type": "t5",
        "d_model": 128,
        "d_kv": 32,
        "d_ff": 320,
        "num_layers": 3,
        "num_heads": 4,
        "vocab_size": 600,
        "feed_forward_proj": "gated-gelu",
        "tie_word_embeddings": False,
    },
    "bert": {
        "model_type": "bert",
        "hidden_size": 128,
        "intermediate_size": 320,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "vocab_size": 600,
        "max_position_embeddings": 64,
    },
}
TARGETS = {"llama": "q_proj", "opt": "q_proj", "falcon": "query_key_value", "t5": "q", "bert": "query"}


def task_of(family: str) -> str:
    return "seq2seq-lm" if family in ("t5", "bert") else "causal-lm"


def written(folder: Path, family: str) -> str:
    """The path of a family's architecture, written into a folder."""
    file = folder / f"{family}.json"
    file.write_text(json.dumps({"stored_dtype": "float32", "config": CONFIGS[family]}), encoding="utf-8")
    return str(file)


def run_of(
    family: str,
    method: str = "lora",
    *,
    skip_modules: tuple[str, ...] = (),
    labels: tuple[str, ...] = (),
    **training: Any,
) -> dict[str, Any]:
    """A run.json of this family with the project's defaults; `method`: full, lora, int8-lora or qlora. With `labels` it
    classifies."""
    from tunebook.configuration.config import Lora, Training

    adapter = None if method == "full" else Lora().model_dump(mode="json")
    return {
        "run": f"words/{method}/seed-0",
        "experiment": "words",
        "method": method,
        "identity": "0" * 16,
        "seed": 0,
        "task": "sequence-classification" if labels else task_of(family),
        "model": {
            "name": family,
            "dtype": "float32",
            "attn_implementation": None,
            "skip_modules": list(skip_modules),
            "encoder_decoder": family == "bert" and not labels,
        },
        "dataset": {"labels": list(labels)},
        "training": Training(**training).model_dump(mode="json"),
        "adapter": adapter,
        "quantization": {"int8-lora": "int8", "qlora": "nf4"}.get(method),
    }
