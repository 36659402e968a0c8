"""What others install the workflow from: the test study, the continuous integration, the container, the citation."""

from __future__ import annotations

import re
import tomllib

import yaml

from tests.checkout import ROOT
from tunebook.check import read_study
from tunebook.configuration.study import runs_of

WORKFLOW = (ROOT / ".github" / "workflows" / "main.yml").read_text(encoding="utf-8")


def test_the_test_study_is_valid_and_has_one_run():
    runs = runs_of(read_study(ROOT / ".test" / "config" / "config.yaml"))
    assert [run.name for run in runs if run.trained] == ["statements/lora/seed-0"]
    assert next(run for run in runs if run.trained).spec["training"]["max_steps"] == 2


def test_continuous_integration_runs_commands_that_exist():
    steps = [step for job in yaml.safe_load(WORKFLOW)["jobs"].values() for step in job["steps"]]
    commands = [step["run"] for step in steps if "run" in step]
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {command.split()[1] for command in commands if command.startswith("make ")} == {"check", "test"} & set(
        targets
    )
    files = [word for command in commands for word in command.split() if "/" in word]
    assert files
    assert all((ROOT / file).exists() for file in files)
    assert any("--sdm conda" in command for command in commands)
    assert any("--report" in command for command in commands)


def test_the_container_is_made_from_the_same_pins():
    recipe = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert "-r /tunebook/envs/requirements.txt -c /tunebook/envs/lock.txt" in recipe
    copied = [word for line in re.findall(r"^COPY (.*)", recipe, re.MULTILINE) for word in line.split()[:-1]]
    assert all((ROOT / word).exists() for word in copied)
    python = re.search(r"^FROM python:([\d.]+)-slim$", recipe, re.MULTILINE)[1]
    assert f"python={python}\n" in (ROOT / "envs" / "tunebook.yaml").read_text(encoding="utf-8")


def test_the_citation_has_the_version_of_the_package():
    package = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert str(yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"]) == package
