"""Where this copy of Tunebook lies: the library, the workflow that belongs to it, and the report's templates.

In a checkout the library stands in `workflow/`; in an installed package the workflow stands in the library.
"""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import tomllib
from collections.abc import Mapping
from pathlib import Path

from tunebook.errors import TunebookError

PACKAGE = Path(__file__).resolve().parent
DEPLOYED = PACKAGE / "deployed"  # in a wheel; pyproject.toml puts workflow/, report/, config/ and envs/ there
ROOT = DEPLOYED if DEPLOYED.exists() else PACKAGE.parents[1]
SNAKEFILE = ROOT / "workflow" / "Snakefile"
TEMPLATES = ROOT / "report"
EXPECTED = "TUNEBOOK_LIBRARY"  # environment variable: the folder of the library that the rules belong to


def release() -> str:
    """This copy's version and, in a git checkout, its commit, such as `0.1.0, commit 89e4b69 with uncommitted changes`."""
    if ROOT == DEPLOYED:
        return importlib.metadata.version("tunebook")
    project = ROOT / "pyproject.toml"
    if not project.exists():  # a workflow that was copied without it
        return "of unknown version"
    version = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"]
    if not (ROOT / ".git").exists():  # a folder above may be a repository of somebody else's
        return version
    try:
        commit, changes = _git("rev-parse", "--short", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return version
    return f"{version}, commit {commit}{' with uncommitted changes' if changes else ''}"


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def check_copy(environment: Mapping[str, str]) -> None:
    """Raises TunebookError where the rules that started this stage belong to another copy of the library."""
    expected = environment.get(EXPECTED)
    if expected and Path(expected).resolve() != PACKAGE.parent:
        raise TunebookError(
            f"the rules belong to the library in {expected}, but the one in {PACKAGE.parent} runs; remove the other copy "
            f"from {os.getcwd()} and from the environment (pip uninstall tunebook), or unset {EXPECTED} to use it anyway"
        )
