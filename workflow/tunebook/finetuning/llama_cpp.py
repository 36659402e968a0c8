"""A GGUF file as llama.cpp reads it: token ids, losses and greedy answers, to hold against those of the model that it was made from.

The package `llama-cpp-python` is optional: it is built when it is installed, and Tunebook itself needs none of it.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy

from tunebook.finetuning.generation import Answer, finished_answer
from tunebook.finetuning.scoring import scored_places

PACKAGE = "llama_cpp"


def is_installed() -> bool:
    return importlib.util.find_spec(PACKAGE) is not None


class LlamaCpp:
    """A loaded GGUF file. `longest`: tokens that it is given at most, with those that it answers."""

    def __init__(self, file: Path, longest: int) -> None:
        from llama_cpp import Llama

        threads = len(os.sched_getaffinity(0))
        told = {"n_ctx": longest, "n_batch": longest, "n_threads": threads, "n_threads_batch": threads}
        self.llama = Llama(str(file), logits_all=True, verbose=False, **told)

    def ids(self, text: str) -> list[int]:
        """The token ids of a text, special tokens among them, with nothing put before or behind it."""
        return self.llama.tokenize(text.encode(), add_bos=False, special=True)

    def losses(self, line: dict[str, Any]) -> list[float]:
        """A row's losses in nats, a value a token of `scored_places`."""
        places = scored_places(line["labels"], "causal-lm")
        logits = self._logits(line["input_ids"])[[place - 1 for place in places]].astype(numpy.float64)
        highest = logits.max(axis=1, keepdims=True)
        totals = numpy.log(numpy.exp(logits - highest).sum(axis=1)) + highest[:, 0]
        return (totals - logits[range(len(places)), [line["labels"][place] for place in places]]).tolist()

    def answer(self, prompt: Sequence[int], ends: Sequence[int], tokenizer: Any, max_new_tokens: int) -> Answer:
        """A greedy answer, as `generation.answer` gives it."""
        new: list[int] = []
        last = self._logits(prompt)[-1]
        while len(new) < max_new_tokens and (not new or new[-1] not in ends):
            if new:
                self.llama.eval(new[-1:])
                last = self.llama.scores[len(prompt) + len(new) - 1]
            new.append(int(last.argmax()))
        return finished_answer(new, list(ends), tokenizer)

    def _logits(self, ids: Sequence[int]) -> numpy.ndarray:
        """(T, V) of a text from its beginning."""
        self.llama.reset()
        self.llama.eval(list(ids))
        return self.llama.scores[: len(ids)]
