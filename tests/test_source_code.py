"""What a stage computes, told from its code: words do not count, everything else does."""

from __future__ import annotations

import pytest

from tunebook import source_code
from tunebook.__main__ import STAGES
from tunebook.source_code import SPEAKING, code_identity, code_of

STAGE = '''
"""A stage."""
from __future__ import annotations

from dataclasses import dataclass

from tunebook.data.rows import rows
from tunebook.errors import TunebookError


@dataclass(frozen=True)
class Settings:
    """What it is told."""

    rate: float = 0.5


def train(count):
    # a comment
    total = rows(count) * Settings().rate
    print("done", flush=True)
    return total


def arguments(parser):
    parser.add_argument("--count", help="how many")
'''
FILES = {
    "__init__.py": "",
    "train.py": STAGE,
    "errors.py": "class TunebookError(Exception):\n    pass\n",
    "data/__init__.py": "",
    "data/rows.py": "def rows(count):\n    return count\n",
    "other/__init__.py": "",
    "other/rows.py": "def rows(count):\n    return count + 1\n",
}
SAME = {
    "docstring": ('"""A stage."""', '"""A stage, told in other words."""'),
    "docstring of a class": ('    """What it is told."""\n', ""),
    "comment": ("# a comment", "# another comment"),
    "layout": ("rows(count) * Settings().rate", "(\n        rows(count) * Settings().rate\n    )"),
    "annotations": ("def train(count):", "def train(count: int) -> float:"),
    "annotation of a variable": ("    total = rows", "    total: float = rows"),
    "import for an annotation": ("def train(count):", "from tunebook.other.rows import Row\n\ndef train(count: Row):"),
    "printed line": ('print("done", flush=True)', 'print("finished", flush=True)'),
    "help": ('help="how many"', 'help="the number of rows"'),
}
DIFFERENT = {
    "constant": ("0.5", "0.25"),
    "field's type": ("rate: float", "rate: int"),
    "operator": ("* Settings", "+ Settings"),
    "decorator": ("@dataclass(frozen=True)\n", ""),
    "default": ("def train(count):", "def train(count=1):"),
    "module of the same name": ("tunebook.data.rows", "tunebook.other.rows"),
    "import that is used": ("from tunebook.errors import TunebookError", "from math import pi as rows"),
}


@pytest.fixture
def identity(tmp_path, monkeypatch):
    """A function: the identity of stage `train` of a small library, after an edit of its module."""

    def of(edit: tuple[str, str] = ("", ""), **files: str) -> str:
        for name, text in {**FILES, "train.py": STAGE.replace(*edit, 1), **files}.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
        for cached in (source_code._file_of, source_code._module):
            cached.cache_clear()
        return code_identity("train")

    monkeypatch.setattr(source_code, "PACKAGE", tmp_path)
    yield of
    for cached in (source_code._file_of, source_code._module):
        cached.cache_clear()


@pytest.mark.parametrize("edit", SAME)
def test_words_do_not_count(identity, edit):
    assert SAME[edit][0] in STAGE
    assert identity(SAME[edit]) == identity()


@pytest.mark.parametrize("edit", DIFFERENT)
def test_what_is_computed_counts(identity, edit):
    assert DIFFERENT[edit][0] in STAGE
    assert identity(DIFFERENT[edit]) != identity()


def test_a_module_that_speaks_does_not_count_and_one_that_computes_does(identity):
    before = identity()
    assert identity(**{"errors.py": "class TunebookError(ValueError):\n    pass\n"}) == before
    assert identity(**{"data/rows.py": "def rows(count):\n    return 2 * count\n"}) != before


def test_the_same_code_in_another_module_is_other_code(identity):
    """Two modules of one name are not taken for one another, even where the one has the other's text."""
    swapped = {"data/rows.py": FILES["other/rows.py"], "other/rows.py": FILES["data/rows.py"]}
    assert identity(DIFFERENT["module of the same name"], **swapped) != identity()


def test_every_module_that_only_speaks_exists():
    assert all(source_code._file_of(name) for name in SPEAKING)


def test_every_stage_has_an_identity_and_its_own_module():
    assert len({code_identity(stage) for stage in STAGES}) == len(STAGES)
    assert all(f"tunebook.{stage.replace('-', '_')}" in code_of(stage) for stage in STAGES)
