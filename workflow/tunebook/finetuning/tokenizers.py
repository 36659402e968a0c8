"""A model's tokenizer, loaded without remote code, and the ids that end an answer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunebook.errors import TunebookError
from tunebook.finetuning.chat import turn_end
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


def end_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """All ids that end an answer: the one that ends a text, and the one that the chat template writes behind an answer."""
    turn = turn_end(tokenizer) if tokenizer.chat_template else None
    return sorted({end_id(tokenizer), *([] if turn is None else [tokenizer.convert_tokens_to_ids(turn)])})


def surroundings(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """The ids that the tokenizer puts before and behind a text by itself.

    A causal model is given those before only: a prompt has no end, and the end of a text is learnt once.
    """
    bare, full = (tokenizer("a", add_special_tokens=added)["input_ids"] for added in (False, True))
    at = next((at for at in range(len(full)) if full[at : at + len(bare)] == bare), 0)
    return full[:at], full[at + len(bare) :]


def publish_generation_config(model: Path, folder: Path) -> None:
    """Write the model's generation_config.json into `folder`, with the ids that end an answer now that it is finetuned."""
    from transformers import AutoConfig, GenerationConfig

    ends = end_ids(load_tokenizer(model))
    try:
        config = GenerationConfig.from_pretrained(model, local_files_only=True)
    except OSError:  # it came without one
        config = GenerationConfig.from_model_config(AutoConfig.from_pretrained(model, local_files_only=True))
    own = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
    together = sorted({*ends, *(token for token in own if token is not None)})
    config.eos_token_id = together if len(together) > 1 else together[0]
    config.save_pretrained(folder)
