"""Names that architectures go by, and a few numbers, for those who must not wait for torch."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Under which they keep the dropout that `training.dropout` sets
DROPOUTS = ("dropout", "hidden_dropout_prob", "resid_pdrop", "dropout_rate", "hidden_dropout")
FEW_SHOT_DRAWS = 5  # sets of examples that the untouched model is shown, one after the other
CHUNK_BYTES = 64 << 20  # of float32 logits that a causal model's loss makes at a time


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
