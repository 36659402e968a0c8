"""What a stage computes, as one hash over its code. Light: the Snakefile imports it.

The code of a stage is every module of this library that it imports, directly or not. Docstrings, comments, type annotations,
layout, help texts and printed lines are words: they do not count. Nor do modules that only speak (`SPEAKING`).
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent
SPEAKING = (  # modules that change no result
    "tunebook.deployment",
    "tunebook.errors",
    "tunebook.finetuning.progress",
    "tunebook.source_code",
)
HASH_DIGITS = 16
UNWRITTEN = ("ctx", "kind", "type_comment")  # fields of syntax trees: how a name is used, u"", old comments
ANNOTATIONS = {("returns", ast.FunctionDef), ("returns", ast.AsyncFunctionDef), ("annotation", ast.arg)}


def code_identity(stage: str) -> str:
    """Hash of what stage `stage` computes: 16 hexadecimal digits, the same for any Python version."""
    digest = hashlib.sha256()
    for name, file in code_of(stage).items():
        digest.update(f"{name}\n".encode())
        digest.update(_module(file).text().encode() if file.suffix == ".py" else file.read_bytes())
    return digest.hexdigest()[:HASH_DIGITS]


def text_identity(folder: Path, *patterns: str) -> str:
    """Hash of the files below a folder whose names match any of the patterns, their places included."""
    digest = hashlib.sha256()
    for file in sorted({file for pattern in patterns for file in folder.rglob(pattern)}):
        digest.update(f"{file.relative_to(folder).as_posix()}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:HASH_DIGITS]


def code_of(stage: str) -> dict[str, Path]:
    """Dotted name -> file of the modules that stage `stage` imports, directly or not, its own among them, in order.

    A text file beside a module, with its name, belongs to it. Imports inside of functions count; imports that only
    annotations use do not. The command line (`__main__`) does not count: it decides nothing about a result.
    """
    found: dict[str, Path] = {}
    waiting = [f"tunebook.{stage.replace('-', '_')}"]
    while waiting:
        name = waiting.pop()
        file = _file_of(name)
        if file is None or name in found or name in SPEAKING:
            continue
        found[name] = file
        waiting += _imports(file)
        if (text := file.with_suffix(".txt")).exists():
            found[f"{name}.txt"] = text
    return dict(sorted(found.items()))


@functools.cache
def _file_of(name: str) -> Path | None:
    """The file of a module; None for a thing inside of a module, and for the package itself."""
    place = PACKAGE.joinpath(*name.split(".")[1:])
    for file in (place.with_suffix(".py"), place / "__init__.py"):
        if file.exists() and file != PACKAGE / "__init__.py" and place != PACKAGE:
            return file
    return None


def _imports(file: Path) -> list[str]:
    """Names of this library's modules, or of things in them, that a file imports."""
    names: list[str] = []
    for node in _module(file).imports():
        if isinstance(node, ast.ImportFrom):
            names += [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            names += [alias.name for alias in node.names]
    return [name for name in names if name.split(".")[0] == "tunebook"]


@functools.cache
def _module(file: Path) -> _Module:
    return _Module(ast.parse(file.read_text(encoding="utf-8")))


class _Module:
    """A module's syntax tree as text, without words. ast.dump differs between Python versions; this does not.

    Annotations of a class's attributes stay: they are the fields of dataclasses and of the config.
    """

    def __init__(self, tree: ast.Module) -> None:
        self.parts: list[str | ast.Import | ast.ImportFrom] = []
        self.names: set[str] = set()  # that are used
        self.fields: set[int] = set()  # ids of a class's attributes
        self._write(tree)

    def imports(self) -> Iterator[ast.Import | ast.ImportFrom]:
        """Its imports of names that are used. The linter allows others for annotations only."""
        for part in self.parts:
            if not isinstance(part, str):
                part.names = [name for name in part.names if (name.asname or name.name.split(".")[0]) in self.names]
                if part.names:
                    yield part

    def text(self) -> str:
        imports = "".join(ast.unparse(node) + "\n" for node in self.imports())
        return imports + "".join(part for part in self.parts if isinstance(part, str))

    def _write(self, node: ast.AST) -> None:
        if isinstance(node, ast.Import | ast.ImportFrom):
            self.parts.append(node)
            return
        if isinstance(node, ast.AnnAssign) and id(node) not in self.fields:
            node = ast.Assign(targets=[node.target], value=node.value)
        elif isinstance(node, ast.ClassDef):
            self.fields.update(id(part) for part in node.body if isinstance(part, ast.AnnAssign))
        elif isinstance(node, ast.Name):
            self.names.add(node.id)
        self.parts.append(f"{type(node).__name__}(")
        for name in node._fields:
            if name not in UNWRITTEN and (name, type(node)) not in ANNOTATIONS:
                self._write_field(name, getattr(node, name, None), in_class=isinstance(node, ast.ClassDef))
        self.parts.append(")")

    def _write_field(self, name: str, value: object, *, in_class: bool) -> None:
        """Empty fields are left out: newer versions of Python add such fields."""
        if isinstance(value, list):
            value = [item for item in value if not _is_words(item, in_class)]
        if value is None or value == []:
            return
        self.parts.append(f"{name}=")
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, ast.AST):
                self._write(item)
            else:
                self.parts.append(repr(item))
        self.parts.append(";")


def _is_words(node: object, in_class: bool) -> bool:
    """Whether a statement or an argument computes nothing: a docstring, a printed line, a help text, a bare annotation."""
    if isinstance(node, ast.Expr):
        call = node.value
        printed = isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "print"
        return printed or isinstance(call, ast.Constant)
    if isinstance(node, ast.AnnAssign):
        return node.value is None and not in_class
    return isinstance(node, ast.keyword) and node.arg == "help"
