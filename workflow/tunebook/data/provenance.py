"""Where a fetched thing came from: the record beside every model and data set."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any


def provenance(kind: str, spec: dict[str, Any], folder: Path, **facts: Any) -> dict[str, Any]:
    """The content of provenance.json: what was asked for, what came, and when (UTC).

    `kind`: model or dataset. `facts`: revision, sha256, rows or parameters and what else is known.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        "name": spec["name"],
        "kind": kind,
        "source": spec["source"],
        "licence": spec["licence"],
        **facts,
        "files": [str(path.relative_to(folder)) for path in files],
        "bytes": sum(path.stat().st_size for path in files),
        "retrieved": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
