"""Errors of the system, of libraries and of strangers' files end in seconds, with a sentence that names the file."""

from __future__ import annotations

import datetime
import errno
import json
import os
import re
import shutil
import struct
import time
import zipfile
from pathlib import Path

import huggingface_hub
import pyarrow
import pyarrow.parquet
import pytest

from tests import tiny
from tests.configs import valid_config, write_config
from tests.small_hub import fetched_model
from tunebook import __main__ as command_line
from tunebook import schema
from tunebook.configuration.study import fetching_specs
from tunebook.configuration.validation import ConfigError, validate
from tunebook.data import local_files, templates
from tunebook.data.sources import local, wheel
from tunebook.errors import TunebookError
from tunebook.fetch_model import fetch_model
from tunebook.finetuning import chat_templates
from tunebook.records import write_json

SECONDS = 10


@pytest.fixture(autouse=True)
def _in_seconds(monkeypatch):
    monkeypatch.setattr(templates, "ROW_SECONDS", 1)
    monkeypatch.setattr(chat_templates, "SECONDS", 3)
    began = time.monotonic()
    yield
    assert time.monotonic() - began < 6 * SECONDS  # the machine may be busy; what hangs, hangs for minutes


def raising(error: Exception):
    def main(args):
        raise error

    return main


SYSTEM = {  # what is raised -> what is said
    "EIO": (OSError(errno.EIO, "Input/output error", "/disk/weights"), "/disk/weights: Input/output error; the disk"),
    "EACCES": (PermissionError(errno.EACCES, "Permission denied", "/root/x"), "/root/x: Permission denied; the system"),
    "ENAMETOOLONG": (OSError(errno.ENAMETOOLONG, "File name too long", "long"), "choose shorter names"),
    "EDQUOT": (OSError(errno.EDQUOT, "Disk quota exceeded", "x"), "no space left"),
    "ENOSPC": (OSError(errno.ENOSPC, "No space left on device", "x"), "no space left"),
    "memory": (MemoryError(), "out of memory"),
    "library": (KeyError("vocab"), "KeyError: 'vocab' .*fault of Tunebook's or a library's: run again with --debug"),
    "control characters": (ValueError("\x1b[2J"), r"ValueError: \\x1b\[2J"),
}


