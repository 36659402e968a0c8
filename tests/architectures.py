"""Architectures of a few hundred kilobytes, one of each family that the estimate knows, for the `random` source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tunebook.cost.architectures import Architecture, read_architecture
from tunebook.cost.traces import file_of, is_traced, write_trace

WIDE = {
    "hidden_size": 128,
    "intermediate_size": 320,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "vocab_size": 600,
}
GROUPED = {**WIDE, "num_key_value_heads": 2, "head_dim": 32}
POSITIONS = {"max_position_embeddings": 64}
BART = {"d_model": 128, "encoder_layers": 2, "decoder_layers": 3, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
        "encoder_ffn_dim": 320, "decoder_ffn_dim": 320, "vocab_size": 600, **POSITIONS}  # fmt: skip
CONFIGS: dict[str, dict[str, Any]] = {
    name: {"model_type": name, **config}
    for name, config in {
        "llama": {**WIDE, "num_key_value_heads": 2, "tie_word_embeddings": False},
        "opt": {"hidden_size": 128, "word_embed_proj_dim": 128, "ffn_dim": 320, "num_hidden_layers": 3,
                "num_attention_heads": 4, "vocab_size": 600, **POSITIONS},
        "falcon": {"hidden_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4, "vocab_size": 600,
                   "multi_query": True, "parallel_attn": True, "new_decoder_architecture": False, "bias": False, "alibi": False},
        "gpt2": {"n_embd": 128, "n_layer": 3, "n_head": 4, "vocab_size": 600, "n_positions": 64},
        "gpt_neox": {**WIDE, **POSITIONS},
        "mistral": GROUPED,
        "qwen2": {**WIDE, "num_key_value_heads": 2},
        "qwen3": GROUPED,
        "gemma2": {**GROUPED, "query_pre_attn_scalar": 32},
        "gemma3_text": {**GROUPED, "query_pre_attn_scalar": 32},
        "phi3": {**WIDE, "num_key_value_heads": 2, "pad_token_id": 0},
        "olmo2": {**WIDE, "num_key_value_heads": 2},
        "granite": {**WIDE, "num_key_value_heads": 2},
        "smollm3": {**WIDE, "num_key_value_heads": 2, "pad_token_id": 0},
        "t5": {"d_model": 128, "d_kv": 32, "d_ff": 320, "num_layers": 3, "num_heads": 4, "vocab_size": 600,
               "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
        "bart": BART,
        "mbart": BART,
        "bert": {**WIDE, **POSITIONS},
        "roberta": {**WIDE, **POSITIONS, "pad_token_id": 0},
        "distilbert": {"dim": 128, "hidden_dim": 320, "n_layers": 3, "n_heads": 4, "vocab_size": 600, **POSITIONS},
        "deberta-v2": {**WIDE, **POSITIONS, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
        "modernbert": {**WIDE, "pad_token_id": 0, "global_attn_every_n_layers": 3},
    }.items()
}  # fmt: skip
ENCODERS = ("roberta", "distilbert", "deberta-v2", "modernbert")  # they classify
TARGETS = {"llama": "q_proj", "opt": "q_proj", "falcon": "query_key_value", "t5": "q", "bert": "query"}


def task_of(family: str) -> str:
    if family in ENCODERS:
        return "sequence-classification"
    return "seq2seq-lm" if family in ("t5", "bert", "bart", "mbart") else "causal-lm"


def read(folder: Path, family: str, *, task: str | None = None) -> Architecture:
    """A family's architecture, written and traced into a folder."""
    from tunebook.cost.tracing import trace

    architecture = read_architecture(written(folder, family), folder / "traces")
    shape = {"task": task or task_of(family), "encoder_decoder": family == "bert" and task is None}
    if not is_traced(architecture, **shape):
        write_trace(file_of(architecture, **shape), trace(architecture.config, **shape))
    return architecture


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
    from tunebook.configuration.adapters import adapter_spec
    from tunebook.configuration.config import Training

    labels = labels or (("a", "b", "c") if family in ENCODERS else ())
    adapter = None if method == "full" else adapter_spec("lora", {})
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
        "dataset": {"labels": list(labels), "learn": "assistant"},
        "training": Training(**training).model_dump(mode="json"),
        "adapter": adapter,
        "trains": "all" if method == "full" else None,
        "quantization": {"int8-lora": "int8", "qlora": "nf4"}.get(method),
    }


# --- tiny models of the real classes, as a hub would have them ----------------------------------------------------------

