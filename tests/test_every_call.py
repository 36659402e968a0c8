"""A short form of tests/faults/every_call.py: some calls of a stage fail, and it runs twice at once."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "faults" / "every_call.py"


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_a_stage_whose_calls_fail_ends_as_an_undisturbed_one():
    command = [sys.executable, PROGRAM, "--stages", "prepare", "tokenize", "fetch-model", "--most", "2", "--pairs", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tokenize: " in done.stdout
    assert " 2 pairs, 0 wrong" in done.stdout
