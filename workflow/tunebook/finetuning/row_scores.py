"""What a row's losses are over: the text of its answers, and the tokens that end them.

An end token is learnt within a few steps and costs an untouched model much. So a loss is told twice: over all supervised
tokens, and over the text alone.
"""

from __future__ import annotations

from typing import Any

from tunebook.finetuning.losses import RowScore
from tunebook.finetuning.scoring import scored_places
from tunebook.finetuning.tokenizers import end_id


def row_score(
    line: dict[str, Any], losses: list[float], answers: list[str], tokenizer: Any, task: str, *, plain: bool
) -> RowScore:
    """Put a row's token losses together.

    Args: line: the encoded row; losses: of `scoring.score_tokens`; answers: the texts that are learnt, as the data have them;
    plain: the row is a text without a prompt, whose first token nothing predicts.
    """
    if task == "sequence-classification":  # one loss, that of the class
        return RowScore(losses[0], 1, losses[0], 1, 0)
    labels, places = line["labels"], scored_places(line["labels"], task)
    ends = end_places(labels, places, tokenizer)
    kept = [loss for place, loss in zip(places, losses, strict=True) if place not in ends]
    size = 0
    for number, stretch in enumerate(_stretches(places)):
        if stretch[-1] in ends and number < len(answers):  # whole: decoding would lose what the tokenizer does not know
            size += len(answers[number].encode())
        else:
            size += _decoded_bytes(tokenizer, [labels[place] for place in stretch])
        if stretch[-1] in ends and plain and stretch[0] == 1:
            size -= _decoded_bytes(tokenizer, line["input_ids"][:1])
    return RowScore(sum(losses), len(losses), sum(kept), len(kept), size)


def end_places(labels: list[int], places: list[int], tokenizer: Any) -> set[int]:
    """Those of `places` whose token ends an answer or a text: the last of each learnt stretch, where it is a special
    token. A stretch that max_length cut has no end.
    """
    special = {*tokenizer.all_special_ids, end_id(tokenizer)} - {tokenizer.unk_token_id}
    return {stretch[-1] for stretch in _stretches(places) if labels[stretch[-1]] in special}


def _stretches(places: list[int]) -> list[list[int]]:
    """Neighbouring places together."""
    found: list[list[int]] = []
    for place in places:
        if found and found[-1][-1] == place - 1:
            found[-1].append(place)
        else:
            found.append([place])
    return found


def _decoded_bytes(tokenizer: Any, ids: list[int]) -> int:
    return len(tokenizer.decode(ids, skip_special_tokens=True).encode())
