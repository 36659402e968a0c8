"""Names that architectures go by, and a few numbers, for those who must not wait for torch."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Under which they keep the dropout that `training.dropout` sets
DROPOUTS = ("dropout", "hidden_dropout_prob", "resid_pdrop", "dropout_rate", "hidden_dropout")
FEW_SHOT_DRAWS = 5  # sets of examples that the untouched model is shown, one after the other
CHUNK_BYTES = 64 << 20  # of float32 logits that a causal model's loss makes at a time

# IA3's targets, and those of them that are feed-forward layers, by model_type: peft 0.21, utils/constants.py
IA3_TARGETS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "llama": (("k_proj", "v_proj", "down_proj"), ("down_proj",)),
    "mistral": (("k_proj", "v_proj", "down_proj"), ("down_proj",)),
    "mixtral": (("k_proj", "v_proj", "w2"), ("w2",)),
    "qwen2": (("q_proj", "v_proj", "down_proj"), ("down_proj",)),
    "qwen3": (("q_proj", "v_proj", "down_proj"), ("down_proj",)),
    "gemma": (("q_proj", "v_proj", "down_proj"), ("down_proj",)),
    "gemma2": (("q_proj", "v_proj", "down_proj"), ("down_proj",)),
    "gemma3_text": (("q_proj", "v_proj", "down_proj"), ("down_proj",)),
    "phi": (("q_proj", "v_proj", "fc2"), ("fc2",)),
    "opt": (("q_proj", "k_proj", "fc2"), ("fc2",)),
    "falcon": (("query_key_value", "dense_4h_to_h"), ("dense_4h_to_h",)),
    "bloom": (("query_key_value", "mlp.dense_4h_to_h"), ("mlp.dense_4h_to_h",)),
    "gpt2": (("c_attn", "mlp.c_proj"), ("mlp.c_proj",)),
    "gptj": (("q_proj", "v_proj", "fc_out"), ("fc_out",)),
    "gpt_neox": (("query_key_value", "dense_4h_to_h"), ("dense_4h_to_h",)),
    "gpt_neo": (("q_proj", "v_proj", "c_proj"), ("c_proj",)),
    "gpt_bigcode": (("c_attn", "mlp.c_proj"), ("mlp.c_proj",)),
    "t5": (("k", "v", "wo"), ("wo",)),
    "mt5": (("k", "v", "wi_1"), ()),
    "bart": (("q_proj", "v_proj", "fc2"), ("fc2",)),
    "bert": (("key", "value", "output.dense"), ("output.dense",)),
    "roberta": (("key", "value", "output.dense"), ("output.dense",)),
    "deberta": (("in_proj", "output.dense"), ("output.dense",)),
    "deberta-v2": (("key_proj", "value_proj", "output.dense"), ("output.dense",)),
}


def is_one_of(layer: str, names: Iterable[str]) -> bool:
    """Whether a layer's path is one of these names or ends with one, from a dot on: peft's rule for target_modules."""
    return any(layer == name or layer.endswith(f".{name}") for name in names)


def is_bias(name: str) -> bool:
    """Whether a parameter is a bias; those of a mixture's experts have names such as gate_up_proj_bias."""
    return name.endswith("bias")


def is_spared(module: str, skip_modules: Iterable[str]) -> bool:
    """Whether quantization leaves a layer alone: its path starts with one of these names, up to a dot, or ends with one.

    `module`: the layer's path in the model, such as `model.layers.0.mlp.up_proj`. This is the rule of transformers 5.23
    (quantizers/quantizers_utils.py, should_convert_module), which quantizes what is not spared.
    """
    boundary = r"(?:(?<=\.)|(?=\.|$))"
    return any(re.match(rf"(?:{name}){boundary}", module) or module.endswith(name) for name in skip_modules)


def positions_at_a_time(vocabulary: int) -> int:
    """Positions whose logits fit into CHUNK_BYTES, and one at least."""
    return max(1, CHUNK_BYTES // (4 * vocabulary))
