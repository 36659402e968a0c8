"""The environments are made from the same pins."""

from __future__ import annotations

import re
from pathlib import Path

from envs import write_conda

ROOT = Path(__file__).parents[1]


def test_the_conda_environment_is_in_step_with_the_pins_for_pip():
    written = (ROOT / "envs" / "tunebook.yaml").read_text(encoding="utf-8")
    assert written == write_conda.environment(), "run: python envs/write_conda.py"


def test_every_requirement_is_pinned_and_stands_in_the_lock():
    lock = write_conda.pins("lock.txt")
    lower = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in lock.items()}
    for file in ("requirements.txt", "requirements-dev.txt"):
        for name, version in write_conda.pins(file).items():
            assert lower[re.sub(r"[-_.]+", "-", name).lower()] == version, f"{file}: {name}"


def test_every_rule_that_runs_a_command_names_the_environment():
    for file in (ROOT / "workflow" / "rules").glob("*.smk"):
        text = file.read_text(encoding="utf-8")
        assert text.count('"../../envs/tunebook.yaml"') == text.count("    shell:\n"), file.name
