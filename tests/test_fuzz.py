"""Whatever a config, a data file, a template, a wheel or a GGUF file holds: an answer within seconds, or a TunebookError.

Inputs are drawn from seeds: the number of an input that fails draws it again. `make test` tries a few, `make test-faults` 10^4.
"""

from __future__ import annotations

import copy
import io
import json
import random
import resource
import signal
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pytest

from tests.configs import valid_config
from tunebook.configuration.dataset_checks import dataset_problems
from tunebook.configuration.study import fetching_specs
from tunebook.configuration.validation import validate
from tunebook.data.rendering import Renderer
from tunebook.data.sources import wheel
from tunebook.data.tabular import Row, read_rows
from tunebook.errors import TunebookError
from tunebook.fetch_model import _convert_gguf

SECONDS = 10
MEMORY_BYTES = 3 << 30  # more than the process has when an input begins
ODD = [
    None,
    True,
    -1,
    0,
    1e308,
    2**70,
    "",
    " ",
    "x" * 10_000,
    "\ud800",
    "\x00",
    "../..",
    [],
    {},
    [[]],
    {"a": None},
    "{{ x }}",
]
ODD += [
    "=cmd",
    "\x1b[2J",
    "a/b",
    "*",
    "[",
    "~",
    "NaN",
    "1e999",
    {"type": "hub"},
    {"type": ["wheel"]},
    [None, 1],
    "{% if %}",
]
FRAGMENTS = [
    "{{ question }}",
    "{{ answer|upper }}",
    "{{ 9**9**9 }}",
    "{{ 'a'*10**9 }}",
    "{% for i in range(9) %}",
    "{% endfor %}",
]
FRAGMENTS += [
    "{{ question.x.y }}",
    "{{ loop }}",
    "{{ self }}",
    "{% macro f() %}",
    "{% endmacro %}",
    "{{ f() }}",
    "{{ [1]|random }}",
]
FRAGMENTS += [
    "{{ ''.__class__ }}",
    "{% include 'x' %}",
    "{% set a = question %}",
    "{{ a }}",
    "{{ range(99999)|list|length }}",
]
FRAGMENTS += [
    "{{ question|map('x') }}",
    "{{ '%s' % question }}",
    "{{ dict(a=1) }}",
    "{#",
    "#}",
    "{{",
    "}}",
    "{{ -question }}",
    "\x00",
]
TABULAR = {
    "csv": b'question,answer\n"a, b",c\n1,"2\n3"\n',
    "tsv": b"question\tanswer\na\tb\n",
    "json": b'[{"question": "a", "answer": {"b": [1, 2.5e3, null, "\\u00e4"]}}]',
    "jsonl": b'{"question": "a", "answer": "b"}\n{"question": 1, "answer": [true]}\n',
    "yaml": b"- question: a\n  answer: &x [1, {b: c}]\n- question: *x\n  answer: !!str 1\n",
    "python": b"rows = [{'question': 'a', 'answer': ('b', 1.5)}, {'question': None}]\n",
}
FORM = {"encoding": "utf-8", "delimiter": None, "quoting": None, "names": [], "key": None, "documents": "file"}


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Some bytes flipped, cut out, doubled, or put in, as strangers' files have them."""
    found = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        at, size = chance.randrange(len(found) + 1), chance.choice((1, 2, 8, 40))
        kind = chance.randrange(4)
        if kind == 0 and found:
            found[at % len(found)] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del found[at : at + size]
        elif kind == 2:
            found[at:at] = found[at : at + size] * chance.choice((1, 3, 100))
        else:
            found[at:at] = chance.choice(
                (b"\0", b"\xff" * size, b"[" * 200, b'"', b"\n", b"{{", b"&a *a", chance.randbytes(size))
            )
    return bytes(found)


def try_config(chance: random.Random, folder: Path) -> None:
    config = copy.deepcopy(valid_config())
    for _ in range(chance.randint(1, 3)):
        place: Any = config
        for _ in range(chance.randint(0, 4)):
            inner = [
                value
                for value in (place.values() if isinstance(place, dict) else place)
                if isinstance(value, dict | list)
            ]
            place = chance.choice(inner) if inner else place
        if isinstance(place, dict) and place:
            place[chance.choice([*place, "new", 7])] = copy.deepcopy(chance.choice(ODD))
        elif isinstance(place, list) and place:
            place[chance.randrange(len(place))] = copy.deepcopy(chance.choice(ODD))
    fetching_specs(validate(config))


