"""Where this copy of Tunebook lies: the library, the workflow that belongs to it, and the report's templates.

In a checkout the library stands in `workflow/`; in an installed package the workflow stands in the library.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from tunebook.errors import TunebookError

PACKAGE = Path(__file__).resolve().parent
DEPLOYED = PACKAGE / "deployed"  # in a wheel; pyproject.toml puts workflow/, report/, config/ and envs/ there
ROOT = DEPLOYED if DEPLOYED.exists() else PACKAGE.parents[1]
SNAKEFILE = ROOT / "workflow" / "Snakefile"
TEMPLATES = ROOT / "report"
EXPECTED = "TUNEBOOK_LIBRARY"  # environment variable: the folder of the library that the rules belong to


def check_copy(environment: Mapping[str, str]) -> None:
    """Raises TunebookError where the rules that started this stage belong to another copy of the library."""
    expected = environment.get(EXPECTED)
    if expected and Path(expected).resolve() != PACKAGE.parent:
        raise TunebookError(
            f"the rules belong to the library in {expected}, but the one in {PACKAGE.parent} runs; remove the other copy "
            f"from {os.getcwd()} and from the environment (pip uninstall tunebook), or unset {EXPECTED} to use it anyway"
        )
