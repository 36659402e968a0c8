"""Which of this library's files a stage depends on, read from their imports. Light: the Snakefile imports it."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

PACKAGE = Path(__file__).parent


def code_of(stage: str) -> list[Path]:
    """Files of the modules that stage `stage` imports, directly or not, its own among them, in order of their names.

    A text file beside a module, with its name, belongs to it. Imports inside of functions count. The command line
    (`__main__`) does not: it decides nothing about a result.
    """
    found: set[Path] = set()
    waiting = [_file_of(f"tunebook.{stage.replace('-', '_')}")]
    while waiting:
        file = waiting.pop()
        if file is not None and file not in found:
            found.add(file)
            waiting += [_file_of(name) for name in _imports(file)]
    texts = {text for file in found if (text := file.with_suffix(".txt")).exists()}
    return sorted(found | texts)


@functools.cache
def _imports(file: Path) -> tuple[str, ...]:
    """Names of this library's modules, or of things in them, that a file imports."""
    names = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "tunebook":
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names if alias.name.split(".")[0] == "tunebook"]
    return tuple(names)


@functools.cache
def _file_of(name: str) -> Path | None:
    """The file of a module; None for a thing inside of a module, and for the package itself."""
    place = PACKAGE.joinpath(*name.split(".")[1:])
    for file in (place.with_suffix(".py"), place / "__init__.py"):
        if file.exists() and file != PACKAGE / "__init__.py" and place != PACKAGE:
            return file
    return None