def try_rows(chance: random.Random, folder: Path) -> None:
    kind = chance.choice(list(TABULAR))
    (folder / "rows").write_bytes(mutated(TABULAR[kind], chance))
    for _ in read_rows(folder / "rows", {**FORM, "type": kind, "key": "rows" if kind == "python" else None}):
        pass


def try_parquet(chance: random.Random, folder: Path) -> None:
    buffer = io.BytesIO()
    pandas.DataFrame({"question": ["a", "b"] * 20, "answer": range(40)}).to_parquet(buffer)
    (folder / "rows").write_bytes(mutated(buffer.getvalue(), chance))
    for _ in read_rows(folder / "rows", {**FORM, "type": "parquet"}):
        pass


def try_template(chance: random.Random, folder: Path) -> None:
    config = valid_config()
    template = "".join(chance.choices(FRAGMENTS, k=chance.randint(1, 5)))
    dataset = config["datasets"]["pairs"] | {"prompt": template, "completion": "{{ answer }}", "columns": {}}
    if list(dataset_problems("datasets.pairs", dataset)):
        return
    spec = fetching_specs(validate(config | {"datasets": config["datasets"] | {"pairs": dataset}}))["prepare"]["pairs"]
    render = Renderer(spec, columns=["question", "answer"])
    for number in range(2):
        json.dumps(
            vars(render(Row("file", number, {"question": f"a {number}", "answer": "b"}))), ensure_ascii=False
        ).encode()


def try_wheel(chance: random.Random, folder: Path) -> None:
    with zipfile.ZipFile(folder / "a.whl", "w", chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as members:
        members.writestr("data/a.csv", b"a,b\n" * 50)
        members.writestr("data/b.csv", b"a,b\n")
    (folder / "a.whl").write_bytes(mutated((folder / "a.whl").read_bytes(), chance))
    wheel._extract(folder / "a.whl", "data/", folder / "unpacked")


def try_gguf(chance: random.Random, folder: Path) -> None:
    header = (
        b"GGUF\x03\0\0\0"
        + bytes(8)
        + b"\x01"
        + bytes(7)
        + b"\x14"
        + bytes(7)
        + b"general.architecture\x08\0\0\0\x05"
        + bytes(7)
    )
    (folder / "a.gguf").write_bytes(mutated(header + b"llama" + bytes(64), chance))
    _convert_gguf(folder / "a.gguf", folder / "out")


KINDS: dict[
    str, tuple[Callable[[random.Random, Path], None], int, int]
] = {  # what is tried, how often in short, in long
    "config": (try_config, 80, 4000),
    "rows": (try_rows, 80, 2500),
    "parquet": (try_parquet, 30, 1000),
    "template": (try_template, 60, 1500),
    "wheel": (try_wheel, 60, 900),
    "gguf": (try_gguf, 5, 100),
}


def too_slow(number: int, frame: Any) -> None:
    raise AssertionError(f"more than {SECONDS} s")


def try_many(kind: str, numbers: range, folder: Path) -> None:
    """Try inputs by their numbers. Memory is limited, and so is the time of each."""
    attempt = KINDS[kind][0]
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY_BYTES, limits[1]))
    try:
        for number in numbers:
            signal.signal(signal.SIGALRM, too_slow)
            signal.alarm(SECONDS)
            try:
                attempt(random.Random(f"{kind} {number}"), folder)
            except TunebookError:
                pass
            except BaseException as error:
                raise AssertionError(f"{kind} {number}: {type(error).__name__}: {error}") from error
            finally:
                signal.alarm(0)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


@pytest.mark.parametrize("kind", KINDS)
def test_a_few_inputs(kind, tmp_path):
    try_many(kind, range(KINDS[kind][1]), tmp_path)


@pytest.mark.faults
@pytest.mark.parametrize("kind", KINDS)
def test_ten_thousand_inputs(kind, tmp_path):
    try_many(kind, range(KINDS[kind][2]), tmp_path)