@pytest.mark.parametrize("case", SYSTEM)
def test_an_error_that_no_stage_expects_is_a_sentence(case, monkeypatch, capsys):
    error, message = SYSTEM[case]
    monkeypatch.setattr(schema, "main", raising(error))
    assert command_line.main(["schema"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("tunebook schema: ")
    assert re.search(message, told), told
    assert "Traceback" not in told
    assert command_line.main(["schema", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


SECRETS = {
    "password": ("HF_ENDPOINT", "https://ann:pa55w%2Frd@hub.example/x", ["pa55w%2Frd", "pa55w/rd", "ann:"]),
    "token": ("HF_TOKEN", "hf_0123456789", ["hf_0123456789"]),
    "token with a line break": ("HF_TOKEN", "hf_01234\n56789", ["hf_01234", "56789"]),
    "proxy": ("HTTPS_PROXY", "http://ann:hunter22@proxy:3128", ["hunter22"]),
}


@pytest.mark.parametrize("case", SECRETS)
@pytest.mark.parametrize("debug", [[], ["--debug"]])
def test_no_message_holds_a_secret(case, debug, monkeypatch, capsys):
    name, value, parts = SECRETS[case]
    monkeypatch.setenv(name, value)
    for error in (TunebookError(f"asked {value!r} for it"), ValueError(f"Illegal header value b'Bearer {value}'")):
        monkeypatch.setattr(schema, "main", raising(error))
        assert command_line.main(["schema", *debug]) == 2
        told = capsys.readouterr()
        assert "(a secret)" in told.err
        assert not [part for part in parts if part in told.err + told.out]


@pytest.mark.parametrize("fault", ["", "gated", "429", "500", "stalls", "refuses", "echo", "garbage"])
def test_the_hubs_messages_show_no_password_of_its_address(hub, tmp_path, monkeypatch, capfd, fault):
    address = huggingface_hub.constants.ENDPOINT.replace("://", "://ann:pa55word@")
    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
    if fault:
        hub.faults["api"] = fault
    source = {} if fault else {"name": "small/lama"}
    with pytest.raises(TunebookError) as caught:
        fetched_model(tmp_path, **source)
    assert "pa55word" not in str(caught.value) + "".join(capfd.readouterr())


def test_a_token_with_a_line_break_is_refused_and_not_shown(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_0123\n4567")
    with pytest.raises(TunebookError, match="HF_TOKEN: found a space, a line break") as caught:
        fetched_model(tmp_path)
    assert "0123" not in str(caught.value)
    assert hub.asked("small/") == []


def laughs() -> object:
    value: object = ["ha"] * 10
    for _ in range(10):
        value = [value] * 10
    return value


def test_aliases_ten_levels_deep_are_refused(tmp_path, capsys):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 11)]
    (tmp_path / "config.yaml").write_text("\n".join(lines))
    assert command_line.main(["check", str(tmp_path / "config.yaml")]) == 2
    assert "found more than 100000 values" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="found more than 100000 values"):
        validate({"study": laughs()})


@pytest.mark.parametrize("text", ["study: " + "[" * 100_000, "{" * 100_000, "- " * 20_000])
def test_many_brackets_are_refused(tmp_path, text, capsys):
    (tmp_path / "config.yaml").write_text(text)
    assert command_line.main(["check", str(tmp_path / "config.yaml")]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_half_a_surrogate_pair_is_refused():
    config = valid_config() | {"title": "a \ud800"}
    with pytest.raises(ConfigError, match=r"title: found 'a \\ud800', which has half of a surrogate pair"):
        validate(config)


TEMPLATES = {
    "{{ [question, answer]|random }}": "the filter random, which draws anew each time",
    "{{ lipsum() }} {{ question }}": r"lipsum\(\), which is no function of templates",
    "{{ cycler('a', 'b').next() }} {{ question }}": r"cycler\(\), which is no function",
    "{{ now() }} {{ question }}": r"now\(\), which is no function",
    "{{ 7**(10**8) }}": "names no column",
    "{{ '%4000000000d' % 1 }}": "names no column",
    "{{ '%4000000000d'|format(1) }}": "names no column",
    "{{ 'a'|center(99999999999) }}": "names no column",
    "{{" + "(" * 100_000 + "question" + ")" * 100_000 + "}}": "too deeply nested",
}


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda text: text[:30])
def test_templates_are_functions_of_their_row_and_checking_computes_nothing(template, tmp_path, capsys):
    config = valid_config()
    config["datasets"]["pairs"]["prompt"] = template
    assert command_line.main(["check", str(write_config(tmp_path, config))]) == 2
    told = capsys.readouterr().err
    assert "datasets.pairs.prompt: found" in told
    assert re.search(TEMPLATES[template], told), told


def prepared(tmp_path: Path, prompt: str, file: str, form: dict, capsys) -> str:
    """fetch-dataset and prepare of a data set. Returns what was said on stderr; "" where both succeed."""
    config = valid_config()
    dataset = {**config["datasets"]["pairs"], "source": {"type": "path", "path": str(tmp_path / file)}, "format": form}
    config["datasets"]["pairs"] = dataset | {"prompt": prompt, "columns": {}, "completion": "{{ answer }}"}
    write_json(tmp_path / "s" / "study.json", {"specs": fetching_specs(validate(config))})
    shared = ["--study", str(tmp_path / "s" / "study.json"), "--dataset", "pairs"]
    raw = tmp_path / "datasets" / "pairs"
    status = command_line.main(["fetch-dataset", *shared, "--output", str(raw)])
    if status == 0:
        status = command_line.main(
            ["prepare", *shared, "--raw", str(raw / "raw.parquet"), "--output", str(tmp_path / "out")]
        )
    told = capsys.readouterr().err
    assert "Traceback" not in told
    return told if status else ""


COSTLY = {
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}{{ question }}": "more than 1 s",
    "{% set n = namespace(x='ab') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ question }}": "MiB of memory",
    "{{ question }}{{ 7**(10**8) }}": "a number of 300000000 bits",
    "{{ question }}{{ '%4000000000d' % 1 }}": "MiB of memory",
}


@pytest.mark.parametrize("template", COSTLY, ids=lambda text: text[:40])
def test_a_template_has_a_budget(template, tmp_path, capsys):
    rows = [{"question": f"question {number}", "answer": f"answer {number}"} for number in range(30)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    told = prepared(tmp_path, template, "rows.jsonl", {"type": "jsonl"}, capsys)
    assert "the prompt template took" in told
    assert COSTLY[template] in told or "more than 1 s" in told  # whichever budget ends first


@pytest.mark.parametrize(
    "template", ["{{ question|map('upper') }}", "{{ question.upper }}", "{{ question }}{{ '\\ud800' }}"]
)
def test_what_is_no_text_is_refused(template, tmp_path, capsys):
    rows = [{"question": f"question {number}", "answer": f"answer {number}"} for number in range(30)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert "the prompt template failed" in prepared(tmp_path, template, "rows.jsonl", {"type": "jsonl"}, capsys)


def test_yaml_data_with_many_brackets_is_refused(tmp_path, capsys):
    (tmp_path / "rows.yaml").write_text("[" * 100_000)
    told = prepared(tmp_path, "{{ question }}", "rows.yaml", {"type": "yaml"}, capsys)
    assert "rows.yaml, row 1: found more than 100 levels of nesting" in told


def test_a_small_parquet_of_many_rows_is_refused(tmp_path, capsys):
    column = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 11_000_000, pyarrow.int8()), pyarrow.array(["x"]))
    pyarrow.parquet.write_table(pyarrow.table({"question": column}), tmp_path / "rows.parquet", compression="zstd")
    assert (tmp_path / "rows.parquet").stat().st_size < 1_000_000
    told = prepared(tmp_path, "{{ question }}", "rows.parquet", {"type": "parquet"}, capsys)
    assert "rows.parquet: found 11000000 rows" in told


def test_parquet_with_dates_that_python_does_not_know_is_refused(tmp_path, capsys):
    far = pyarrow.array([2**60], pyarrow.timestamp("us"))
    zoned = pyarrow.array([datetime.datetime(2020, 1, 1)], pyarrow.timestamp("us", tz="Nowhere/Land"))
    for number, column in enumerate((far, zoned)):
        file = f"{number}.parquet"
        pyarrow.parquet.write_table(pyarrow.table({"question": column}), tmp_path / file)
        told = prepared(tmp_path, "{{ question }}", file, {"type": "parquet"}, capsys)
        assert f"{file}: a column holds dates or times that Python cannot hold" in told


def archive(folder: Path, content: bytes = b"text\n" * 100) -> Path:
    file = folder / "data-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as members:
        members.writestr("data/rows.csv", content)
    return file


def damaged(file: Path, kind: str) -> None:
    data = bytearray(file.read_bytes())
    central = data.index(b"PK\x01\x02")
    if kind == "encrypted":
        data[6] |= 1
        data[central + 8] |= 1
    elif kind == "unknown method":
        data[8:10] = data[central + 10 : central + 12] = struct.pack("<H", 97)
    elif kind == "bad crc":
        data[14:18] = data[central + 16 : central + 20] = b"\1\2\3\4"
    elif kind == "broken stream":
        data[43:48] = b"\xff" * 5
    elif kind == "cut":
        del data[len(data) // 2 :]
    file.write_bytes(data)


@pytest.mark.parametrize("kind", ["encrypted", "unknown method", "bad crc", "broken stream", "cut"])
def test_a_wheel_that_cannot_be_unpacked_is_refused(tmp_path, kind):
    file = archive(tmp_path)
    damaged(file, kind)
    with pytest.raises(TunebookError, match=r"data-1\.0-py3-none-any\.whl: not a wheel that can be unpacked"):
        wheel._extract(file, "data/rows.csv", tmp_path / "out")


def test_a_wheel_that_unpacks_to_far_more_is_refused(tmp_path):
    file = archive(tmp_path, bytes(200_000_000))
    with pytest.raises(TunebookError, match=r"0\.2 MB would unpack to 200 MB, more than 100 times"):
        wheel._extract(file, "data/rows.csv", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path):
    (tmp_path / "rows.csv").write_text("a\n1\n")
    origin = local.fetch({"path": str(tmp_path / "rows.csv"), "sha256": None}, tmp_path)
    origin.refuse_changed()
    (tmp_path / "rows.csv").write_text("a\n2\n")
    os.utime(tmp_path / "rows.csv", ns=(0, 0))
    with pytest.raises(TunebookError, match=r"rows\.csv: changed while it was read"):
        origin.refuse_changed()


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return tiny.model(tmp_path_factory.mktemp("model"), "llama")


def fetched(source: Path, tmp_path: Path) -> None:
    path = {"type": "path", "path": str(source), "sha256": None}
    spec = {"name": "m", "task": "causal-lm", "source": path, "encoder_decoder": False, "licence": "none"}
    fetch_model(spec, tmp_path / "out" / "m")


def _template(folder: Path, text: str) -> None:
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": text}))


def _nan(folder: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    tensors[max(tensors)].view(-1)[3] = torch.nan
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


HOSTILE = {
    "unknown architecture": (
        lambda f: (f / "config.json").write_text('{"model_type": "nonesuch"}'),
        "found model_type 'nonesuch' in its config.json",
    ),
    "no mapping": (lambda f: (f / "config.json").write_text("[]"), "its config.json holds list, not a mapping"),
    "NaN": (_nan, "holds NaN, which is no number"),
    "template that computes": (lambda f: _template(f, "{{ 7**(10**8) }}"), "its chat template does not end"),
    "template that loops": (
        lambda f: _template(f, "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"),
        "its chat template does not end",
    ),
    "template that fills the memory": (
        lambda f: _template(f, "{{ '%4000000000d' % 1 }}"),
        "its chat template does not end",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_model_that_cannot_be_used_is_refused_when_it_is_fetched(case, model, tmp_path):
    change, message = HOSTILE[case]
    shutil.copytree(model, tmp_path / "source")
    change(tmp_path / "source")
    with pytest.raises(TunebookError, match=message):
        fetched(tmp_path / "source", tmp_path)
    assert not (tmp_path / "out" / "m").exists()


GGUF = {
    "empty": b"",
    "text": b"not a model\n",
    "magic alone": b"GGUF",
    "version of the future": b"GGUF" + struct.pack("<IQQ", 99, 0, 0),
    "no tensors": b"GGUF" + struct.pack("<IQQ", 3, 0, 0),
    "counts without end": b"GGUF" + struct.pack("<IQQ", 3, 2**60, 2**60),
    "cut in a key": b"GGUF" + struct.pack("<IQQQ", 3, 1, 1, 20) + b"general.arch",
}


@pytest.mark.parametrize("case", GGUF)
def test_a_broken_gguf_file_is_refused(case, tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "model.gguf").write_bytes(GGUF[case])
    with pytest.raises(TunebookError, match=r"model\.gguf: not a GGUF file that transformers can convert"):
        fetched(tmp_path / "source" / "model.gguf", tmp_path)


def test_check_looks_at_local_files_and_proposes_the_nearest_column(tmp_path, capsys):
    config = tiny.study(tmp_path)
    config["datasets"]["lines"]["prompt"] = "{{ txet }}"
    assert command_line.main(["check", str(write_config(tmp_path, config))]) == 2
    told = capsys.readouterr().err
    assert "data set lines: no column txet; did you mean text?; the rows have: " in told
    assert "Traceback" not in told


def test_check_says_which_files_it_did_not_look_at(tmp_path, capsys, monkeypatch):
    config = tiny.study(tmp_path)
    monkeypatch.setattr(local_files, "LARGEST_BYTES", 10)
    assert command_line.main(["check", str(write_config(tmp_path, config))]) == 0
    assert (
        "note: data set lines was not looked at: 0 MB are left to fetch-dataset and prepare" in capsys.readouterr().err
    )
    (tmp_path / "rows.jsonl").unlink()
    assert command_line.main(["check", str(write_config(tmp_path, config))]) == 0
    assert "note: data set lines was not looked at: path" in capsys.readouterr().err


def test_check_names_a_file_that_cannot_be_read(tmp_path, capsys):
    config = tiny.study(tmp_path)
    (tmp_path / "rows.jsonl").write_text("no json at all\n", encoding="utf-8")
    assert command_line.main(["check", str(write_config(tmp_path, config))]) == 2
    assert "data set lines" in capsys.readouterr().err
