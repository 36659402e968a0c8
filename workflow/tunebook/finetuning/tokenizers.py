"""A model's tokenizer, loaded without remote code, and the ids that end an answer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunebook.errors import TunebookError
from tunebook.records import read_json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a fetched model. Raises TunebookError where there is none or it does not fit the embedding."""
    from transformers import AutoTokenizer  # its import takes a second

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError) as error:
        raise TunebookError(f"{folder}: no usable tokenizer: {str(error).splitlines()[0]}") from None
    rows = vocabulary_rows(read_json(Path(folder) / "config.json"))
    if rows is not None and len(tokenizer) > rows:
        raise TunebookError(
            f"{folder}: the tokenizer has {len(tokenizer)} tokens, the embedding {rows} rows; they do not belong together"
        )
    return tokenizer


def vocabulary_rows(config: dict[str, Any]) -> int | None:
    """Rows of the input embedding according to config.json."""
    return config.get("vocab_size") or config.get("encoder", {}).get("vocab_size")


def end_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The id that ends a text: eos, or the separator of BERT's family."""
    for token_id in (tokenizer.eos_token_id, tokenizer.sep_token_id):
        if token_id is not None:
            return token_id
    raise TunebookError("the tokenizer has neither an eos nor a sep token; a model cannot learn to stop without one")
