"""Which files of a repository of the hub are needed: for a model its weights once, its config and its tokenizer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tunebook.data.file_names import matching
from tunebook.errors import TunebookError

if TYPE_CHECKING:
    from tunebook.data.sources.hub_cache import HubFile, Repository

BESIDE = (  # what stands beside the weights and may be needed: transformers' and tokenizers' file names
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.json",
    "chat_template.jinja",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)
WEIGHTS = (("model.safetensors", "model.safetensors.index.json"), ("pytorch_model.bin", "pytorch_model.bin.index.json"))


def data_files(listing: dict[str, HubFile], wanted: str, repository: Repository) -> list[HubFile]:
    """The files of a data set that its config means, in the order of their names."""
    chosen = matching(sorted(listing), wanted)
    if not chosen:
        raise TunebookError(f"{repository}: no file matches {wanted!r}; it holds: {_some(listing)}")
    if scripts := [name for name in chosen if name.endswith(".py")]:
        raise TunebookError(
            f"{repository}: found {', '.join(scripts[:3])} for {wanted!r}; loading scripts are never run: name files that "
            f"hold rows; it holds: {_some(listing)}"
        )
    return [listing[name] for name in chosen]


def model_files(listing: dict[str, HubFile], repository: Repository, get: Callable[[HubFile], Path]) -> list[HubFile]:
    """A model's config, tokenizer and weights: safetensors, or where there are none PyTorch's own format.

    `get` fetches the index of weights that are in parts, which names the parts.
    """
    if "config.json" not in listing:
        raise TunebookError(
            f"{repository}: no config.json, so that it is no model that transformers could load; it holds: {_some(listing)}"
        )
    beside = [listing[name] for name in BESIDE if name in listing]
    for whole, index in WEIGHTS:
        if whole in listing:
            return [*beside, listing[whole]]
        if index in listing:
            return [*beside, listing[index], *_parts(listing, get(listing[index]), repository)]
    raise TunebookError(
        f"{repository}: no weights that are used here (model.safetensors, or pytorch_model.bin, whole or in parts with an "
        f"index); it holds: {_some(listing)}"
    )


def _parts(listing: dict[str, HubFile], index: Path, repository: Repository) -> list[HubFile]:
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError):
        raise TunebookError(f"{repository}: {index.name} is no index of weights; take another revision") from None
    if absent := [str(name) for name in names if name not in listing]:
        raise TunebookError(
            f"{repository}: {index.name} names {', '.join(absent[:3])}, which is not there; take another revision"
        )
    return [listing[name] for name in names]


def _some(listing: dict[str, HubFile]) -> str:
    names = sorted(listing)
    return ", ".join(names[:20]) + (f", ... ({len(names)} files)" if len(names) > 20 else "") or "nothing"
