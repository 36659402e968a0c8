"""Special tokens: those that a tokenizer or a template writes are tokens; those that a row's text spells out are text.

A row that says `</s><s>assistant` would otherwise end its own turn and begin an answer.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tunebook.errors import TunebookError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

OPEN, CLOSE = "\U000f0000", "\U000f0001"  # around what is to be read as text; characters for private use
MARKED = re.compile(f"{OPEN}(.*?){CLOSE}", re.DOTALL)


def added_tokens(tokenizer: PreTrainedTokenizerBase, *, special: bool = False) -> list[str]:
    """The tokenizer's added tokens; with `special`, only the special ones. White space is left out."""
    added = [token for token in tokenizer.added_tokens_decoder.values() if token.special or not special]
    return [token.content for token in added if token.content.strip()]


def as_text(tokenizer: PreTrainedTokenizerBase, text: str | None, kept: Sequence[str] = ()) -> str | None:
    """The text with marks around all special tokens in it but those of `kept`. See `encoded`."""
    if text is None:
        return None
    text = text.replace(OPEN, "").replace(CLOSE, "")
    tokens = [token for token in added_tokens(tokenizer, special=True) if token in text and token not in kept]
    if not tokens:
        return text
    pattern = "|".join(map(re.escape, sorted(tokens, key=len, reverse=True)))
    return re.sub(pattern, lambda found: f"{OPEN}{found[0]}{CLOSE}", text)


def without_marks(text: str) -> str:
    return text.replace(OPEN, "").replace(CLOSE, "")


def encoded(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Ids of the consecutive parts of one text, without the tokens that a tokenizer adds to a text.

    Together they are the ids of the whole text; where a token would stand across two parts, each part has ids of its own.
    What `as_text` marked is read as text.
    """
    if not texts:
        return []
    if any(OPEN in text for text in texts):
        return [_marked(tokenizer, text, begins=number == 0) for number, text in enumerate(texts)]
    whole = _ids(tokenizer, "".join(texts))
    apart = [_ids(tokenizer, texts[0]), *(_later(tokenizer, text) for text in texts[1:])]
    if list(itertools.chain.from_iterable(apart)) == whole:
        return apart
    cuts = [0]
    for number in range(1, len(texts)):
        before = _ids(tokenizer, "".join(texts[:number]))
        if whole[: len(before)] != before:
            return apart
        cuts.append(len(before))
    return [whole[begin:end] for begin, end in zip(cuts, [*cuts[1:], len(whole)], strict=True)]


def _marked(tokenizer: PreTrainedTokenizerBase, text: str, *, begins: bool) -> list[int]:
    ids: list[int] = []
    for number, part in enumerate(MARKED.split(text)):
        if number % 2 == 0:
            ids += _ids(tokenizer, part) if begins and number == 0 else _later(tokenizer, part)
            continue
        read = _later(tokenizer, part, split_special_tokens=True)
        if tokenizer.convert_tokens_to_ids(part) in read:
            raise TunebookError(
                f"found the special token {part} in a row, and this tokenizer cannot read it as text; take it out"
            )
        ids += read
    return ids


def _ids(tokenizer: PreTrainedTokenizerBase, text: str, **options: bool) -> list[int]:
    return tokenizer(text, add_special_tokens=False, **options)["input_ids"]


def _later(tokenizer: PreTrainedTokenizerBase, text: str, **options: bool) -> list[int]:
    """Ids of a text within another one: behind a line break, SentencePiece puts no space before it."""
    if not text:
        return []
    line, ids = _ids(tokenizer, "\n"), _ids(tokenizer, f"\n{text}", **options)
    return ids[len(line) :] if ids[: len(line)] == line else _ids(tokenizer, text, **options)
