"""A model as a GGUF file, which llama.cpp and Ollama read.

The layout is llama.cpp's (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md), tensors and keys are named by the package
`gguf`. Written are the architectures whose weights need no more than what stands here; any other is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
import torch

from tunebook.errors import TunebookError
from tunebook.finetuning.tokenizers import end_id, end_ids, surroundings

if TYPE_CHECKING:
    import gguf
    from transformers import PreTrainedTokenizerBase

ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2"}  # model_type -> gguf's name
ROTATED = (
    "llama",
    "mistral",
)  # llama.cpp rotates neighbouring places, transformers halves of a head: rows change places
TYPES = ("f32", "f16", "q8_0")
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
PRE_TOKENIZERS = {  # how tokenizer.json parts a text before its merges -> llama.cpp's name of the same
    ("ByteLevel",): "gpt-2",
    ("Digits", "ByteLevel"): "smollm",
    (LLAMA3, "ByteLevel"): "llama-bpe",
    (QWEN2, "ByteLevel"): "qwen2",
}


@dataclass(frozen=True)
class Vocabulary:
    """`kinds`: gguf's TokenType of each token."""

    tokens: list[str]
    kinds: list[int]
    merges: list[str]
    pre: str


def check_architecture(config: Mapping[str, Any], task: str) -> None:
    """Raise TunebookError for a model that `write_gguf` cannot write. `config`: its config.json."""
    kind = config.get("model_type")
    if task != "causal-lm" or kind not in ARCHITECTURES:
        raise TunebookError(
            f"GGUF: found a {task} model of the architecture {kind}; written are causal models of {', '.join(ARCHITECTURES)}. The "
            "exported folder without --gguf can be given to llama.cpp's own converter, convert_hf_to_gguf.py"
        )
    rope = config.get("rope_parameters") or {}
    if rope.get("rope_type", "default") != "default":
        raise TunebookError(
            f"GGUF: found scaled positions ({rope['rope_type']}); written are models without, take llama.cpp's own converter"
        )


