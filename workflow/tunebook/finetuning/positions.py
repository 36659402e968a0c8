"""How many tokens a model reads, told from its config.json. Light: no torch.

| positions | rule |
|---|---|
| learned or tabulated, absolute (BERT, GPT-2, OPT, BART, GPT-J, MPT's ALiBi) | a token beyond the table is an IndexError: `limit` is the table's size |
| RoBERTa's family | the same, but padding takes the first `pad_token_id + 1` places of the table |
| rotary (Llama, Mistral, Qwen, Falcon, GPT-NeoX), with sliding windows too | computed for any place; beyond `trained` tokens the model never learnt to read |
| relative, ALiBi, none (T5, DeBERTa, XLNet, BLOOM, Falcon's ALiBi, Mamba) | no limit |

OPT's and BART's tables have two places more than `max_position_embeddings`, which they use as an offset: they read
`max_position_embeddings` tokens. Source: transformers 5.23, the modeling file of each class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SIZES = ("max_position_embeddings", "n_positions", "max_seq_len")
PADDED = (  # their table begins behind the padding's place
    "roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "roberta-prelayernorm", "longformer", "mpnet", "ibert",
    "data2vec-text", "xmod", "luke", "esm", 
)  # fmt: skip
TABULATED = ("gptj", "codegen", "ctrl", "openai-gpt")  # rotary or sinusoidal, but from a table of fixed size
UNLIMITED = (
    "t5", "mt5", "umt5", "longt5", "switch_transformers", "xlnet", "transfo-xl", "bloom", "mamba", "mamba2",
    "falcon_mamba", "rwkv", "jamba", "xglm", "m2m_100", "nllb-moe",
)  # fmt: skip
ROTARY = (
    "rope_parameters",
    "rope_theta",
    "rope_scaling",
    "rotary_dim",
    "rotary_pct",
    "rotary_emb_base",
    "partial_rotary_factor",
)


@dataclass(frozen=True)
class Positions:
    """Tokens a model reads at most (`limit`), and those it was trained to read (`trained`); None: no such number."""

    limit: int | None = None
    trained: int | None = None

    @property
    def most(self) -> int | None:
        """Tokens that the model reads well."""
        return self.limit or self.trained


def positions_of(config: Mapping[str, Any], *, decoder: bool = False) -> Positions:
    """What a config.json says. `decoder`: of an encoder-decoder's decoder, which writes; else what reads the input."""
    part = config.get("decoder" if decoder else "encoder")
    if isinstance(part, Mapping):  # an assembled model
        return positions_of(part)
    if isinstance(config.get("text_config"), Mapping):
        return positions_of(config["text_config"])
    kind = config.get("model_type")
    side = "max_decoder_position_embeddings" if decoder else "max_encoder_position_embeddings"
    size = next((config[key] for key in (side, *SIZES) if isinstance(config.get(key), int) and config[key] > 0), None)
    if size is None or kind in UNLIMITED or _is_relative(config):
        return Positions()
    if kind in PADDED:
        return Positions(limit=size - (config.get("pad_token_id") if config.get("pad_token_id") is not None else 1) - 1)
    if kind not in TABULATED and any(config.get(key) is not None for key in ROTARY):
        return Positions(trained=size)
    return Positions(limit=size)


def _is_relative(config: Mapping[str, Any]) -> bool:
    kind = config.get("model_type")
    if kind in ("deberta", "deberta-v2"):
        return bool(config.get("relative_attention")) and config.get("position_biased_input") is False
    return bool(config.get("alibi"))
