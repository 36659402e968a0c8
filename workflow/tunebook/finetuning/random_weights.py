"""The `random` source: a real architecture with random weights and a tokenizer of bytes, as files that every stage takes.

Weights are written part by part, so that a model of any size needs no more memory than one part.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tunebook.cost.architectures import Architecture, read_architecture
from tunebook.data.sources.origin import Origin
from tunebook.digests import sha256_of
from tunebook.errors import TunebookError
from tunebook.records import write_json

SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")  # ids 0 to 3; the 256 bytes follow
SPREAD = 0.02  # standard deviation of the weights, as most families start with
PART_BYTES = 1 << 30


def write_random_model(source: dict[str, Any], task: str, folder: Path) -> Origin:
    """Write the model of a `random` source into `folder`: config.json, tokenizer and safetensors in parts.

    Raises TunebookError where transformers cannot build the architecture, or its vocabulary has no room for bytes.
    """
    from transformers import AutoConfig

    architecture = read_architecture(source["architecture"])
    tokens = write_tokenizer(folder)
    values = {**architecture.config, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    values |= {"decoder_start_token_id": 0} if task == "seq2seq-lm" else {}
    try:
        config = AutoConfig.for_model(**values)
        model = _skeleton(config, task)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise TunebookError(
            f"architecture {architecture.name}: transformers cannot build it: {str(error).splitlines()[0]}"
        ) from None
    if config.vocab_size < tokens:
        raise TunebookError(
            f"architecture {architecture.name}: found vocab_size {config.vocab_size}; a tokenizer of bytes needs {tokens}"
        )
    config.dtype = architecture.stored_dtype
    config.architectures = [type(model).__name__]
    config.save_pretrained(folder)
    _write_weights(model, architecture, source["seed"], folder)
    digest = sha256_of(architecture.origin)
    return Origin(files=(architecture.origin,), revision=f"seed {source['seed']}, not pretrained", sha256=digest)


def _skeleton(config: Any, task: str) -> Any:
    """The model without memory for its weights. An encoder that is to be doubled comes without a head."""
    import torch
    from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    auto = {"causal-lm": AutoModelForCausalLM, "seq2seq-lm": AutoModelForSeq2SeqLM}.get(task, AutoModel)
    auto = AutoModel if config.model_type == "bert" else auto
    with torch.device("meta"):
        return auto.from_config(config)


def write_tokenizer(folder: Path) -> int:
    """A tokenizer whose tokens are the 256 bytes and four special ones. Returns their number."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())  # one printable letter for each byte
    vocabulary = {token: number for number, token in enumerate([*SPECIAL, *letters])}
    built = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>"))
    built.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    built.decoder = decoders.ByteLevel()
    built.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    names = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    names |= {"cls_token": "<s>", "sep_token": "</s>"}
    PreTrainedTokenizerFast(tokenizer_object=built, **names).save_pretrained(folder)
    return len(vocabulary)


def _write_weights(model: Any, architecture: Architecture, seed: int, folder: Path) -> None:
    """Random matrices, norms of one, biases of zero, in parts with an index."""
    import torch
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(seed)
    dtype = getattr(torch, architecture.stored_dtype)
    parts: list[list[str]] = []
    room = 0
    tensors = _stored(model, architecture)
    for name, parameter in tensors.items():
        size = parameter.numel() * architecture.stored_bytes
        if size > room:
            parts.append([])
            room = PART_BYTES
        parts[-1].append(name)
        room -= size
    index = {}
    for number, names in enumerate(parts, start=1):
        file = f"model-{number:05}-of-{len(parts):05}.safetensors" if len(parts) > 1 else "model.safetensors"
        chosen = {name: _random(name, tensors[name].shape, dtype, generator) for name in names}
        save_file(chosen, folder / file, metadata={"format": "pt"})
        index |= dict.fromkeys(names, file)
    if len(parts) > 1:
        total = sum(parameter.numel() for parameter in tensors.values()) * architecture.stored_bytes
        write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": index})


def _stored(model: Any, architecture: Architecture) -> dict[str, Any]:
    """Name -> shape of what a file holds: each weight once, and an output layer of its own where the config has one."""
    named = dict(model.named_parameters())
    if architecture.config.get("tie_word_embeddings") is False and hasattr(model, "lm_head"):
        named.setdefault("lm_head.weight", model.lm_head.weight)
    return named


def _random(name: str, shape: Any, dtype: Any, generator: Any) -> Any:
    import torch

    if len(shape) > 1:
        return torch.empty(shape, dtype=dtype).normal_(0.0, SPREAD, generator=generator)
    return torch.zeros(shape, dtype=dtype) if name.endswith("bias") else torch.ones(shape, dtype=dtype)
