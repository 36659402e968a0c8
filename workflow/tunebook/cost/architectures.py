"""Architectures: the facts of a model that its cost follows from, as JSON files. Light: no torch.

A file has `config` (the keys of transformers' config.json that differ from its defaults), `stored_dtype` (of the
published weights), `parameters` (their number, or null) and `from` (where the facts stand). A plain config.json will do.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunebook.errors import TunebookError

SHIPPED = Path(__file__).parent / "architectures"
DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Architecture:
    """`config`: keys of config.json; `stored_dtype`: of the weights as published; `origin`: the file that says so; `traces`: folder
    of the traces that Tunebook does not ship."""

    name: str
    config: dict[str, Any]
    stored_dtype: str
    origin: Path
    traces: Path | None = None

    @property
    def stored_bytes(self) -> int:
        """Bytes of a stored parameter."""
        return DTYPE_BYTES[self.stored_dtype]


def shipped() -> list[str]:
    """Names of the architectures that Tunebook ships."""
    return sorted(file.stem for file in SHIPPED.glob("*.json"))


def file_of(name: str) -> Path:
    """The file of an architecture: a shipped one by its name, any other by its path."""
    return Path(name).expanduser() if name.endswith(".json") else SHIPPED / f"{name}.json"


def read_architecture(name: str, traces: Path | None = None) -> Architecture:
    """Read an architecture by its name or path. Raises TunebookError where there is none. `traces`: see Architecture."""
    file = file_of(name)
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TunebookError(
            f"architecture {name}: no such file; allowed: {', '.join(shipped())}, or the path of a JSON file (a model's "
            "config.json will do)"
        ) from None
    except (OSError, ValueError) as error:
        raise TunebookError(f"architecture {name}: {file} is not readable as JSON ({error})") from None
    config = values.get("config", values) if isinstance(values, dict) else {}
    if not isinstance(config, dict) or "model_type" not in config:
        raise TunebookError(f"architecture {name}: {file} has no model_type; take a model's config.json as it is")
    stored = values.get("stored_dtype") or config.get("dtype") or config.get("torch_dtype") or "float32"
    if stored not in DTYPE_BYTES:
        raise TunebookError(f"architecture {name}: found stored_dtype {stored}; allowed: {', '.join(DTYPE_BYTES)}")
    return Architecture(name=name, config=config, stored_dtype=stored, origin=file, traces=traces)
