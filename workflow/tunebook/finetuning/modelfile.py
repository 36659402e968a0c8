"""An Ollama Modelfile for an exported run: its file, the template that its rows were trained in, and what ends an answer.

Ollama's templates are in Go's language, and chat templates in Jinja's. So the chat template is asked for a conversation of marked
messages, and what it writes around the marks is said in Go. Source: https://github.com/ollama/ollama/blob/main/docs/modelfile.md
"""

from __future__ import annotations

from typing import Any

from tunebook.data.rows import Message
from tunebook.errors import TunebookError
from tunebook.finetuning.encoding import chat_template_of, spec_of, uses_chat_template
from tunebook.finetuning.tokenizers import end_ids

MARKS = ("\U000f0021", "\U000f0022", "\U000f0023", "\U000f0024")
QUOTES = '"""'


def modelfile(run: dict[str, Any], tokenizer: Any, file: str, max_new_tokens: int) -> str:
    """The text of a Modelfile. `file`: the GGUF file's name."""
    ends = tokenizer.convert_ids_to_tokens(end_ids(tokenizer))
    lines = [
        f"FROM ./{file}",
        f"TEMPLATE {QUOTES}{go_template(run, tokenizer)}{QUOTES}",
        *(f"PARAMETER stop {_quoted(end)}" for end in ends),
        "PARAMETER temperature 0",
        f"PARAMETER num_predict {max_new_tokens}",
    ]
    return "\n".join(lines) + "\n"


def go_template(run: dict[str, Any], tokenizer: Any) -> str:
    """How a conversation is written, as a Go template over Ollama's `.Messages`; of rows without a chat template, the text itself.

    Raises TunebookError where the chat template does not write each message in its place.
    """
    spec = spec_of(run)
    if run["dataset"]["text"] is not None or not uses_chat_template(tokenizer, spec):
        return "{{ .Prompt }}"
    roles = ("user", "assistant", "user", "assistant")
    messages = [Message(role=role, content=mark) for role, mark in zip(roles, MARKS, strict=True)]
    text = "".join(piece.text for piece in chat_template_of(tokenizer, spec).pieces(messages, [3]))
    parts, rest = [], text
    for mark in MARKS:
        before, found, rest = rest.partition(mark)
        if not found:
            raise TunebookError(
                "the chat template does not write each message once and in order; write the Modelfile's TEMPLATE by hand"
            )
        parts.append(before)
    head, asked, between, again = parts
    if asked != again or any("{{" in part or QUOTES in part for part in (*parts, rest)):
        raise TunebookError(
            "the chat template writes two turns in different ways; write the Modelfile's TEMPLATE by hand"
        )
    return (
        f"{head}{{{{ range $at, $_ := .Messages }}}}"
        f'{{{{ if eq .Role "user" }}}}{{{{ if $at }}}}{between}{{{{ end }}}}{{{{ .Content }}}}{asked}'
        '{{ else if eq .Role "assistant" }}{{ .Content }}{{ end }}{{ end }}'
    )


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
