"""`tunebook new`: a study for a file that it looked at. `tunebook run`: the Snakemake command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tunebook import __main__ as command_line
from tunebook.check import read_study
from tunebook.run import command_of

ROWS = {
    "completion.jsonl": (
        [{"Question": f"what {n}?", "Answer": f"that {n}"} for n in range(30)],
        ("prompt", "completion"),
    ),
    "labels.jsonl": ([{"review text": f"good thing {n}", "label": n % 2} for n in range(30)], ("prompt", "label")),
    "texts.json": ([{"id": n, "poem": f"a rose {n} is a rose"} for n in range(30)], ("text",)),
    "talks.jsonl": (
        [
            {"messages": [{"role": "user", "content": f"{n}?"}, {"role": "assistant", "content": f"{n}!"}]}
            for n in range(30)
        ],
        ("messages",),
    ),
}


def new(data: Path, output: Path, name: str = "mine") -> int:
    return command_line.main(["new", name, "--data", str(data), "--output", str(output)])


def write(file: Path, rows: list[dict]) -> Path:
    lines = json.dumps(rows) if file.suffix == ".json" else "\n".join(json.dumps(row) for row in rows)
    file.write_text(lines, encoding="utf-8")
    return file


@pytest.mark.parametrize("name", ROWS)
def test_the_form_of_the_rows_is_seen_and_the_study_is_valid(tmp_path, name):
    rows, keys = ROWS[name]
    output = tmp_path / "config" / "mine.yaml"
    assert new(write(tmp_path / name, rows), output) == 0
    study = read_study(output)
    dataset = yaml.safe_load(output.read_text(encoding="utf-8"))["datasets"]["mine"]
    assert [key for key in ("prompt", "completion", "label", "messages", "text") if key in dataset] == list(keys)
    assert study.experiments["mine"].methods == ("lora",)
    assert output.read_text(encoding="utf-8").count(" # ") > 5  # it explains itself


def test_a_column_whose_name_no_template_can_hold_gets_another(tmp_path):
    output = tmp_path / "mine.yaml"
    new(write(tmp_path / "rows.jsonl", ROWS["labels.jsonl"][0]), output)
    dataset = yaml.safe_load(output.read_text())["datasets"]["mine"]
    assert dataset["columns"] == {"review_text": "review text"}
    assert dataset["prompt"] == "{{ review_text }}"
    assert dataset["labels"] == ["0", "1"]


def test_rows_below_a_header(tmp_path):
    data = tmp_path / "rows.CSV"
    data.write_text("prompt,completion\n" + "\n".join(f"ask {n},answer {n}" for n in range(20)) + "\n")
    assert new(data, tmp_path / "mine.yaml") == 0
    assert read_study(tmp_path / "mine.yaml").datasets["mine"].format.type == "csv"


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("rows.xlsx", "x", "known are .csv, .tsv"),
        ("missing.csv", None, "no such file"),
        ("empty.jsonl", "", "no row could be read as jsonl"),
        ("numbers.jsonl", '{"a": 1}\n{"a": 2}\n', "none of them holds text in every row"),
    ],
)
def test_what_cannot_be_used_is_said(tmp_path, capsys, file, text, said):
    if text is not None:
        (tmp_path / file).write_text(text)
    assert new(tmp_path / file, tmp_path / "mine.yaml") == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "mine.yaml").exists()


def test_a_study_is_never_overwritten(tmp_path, capsys):
    data = write(tmp_path / "rows.jsonl", ROWS["completion.jsonl"][0])
    (tmp_path / "mine.yaml").write_text("precious")
    assert new(data, tmp_path / "mine.yaml") == 2
    assert "exists" in capsys.readouterr().err
    assert (tmp_path / "mine.yaml").read_text() == "precious"


def test_the_snakemake_command_of_a_study():
    words = command_of(Path("mine.yaml"), ["-n", "results/mine/report.html"])[5:]
    assert words == [
        "--resources",
        "gpu=1",
        "--cores",
        "1",
        "--rerun-incomplete",
        "-n",
        "results/mine/report.html",
        "--configfile",
        "mine.yaml",
    ]
    assert command_of(None, ["--cores=4", "--resources", "gpu=0"])[5:] == [
        "--rerun-incomplete",
        "--cores=4",
        "--resources",
        "gpu=0",
    ]
    assert "--cores" not in command_of(None, ["--workflow-profile", "profiles/slurm"])
