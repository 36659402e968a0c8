"""What SECURITY.md promises and no other test shows: what terminals and readers are shown."""

from __future__ import annotations

import re
from pathlib import Path

import pandas
import pytest

from tests import records
from tests.configs import valid_config, write_config
from tests.test_report import TEMPLATES, finish
from tunebook import __main__ as command_line
from tunebook.cards import write_cards
from tunebook.configuration.datasets import Dataset
from tunebook.configuration.study import dump
from tunebook.errors import TunebookError, printable
from tunebook.records import read_json, write_csv, write_json
from tunebook.report import render
from tunebook.reporting.study_folder import read_study
from tunebook.tables import write_tables

HOSTILE = (
    "\x1b[2J\x1b]0;owned\x07\x9b31m\u202egnp.\r"  # clears, names the window, colours, turns the direction of writing
)
HARMLESS = r"\x1b[2J\x1b]0;owned\x07\x9b31m\u202egnp.\r"


@pytest.mark.parametrize(
    ("text", "shown"),
    [(HOSTILE, HARMLESS), ("two\nlines\tand a tab", "two\nlines\tand a tab"), ("größer, 大 🧪", "größer, 大 🧪")],
)
def test_messages_hold_nothing_that_moves_a_terminal(text, shown):
    assert printable(text) == shown
    assert str(TunebookError(f"found {text}")) == f"found {shown}"


def test_a_config_cannot_write_to_the_terminal(tmp_path, capsys):
    config = valid_config()
    config["models"]["writer"] |= {HOSTILE: 1, "dtype": HOSTILE}
    assert command_line.main(["check", str(write_config(tmp_path, config))]) == 2
    message = capsys.readouterr().err
    assert f"models.writer.{HARMLESS}: unknown key" in message
    assert "\x1b" not in message


def test_data_cannot_write_to_the_terminal(tmp_path, capsys):
    rows = tmp_path / "rows.csv"
    rows.write_text(f"{HOSTILE.strip()},label\n{HOSTILE.strip()},good\n", encoding="utf-8")
    section = {
        "source": {"type": "path", "path": str(rows)},
        "format": {"type": "csv"},
        "prompt": "{{ question }}",
        "completion": "{{ label }}",
        "licence": "none",
    }
    spec = {"name": "bad", **dump(Dataset.model_validate(section))}
    write_json(tmp_path / "study.json", {"specs": {"fetch-dataset": {"bad": spec}, "prepare": {"bad": spec}}})
    study = ["--study", str(tmp_path / "study.json"), "--dataset", "bad"]
    assert command_line.main(["fetch-dataset", *study, "--output", str(tmp_path / "raw")]) == 0
    raw = ["--raw", str(tmp_path / "raw" / "raw.parquet"), "--output", str(tmp_path / "out")]
    assert command_line.main(["prepare", *study, *raw]) == 2
    told = capsys.readouterr()
    assert r"\x1b[2J" in told.err
    assert "\x1b" not in told.out + told.err


def test_names_of_a_config_are_text_in_the_report(tmp_path, monkeypatch):
    markup = "</title></text><script>document.title = 'owned'</script><img src=x onerror=alert(1)> {{ 7 * 7 }}"
    monkeypatch.setattr(records, "LABELS", ["positive", "<img src=x>", "negative"])
    folder = records.fake_study(tmp_path, experiments=2)
    study = read_json(folder / "study.json")
    study |= {"title": markup, "description": markup}
    for section in (*study["models"].values(), *study["datasets"].values()):
        section |= {"note": markup, "licence": markup}
    for experiment in study["experiments"].values():
        experiment |= {"title": markup, "description": markup, "prompts": [markup]}
    write_json(folder / "study.json", study)
    html = render(finish(folder), TEMPLATES)
    assert html.count("&lt;img src=x onerror=alert(1)&gt;") > 10
    assert "<script>document" not in html
    assert "<img" not in html
    assert "49" not in html.split("<title>")[1].split("</title>")[0]


def test_every_test_that_a_promise_names_is_there():
    tests = Path(__file__).parent
    promised = [
        line for line in (tests.parent / "SECURITY.md").read_text(encoding="utf-8").splitlines() if line[:2] == "| "
    ][1:]
    assert len(promised) > 10
    for line in promised:
        shown = line.split("|")[3]
        files = re.findall(r"`(test_\w+\.py)`", shown)
        assert files, line
        text = "".join((tests / file).read_text(encoding="utf-8") for file in files)
        for name in re.findall(r"`(test_\w+)`", shown):
            assert f"def {name}(" in text, name


def test_tables_and_cards_hold_no_formula_and_no_escape(tmp_path, monkeypatch):
    folder = records.fake_study(tmp_path, experiments=1)
    study = read_json(folder / "study.json")
    study["title"] = HOSTILE
    for experiment in study["experiments"].values():
        experiment["title"] = f"=cmd {HOSTILE}"
    write_json(folder / "study.json", study)
    finish(folder)
    read = read_study(folder)
    write_tables(read, tmp_path / "tables")
    write_cards(read, TEMPLATES)
    files = [*(tmp_path / "tables").glob("*.*"), *folder.rglob("model_card.md")]
    assert len(files) > 8
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert not set(text) & set("\x1b\x9b\u202e\x07\r"), file


@pytest.mark.parametrize("cell", ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(1)", "\t=1", "=\x1b[2J"])
def test_a_spreadsheet_computes_nothing(tmp_path, cell):
    write_csv(tmp_path / "a.csv", pandas.DataFrame({"found": [cell, "text"], "loss": [-0.5, 1.0]}))
    back = pandas.read_csv(tmp_path / "a.csv")
    assert back["found"].tolist() == ["'" + cell.replace("\x1b", "\\x1b"), "text"]
    assert back["loss"].tolist() == [-0.5, 1.0]
