"""docs/faults.md is written from what tests told: every outcome counts, and a missing one is no table."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults import table

TESTS = Path(__file__).parent
NAMED = sorted({test for line in table.LINES for test in line.tests})


def write_outcomes(folder: Path, told: dict[str, list[str]], lost: list[str] = ()) -> None:
    cases = []
    for name, kinds in told.items():
        place, function = name.split("::")
        for number, kind in enumerate(kinds):
            inside = "" if kind == "passed" else f"<{kind}/>"
            cases.append(f'<testcase classname="tests.{place}" name="{function}[{number}]">{inside}</testcase>')
    (folder / "faults.xml").write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
    calls = {
        "train": {"calls": 90, "tried": 360, "pairs": 50, "wrong": []},
        "prepare": {"calls": 9, "tried": 36, "pairs": 50, "wrong": ["x"]},
    }
    (folder / "calls.json").write_text(json.dumps(calls))
    (folder / "kills.json").write_text(json.dumps({"seed": 7, "kills": {"a stage": 12, "both": 8}, "lost": list(lost)}))


@pytest.mark.parametrize("test", NAMED)
def test_every_test_of_the_table_is_there(test):
    place, function = test.split("::")
    file = TESTS / f"{place.replace('.', '/')}.py"
    assert re.search(rf"^def {function}\(", file.read_text(encoding="utf-8"), re.MULTILINE), test


def test_outcomes_are_counted_and_what_failed_is_said(tmp_path):
    told = {key: ["passed"] for key in NAMED}
    told["test_resume::test_killed_in_the_middle"] = ["passed", "failure", "passed"]
    told["slurm.test_slurm::test_the_study_ends_as_a_local_one"] = ["skipped"]
    write_outcomes(tmp_path, told)
    page = table.table(tmp_path)
    assert "| training killed | `kill -9` after a certain checkpoint | 3 | **1 of 3 failed** |" in page
    assert "| SLURM: all of these | in one study | 0 | not run |" in page
    assert "| both killed | `kill -9` at a random moment, all in one study | 8 | nothing: weights" in page
    assert (
        "| a call of `train` fails | of its 90 opens, writes, flushes and renames: `kill -9`, torn write, EIO, ENOSPC | 360 | nothing"
        in page
    )
    assert "| `prepare` twice at once | two processes, one output | 50 | **1 wrong** |" in page
    assert page.count("failed**") == 1
    write_outcomes(tmp_path, told, lost=["runs/x/history.csv"])
    assert table.table(tmp_path).count("| runs/x/history.csv |") == 2


def test_without_an_outcome_there_is_no_table(tmp_path):
    write_outcomes(tmp_path, {key: ["passed"] for key in NAMED[1:]})
    command = [sys.executable, table.__file__, "--outcomes", tmp_path, "--output", tmp_path / "faults.md"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert NAMED[0] in done.stderr
    assert not (tmp_path / "faults.md").exists()
