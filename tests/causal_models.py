"""Causal models of many architectures with random weights, a few kilobytes each: for what must hold for all of them."""

from __future__ import annotations

from typing import Any

import torch

VOCABULARY = 96
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LAYERS = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 128}
EXPERTS = {"num_local_experts": 4, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": {},
    "llama tied": {"tie_word_embeddings": True},
    "mistral": {"sliding_window": 8},  # rows are longer
    "qwen2": {},
    "qwen3": {},
    "gemma": {},
    "gemma2": {"final_logit_softcapping": 5.0, "sliding_window": 8},
    "gemma3_text": {"final_logit_softcapping": 5.0, "sliding_window": 8},
    "granite": {"logits_scaling": 3.0},
    "cohere": {"logit_scale": 0.25},
    "smollm3": {},
    "olmo2": {},
    "phi": {},  # its head has a bias
    "phi3": {},
    "stablelm": {},
    "mixtral": EXPERTS,
    "qwen3_moe": EXPERTS,
    "gpt_neox": {},
    "gpt2": LAYERS,
    "gptj": {**LAYERS, "rotary_dim": 8},
    "bloom": {"n_layer": 2, "n_head": 2},
    "opt": {"word_embed_proj_dim": 32, "ffn_dim": 64},
    "falcon": {"alibi": False, "new_decoder_architecture": False},
}


def causal_model(name: str, *, seed: int = 0, **changes: Any) -> torch.nn.Module:
    """A model in eval mode. Weights are larger than usual, so that no two tokens look alike to it."""
    from transformers import AutoConfig, AutoModelForCausalLM

    kind = name.split(" ")[0]
    values = {**SHAPE, **ARCHITECTURES[name], **changes}
    if kind == "falcon":
        del values["head_dim"]  # computed there
    config = AutoConfig.for_model(kind, **values)
    for key in ("attention_dropout", "hidden_dropout", "dropout", "attn_pdrop", "embd_pdrop", "resid_pdrop"):
        if hasattr(config, key):
            setattr(config, key, 0.0)
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, 0.15)
            elif parameter.abs().sum() == 0:
                parameter.normal_(0.0, 0.1)  # biases start at zero
    return model.eval()


def rows(lengths: list[int], *, prompt: int = 3, seed: int = 0) -> list[dict[str, list[int]]]:
    """Encoded rows of random tokens; the first `prompt` of each, or all but the last of a shorter one, are not learnt."""
    draw = torch.Generator().manual_seed(seed)
    made = []
    for length in lengths:
        ids = torch.randint(3, VOCABULARY, (length,), generator=draw).tolist()
        given = min(prompt, length - 1)
        made.append({"input_ids": ids, "labels": [-100] * given + ids[given:]})
    return made