SIZE = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
GROUPED = {**SIZE, "num_key_value_heads": 1}
BART = {
    "d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
    "encoder_ffn_dim": 128, "decoder_ffn_dim": 128, "max_position_embeddings": 64, "decoder_start_token_id": 2,
}  # fmt: skip
DISTILBERT = {"dim": 64, "hidden_dim": 128, "n_layers": 2, "n_heads": 2, "max_position_embeddings": 64}
DEBERTA = {
    **SIZE, "max_position_embeddings": 64, "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 16,
    "norm_rel_ebd": "layer_norm", "share_att_key": True, "position_biased_input": False, "pooler_hidden_size": 64,
}  # fmt: skip
# name -> transformers' config class, the model class that its checkpoints are saved from, keys of the config
CLASSES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", "LlamaForCausalLM", GROUPED),
    "mistral": ("MistralConfig", "MistralForCausalLM", GROUPED),
    "qwen2": ("Qwen2Config", "Qwen2ForCausalLM", GROUPED),
    "qwen3": ("Qwen3Config", "Qwen3ForCausalLM", {**GROUPED, "head_dim": 32}),
    "gemma2": ("Gemma2Config", "Gemma2ForCausalLM", {**GROUPED, "head_dim": 32}),
    "gemma3_text": ("Gemma3TextConfig", "Gemma3ForCausalLM", {**GROUPED, "head_dim": 32}),
    "phi3": ("Phi3Config", "Phi3ForCausalLM", GROUPED),
    "gpt2": ("GPT2Config", "GPT2LMHeadModel", {"n_embd": 64, "n_layer": 2, "n_head": 2, "n_positions": 64}),
    "gpt_neox": ("GPTNeoXConfig", "GPTNeoXForCausalLM", SIZE),
    "opt": (
        "OPTConfig",
        "OPTForCausalLM",
        {**SIZE, "ffn_dim": 128, "word_embed_proj_dim": 64, "max_position_embeddings": 64},
    ),
    "falcon": ("FalconConfig", "FalconForCausalLM", SIZE),
    "bloom": ("BloomConfig", "BloomForCausalLM", {"hidden_size": 64, "n_layer": 2, "n_head": 2}),
    "olmo2": ("Olmo2Config", "Olmo2ForCausalLM", GROUPED),
    "granite": ("GraniteConfig", "GraniteForCausalLM", GROUPED),
    "smollm3": ("SmolLM3Config", "SmolLM3ForCausalLM", GROUPED),
    "mamba": ("MambaConfig", "MambaForCausalLM", {"hidden_size": 64, "num_hidden_layers": 2, "state_size": 8}),
    "t5": (
        "T5Config",
        "T5ForConditionalGeneration",
        {"d_model": 64, "d_kv": 32, "d_ff": 128, "num_layers": 2, "num_heads": 2, "decoder_start_token_id": 1},
    ),
    "bart": ("BartConfig", "BartForConditionalGeneration", BART),
    # mBART moves the last token of the labels to their front, where others put decoder_start_token_id: the end, in mBART-50
    "mbart": ("MBartConfig", "MBartForConditionalGeneration", {**BART, "decoder_start_token_id": 3}),
    "pegasus": ("PegasusConfig", "PegasusForConditionalGeneration", BART),
    "marian": ("MarianConfig", "MarianMTModel", BART),
    "blenderbot": ("BlenderbotConfig", "BlenderbotForConditionalGeneration", BART),
    "bert": ("BertConfig", "BertForMaskedLM", {**SIZE, "max_position_embeddings": 64}),
    "roberta": ("RobertaConfig", "RobertaForMaskedLM", {**SIZE, "max_position_embeddings": 64}),
    "distilbert": ("DistilBertConfig", "DistilBertForMaskedLM", DISTILBERT),
    "deberta-v2": ("DebertaV2Config", "DebertaV2ForMaskedLM", DEBERTA),
    "modernbert": ("ModernBertConfig", "ModernBertForMaskedLM", {**SIZE, "cls_token_id": 2, "sep_token_id": 3}),
    "xlnet": ("XLNetConfig", "XLNetLMHeadModel", {"d_model": 64, "d_inner": 256, "n_layer": 2, "n_head": 2}),
}
CAUSAL = tuple(list(CLASSES)[: list(CLASSES).index("t5")])
SEQ2SEQ = ("t5", "bart", "mbart", "pegasus", "marian", "blenderbot")
CLASSIFIERS = (
    "bert",
    "roberta",
    "distilbert",
    "deberta-v2",
    "modernbert",
    "xlnet",
    "llama",
    "gpt2",
    "gemma3_text",
    "t5",
    "bart",
)


def pretrained(folder: Path, name: str) -> Path:
    """A tiny model of a class with random weights and its tokenizer: pad 1, begin 2, end 3."""
    import torch
    import transformers

    from tests import tiny

    config_class, model_class, keys = CLASSES[name]
    words = tiny.tokenizer(folder)
    ids = {"vocab_size": len(words), "pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 3}
    torch.manual_seed(0)
    model = getattr(transformers, model_class)(getattr(transformers, config_class)(**ids, **keys))
    model.save_pretrained(folder)
    return folder
