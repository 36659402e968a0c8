"""What a stage computes, as one hash over its code. Light: the Snakefile imports it.

The code of a stage is every module of this library that it imports, directly or not. Docstrings, comments, type annotations,
layout, help texts and printed lines are words: they do not count. Nor do modules that only speak (`SPEAKING`).
"""

from __future__ import annotations

import ast
import functools
import hashlib
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


def code_identity(stage: str) -> str:
    """Hash of what stage `stage` computes: 16 hexadecimal digits, the same for any Python version."""
    digest = hashlib.sha256()
    for name, file in code_of(stage).items():
        digest.update(f"{name}\n".encode())
        digest.update(_computation(file) if file.suffix == ".py" else file.read_bytes())
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


@functools.cache
def _imports(file: Path) -> tuple[str, ...]:
    """Names of this library's modules, or of things in them, that a file imports."""
    names: list[str] = []
    for node in _without_words(file).imports:
        if isinstance(node, ast.ImportFrom) and node.module and node.names:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return tuple(name for name in names if name.split(".")[0] == "tunebook")


@functools.cache
def _computation(file: Path) -> bytes:
    """A module as its syntax tree, without words. ast.dump differs between Python versions; this does not."""
    parts: list[str] = []
    _write(_without_words(file).tree, parts)
    return "".join(parts).encode()


def _write(value: object, parts: list[str]) -> None:
    """Append a syntax tree as text. Fields that are empty are left out: newer versions of Python add such fields."""
    if isinstance(value, ast.Import | ast.ImportFrom) and not value.names:
        return
    if isinstance(value, ast.AST):
        parts.append(f"{type(value).__name__}(")
        for name in value._fields:
            field = getattr(value, name, None)
            if field is not None and field != [] and name not in UNWRITTEN:
                parts.append(f"{name}=")
                _write(field, parts)
        parts.append(")")
    elif isinstance(value, list):
        for item in value:
            _write(item, parts)
        parts.append(";")
    else:
        parts.append(repr(value))


@functools.cache
def _without_words(file: Path) -> _Silence:
    silence = _Silence(ast.parse(file.read_text(encoding="utf-8")))
    for node in silence.imports:  # a name that nothing uses any more: the linter allows these for annotations only
        node.names = [alias for alias in node.names if (alias.asname or alias.name.split(".")[0]) in silence.names]
    return silence


class _Silence(ast.NodeTransformer):
    """Takes words out of a syntax tree: docstrings, annotations outside of class bodies, help texts and printed lines.

    Annotations of a class's attributes stay: they are the fields of dataclasses and of the config. `tree` is what is left,
    `imports` its imports, `names` the names that it uses.
    """

    def __init__(self, tree: ast.Module) -> None:
        self.imports: list[ast.Import | ast.ImportFrom] = []
        self.names: set[str] = set()
        self.fields: set[int] = set()  # ids of nodes
        self.tree = self.visit(tree)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        self.names.add(node.id)
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return node

    def visit_Import(self, node: ast.Import) -> ast.AST:
        self.imports.append(node)
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        self.imports.append(node)
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        value = node.value
        if isinstance(value, ast.Constant):
            return None
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "print":
            return None
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_keyword(self, node: ast.keyword) -> ast.AST | None:
        return None if node.arg == "help" else self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self.fields.update(id(part) for part in node.body if isinstance(part, ast.AnnAssign))
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if id(node) in self.fields:
            return self.generic_visit(node)
        if node.value is None:
            return None
        return self.generic_visit(ast.Assign(targets=[node.target], value=node.value))