def write_gguf(model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, name: str, kind: str, file: Path) -> None:
    """Write a causal model. `kind`: one of TYPES, of the matrices; vectors stay in float32.

    Raises TunebookError for an architecture, a tokenizer or a weight that it does not know.
    """
    import gguf  # a second that others need not wait

    config = model.config.to_dict()
    check_architecture(config, "causal-lm")
    vocabulary = vocabulary_of(tokenizer, config["vocab_size"])
    architecture = ARCHITECTURES[config["model_type"]]
    writer = gguf.GGUFWriter(file, architecture)
    _write_shape(writer, config, name)
    writer.add_file_type({"f32": 0, "f16": 1, "q8_0": 7}[kind])  # gguf.LlamaFileType: ALL_F32, MOSTLY_F16, MOSTLY_Q8_0
    _write_tokenizer(writer, tokenizer, vocabulary)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[architecture.upper()], config["num_hidden_layers"])
    for place, weight in _weights(model, config):
        told = names.get_name(place, try_suffixes=(".weight", ".bias"))
        if told is None:
            raise TunebookError(
                f"GGUF: the format has no name for the weight {place} of a {config['model_type']} model"
            )
        values, data_type = weight, None
        if kind == "q8_0" and weight.ndim == 2 and weight.shape[1] % 32 == 0:
            data_type = gguf.GGMLQuantizationType.Q8_0
            values = gguf.quants.quantize(weight, data_type)
        elif kind != "f32" and weight.ndim == 2:
            values = weight.astype(numpy.float16)
        writer.add_tensor(told, values, raw_dtype=data_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_shape(writer: gguf.GGUFWriter, config: Mapping[str, Any], name: str) -> None:
    heads = config["num_attention_heads"]
    size = config.get("head_dim") or config["hidden_size"] // heads
    writer.add_name(name)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_rope_dimension_count(size)
    writer.add_key_length(size)
    writer.add_value_length(size)


def _weights(model: torch.nn.Module, config: Mapping[str, Any]) -> Iterator[tuple[str, numpy.ndarray]]:
    """Name and values of each weight, float32. A head that is tied to the embedding is not written: readers take the embedding."""
    tied = config.get("tie_word_embeddings", False)
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    for name, tensor in model.state_dict().items():
        if tied and name.startswith("lm_head."):
            continue
        values = tensor.detach().float().cpu().numpy()
        turned = next((count for part, count in heads.items() if f".{part}." in name), None)
        if turned and config["model_type"] in ROTATED:
            values = _neighbours(values, turned)
        yield name, values


def _neighbours(values: numpy.ndarray, heads: int) -> numpy.ndarray:
    """Rows of a projection, (heads x size, ...), in llama.cpp's order: places i and i + size/2 of a head become neighbours."""
    parted = values.reshape(heads, 2, len(values) // heads // 2, *values.shape[1:])
    return numpy.ascontiguousarray(parted.swapaxes(1, 2).reshape(values.shape))


def _write_tokenizer(writer: gguf.GGUFWriter, tokenizer: PreTrainedTokenizerBase, vocabulary: Vocabulary) -> None:
    writer.add_tokenizer_model("gpt2")  # byte-level BPE
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.kinds)
    writer.add_token_merges(vocabulary.merges)
    before, _ = surroundings(tokenizer)
    if tokenizer.bos_token_id is not None:
        writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_add_bos_token(before == [tokenizer.bos_token_id])
    writer.add_eos_token_id(end_id(tokenizer))
    if turn := [token for token in end_ids(tokenizer) if token != end_id(tokenizer)]:
        writer.add_eot_token_id(turn[0])
    if tokenizer.pad_token_id is not None:
        writer.add_pad_token_id(tokenizer.pad_token_id)
    if isinstance(tokenizer.chat_template, str):
        writer.add_chat_template(tokenizer.chat_template)


def vocabulary_of(tokenizer: PreTrainedTokenizerBase, rows: int) -> Vocabulary:
    """The tokens of a byte-level BPE tokenizer. `rows`: of the embedding, which may be more than there are tokens.

    Raises TunebookError for a tokenizer of another kind: llama.cpp would part texts in another way.
    """
    import gguf

    told = json.loads(tokenizer.backend_tokenizer.to_str())
    if told["model"]["type"] != "BPE" or told["normalizer"] not in (None, {"type": "NFC"}):
        raise TunebookError(
            f"GGUF: found a tokenizer of the kind {told['model']['type']}; written are byte-level BPE tokenizers"
        )
    pre = PRE_TOKENIZERS.get(_parting(told["pre_tokenizer"]))
    if pre is None:
        raise TunebookError(
            "GGUF: llama.cpp's name for this tokenizer's way of parting texts is not known; take llama.cpp's own converter"
        )
    if not told["model"]["merges"]:
        raise TunebookError("GGUF: found a tokenizer without merges, and llama.cpp reads none without")
    ids = tokenizer.get_vocab()
    known = {number: token for token, number in ids.items()}
    if len(known) != len(ids) or max(known) >= rows:
        raise TunebookError(
            f"GGUF: found {len(known)} ids for {len(ids)} tokens, the highest {max(known)}, and an embedding of {rows} rows; each token "
            "needs an id and a row of its own"
        )
    added = {number: token.special for number, token in tokenizer.added_tokens_decoder.items()}
    kinds = gguf.TokenType
    return Vocabulary(
        tokens=[known.get(number, f"[unused {number}]") for number in range(rows)],
        kinds=[
            int(kinds.UNUSED if number not in known else kinds.NORMAL if number not in added
                else kinds.CONTROL if added[number] else kinds.USER_DEFINED)
            for number in range(rows)
        ],
        merges=[merge if isinstance(merge, str) else " ".join(merge) for merge in told["model"]["merges"]],
        pre=pre,
    )  # fmt: skip


def _parting(told: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The steps of a pre-tokenizer: their kinds or, of a split by a pattern, the pattern."""
    if told is None:
        return ()
    if told["type"] == "Sequence":
        return tuple(step for each in told["pretokenizers"] for step in _parting(each))
    return (told["pattern"].get("Regex", "") if told["type"] == "Split" else told["type"],)
