"""Traces: the programs of architectures (program.py), as files that whoever plays them finds without torch.

Those of the architectures that Tunebook ships stand beside them. Others are made by the stage `trace` and named by a hash of what
they depend on, so that none is out of date.
"""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tunebook.cost.architectures import SHIPPED, Architecture
from tunebook.cost.program import Program
from tunebook.cost.program_json import from_json, to_json
from tunebook.errors import TunebookError
from tunebook.records import identity_of, write_text


def shapes_of(architecture: Architecture) -> list[dict[str, Any]]:
    """The heads that a shipped architecture is traced with, as arguments of the other functions."""
    kind = architecture.config["model_type"]
    if kind == "bert":
        heads = [("seq2seq-lm", True), ("sequence-classification", False)]
    else:
        heads = [("seq2seq-lm" if kind == "t5" else "causal-lm", False)]
    return [{"task": task, "encoder_decoder": assembled} for task, assembled in heads]


def shipped_file(name: str, task: str, *, encoder_decoder: bool) -> Path:
    """Where the trace of a shipped architecture stands, if it is shipped."""
    return SHIPPED / "traces" / f"{name}.{task}{'.encoder-decoder' if encoder_decoder else ''}.json"


def file_of(architecture: Architecture, task: str, *, encoder_decoder: bool) -> Path | None:
    """The file of a trace, whether it is there or not. None where it is not shipped and no folder was named."""
    if architecture.origin.parent == SHIPPED:
        file = shipped_file(architecture.name, task, encoder_decoder=encoder_decoder)
        if file.exists():
            return file
    if architecture.traces is None:
        return None
    parts = {"config": architecture.config, "task": task, "encoder_decoder": encoder_decoder}
    return architecture.traces / f"{identity_of(parts | {'transformers': version('transformers')})}.json"


def is_traced(architecture: Architecture, task: str, *, encoder_decoder: bool) -> bool:
    """Whether the trace was made, or was tried in vain."""
    file = file_of(architecture, task, encoder_decoder=encoder_decoder)
    return file is not None and file.exists()


def program_of(architecture: Architecture, task: str, *, encoder_decoder: bool) -> Program:
    """The program of an architecture with a head. Raises TunebookError where it was not traced, or cannot be."""
    file = file_of(architecture, task, encoder_decoder=encoder_decoder)
    if file is None or not file.exists():
        raise TunebookError(
            f"architecture {architecture.name} was not traced for {task} yet: `snakemake estimate` does it, or python -m tunebook trace"
        )
    return _read(file)


@lru_cache(maxsize=64)
def _read(file: Path) -> Program:
    text = file.read_text(encoding="utf-8")
    try:
        if text.startswith("{"):
            raise TunebookError(json.loads(text)["problem"])
        return from_json(text)
    except (ValueError, TypeError, IndexError, KeyError):
        raise TunebookError(f"{file} is damaged: delete it, and it is made again") from None


def write_trace(file: Path, found: Program | TunebookError) -> None:
    """Write a program, or why there is none."""
    text = json.dumps({"problem": str(found)}) if isinstance(found, TunebookError) else to_json(found)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, text + "\n")
