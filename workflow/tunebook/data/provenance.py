"""Where a fetched thing came from: the record beside every model and data set."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from tunebook.digests import digests_of


def provenance(kind: str, spec: dict[str, Any], folder: Path, **facts: Any) -> dict[str, Any]:
    """The content of provenance.json: what was asked for, what came, and when (UTC).

    `kind`: model or dataset. `facts`: revision, sha256, rows or parameters and what else is known.
    """
    digests = digests_of(folder)
    return {
        "name": spec["name"],
        "kind": kind,
        "source": spec["source"],
        "licence": spec["licence"],
        **facts,
        "files": list(digests),
        "digests": digests,
        "bytes": sum((folder / name).stat().st_size for name in digests),
        "retrieved": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
