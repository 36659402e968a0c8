"""One model that a person talks to: what it is given is what its rows look like in training, and it answers as in the report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import GenerationConfig
from transformers.generation.streamers import BaseStreamer

from tunebook.data.rows import Message
from tunebook.errors import TunebookError
from tunebook.finetuning.chat import STAND_IN
from tunebook.finetuning.encoding import encode, prompt_ids, prompt_of, spec_of
from tunebook.finetuning.generation import Answer, decoding_of, finished_answer, own_generation_config
from tunebook.finetuning.positions import positions_of

UNCUT = 10**9  # tokens: what a person says is refused where it is too long, never cut without a word
UNFINISHED = (
    "\ufffd"  # what a tokenizer writes for the first bytes of a character whose others come with the next token
)


@dataclass
class Speaker:
    """A run's model in a conversation. `history`: what was said so far, for a model that is asked with it.

    Data whose rows are conversations are learnt with what was said before; any other row stands alone, and so does a question here,
    unless `remembers` says otherwise.
    """

    name: str
    run: dict[str, Any]
    model: torch.nn.Module
    tokenizer: Any
    max_new_tokens: int
    remembers: bool = False
    history: list[Message] = field(default_factory=list)

    def reply(self, text: str, say: Callable[[str], object]) -> Answer:
        """Answer a person. `say` is called with each new piece of the answer.

        Raises TunebookError where the model cannot read as much, and then forgets that it was asked.
        """
        if self.run["task"] == "sequence-classification":
            answer = self._classified(text)
            say(answer.text)
            return answer
        asked = [*self.history, Message(role="user", content=text)]
        answer = self._streamed(self._ids(text, asked), say)
        if self.remembers:
            self.history = [*asked, Message(role="assistant", content=answer.text)]
        return answer

    def _ids(self, text: str, asked: list[Message]) -> list[int]:
        task, spec = self.run["task"], spec_of(self.run) | {"learn": "last", "max_length": UNCUT}
        if task == "causal-lm" and self.run["dataset"]["text"] is not None:  # learnt to go on, not to answer
            ids = prompt_ids(text, self.tokenizer, spec, chat=False)
        elif task == "causal-lm":
            messages = [*asked, Message(role="assistant", content=STAND_IN)]
            row = {"text": None, "messages": [message.stored() for message in messages]}
            line = encode(row, self.tokenizer, spec)
            ids = prompt_of(self.run, {"input_ids": line.input_ids, "labels": line.labels})
        else:
            ids = self._read(text)
        self._check_room(len(ids))
        return ids

    def _read(self, text: str) -> list[int]:
        """What an encoder is given."""
        spec = spec_of(self.run) | {
            "max_length": UNCUT,
            "max_target_length": 1,
            "labels": self.run["dataset"]["labels"],
        }
        row = {"prompt": text, "text": None, "messages": None, "completion": STAND_IN}
        return encode(row | {"label": next(iter(spec["labels"]), None)}, self.tokenizer, spec).input_ids

    def _check_room(self, tokens: int) -> None:
        most = positions_of(self.model.config.to_dict()).most
        answer = (
            0
            if self.model.config.is_encoder_decoder or self.run["task"] == "sequence-classification"
            else self.max_new_tokens
        )
        if most is not None and tokens + answer > most:
            room = f" and an answer takes up to {answer}" if answer else ""
            raise TunebookError(
                f"{self.name} reads {most} tokens at most; this takes {tokens}{room}: ask something shorter"
                + (", or begin anew with /clear" if self.history else "")
            )

    def _classified(self, text: str) -> Answer:
        """The labels by probability."""
        ids = self._read(text)
        self._check_room(len(ids))
        device = next(self.model.parameters()).device
        with torch.no_grad():
            logits = self.model(input_ids=torch.tensor([ids], device=device)).logits[0]
        shares = sorted(
            zip(logits.float().softmax(0).tolist(), self.model.config.id2label.values(), strict=True), reverse=True
        )
        return Answer(", ".join(f"{label} {share:.3f}" for share, label in shares), 0, stopped=True)

    @torch.no_grad()
    def _streamed(self, ids: list[int], say: Callable[[str], object]) -> Answer:
        settings = decoding_of(self.model, self.tokenizer, self.max_new_tokens).in_force
        heard = _Heard(self.tokenizer, settings["eos_token_id"], say)
        given = torch.tensor([ids], device=next(self.model.parameters()).device)
        with own_generation_config(self.model, GenerationConfig(**settings, use_cache=True)):
            self.model.generate(input_ids=given, attention_mask=torch.ones_like(given), streamer=heard)
        return heard.answer


class _Heard(BaseStreamer):
    """Turns the tokens that `generate` makes into text, a piece at a time. Its first call is what the model was given."""

    def __init__(self, tokenizer: Any, ends: list[int], say: Callable[[str], object]) -> None:
        self.tokenizer, self.ends, self.say = tokenizer, ends, say
        self.tokens: list[int] | None = None
        self.said = ""

    def put(self, value: torch.Tensor) -> None:
        if self.tokens is None:
            self.tokens = []
            return
        self.tokens += value.flatten().tolist()
        text = self.answer.text
        if not text.endswith(UNFINISHED):
            self._say(text)

    def end(self) -> None:
        self._say(self.answer.text)

    @property
    def answer(self) -> Answer:
        return finished_answer(self.tokens or [], self.ends, self.tokenizer)

    def _say(self, text: str) -> None:
        if text.startswith(self.said) and len(text) > len(self.said):  # a tokenizer may still change its last letters
            self.say(text[len(self.said) :])
            self.said = text
