"""A model's chat template is a program of strangers: it is tried once, when the model is fetched, within a budget."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from tunebook.errors import TunebookError

SECONDS = 10
BYTES = 1 << 30  # of address space: a bare Python with Jinja takes a tenth of it
GENERATION = re.compile(
    r"{%[-+]?\s*(end)?generation\s*[-+]?%}"
)  # transformers' own tag: it marks, and computes nothing
REFUSED = "its chat template does not end within a budget of time and memory: do not use this model"
# Compiling is tried too: Jinja computes a template's constants then. What else a template raises, such as a refusal of this
# conversation, is told when it is used.
PROGRAM = """
import resource
import sys
import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])

def refuse(message):
    raise jinja2.TemplateError(message)

environment.globals |= {"raise_exception": refuse, "strftime_now": lambda form: "2026-01-01"}
turns = [dict(role=("user", "assistant")[number % 2], content="A turn.") for number in range(4)]
try:
    template = environment.from_string(sys.stdin.read())
    for generating in (False, True):
        template.render(messages=turns, add_generation_prompt=generating, bos_token="", eos_token="", tools=None)
except MemoryError:
    raise
except Exception:
    pass
"""


def check_chat_template(name: str, folder: Path) -> None:
    """Raise TunebookError if the chat template of a model's tokenizer does not compile and end on a short conversation.

    It runs in a process of its own with limits of time and memory, for no process can stop a computation of its own inside
    of Python's integers or of its strings.
    """
    command = [sys.executable, "-c", PROGRAM, str(BYTES)]
    for text in _templates_in(folder):
        try:
            done = subprocess.run(
                command,
                input=GENERATION.sub("", text).encode(errors="replace"),
                capture_output=True,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise TunebookError(f"model {name}: {REFUSED} (more than {SECONDS} s)") from None
        if done.returncode:
            raise TunebookError(f"model {name}: {REFUSED} (exit status {done.returncode})")


def _templates_in(folder: Path) -> list[str]:
    """The chat templates of a saved tokenizer: files of their own, and those in its configuration."""
    texts = [file.read_text(encoding="utf-8", errors="replace") for file in sorted(folder.rglob("*.jinja"))]
    for name in ("tokenizer_config.json", "chat_template.json", "processor_config.json"):
        if (folder / name).exists():
            try:
                told = json.loads((folder / name).read_text(encoding="utf-8")).get("chat_template")
            except (ValueError, AttributeError, RecursionError):
                raise TunebookError(f"{folder / name}: not the JSON of a tokenizer; take another revision") from None
            texts += [told] if isinstance(told, str) else []
            texts += (
                [each.get("template", "") for each in told if isinstance(each, dict)] if isinstance(told, list) else []
            )
    return texts
