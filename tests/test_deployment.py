"""The workflow where users put it: in a folder with an odd name, run from elsewhere, as a module, from a repository."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests import tiny
from tests.checkout import copy_workflow
from tunebook import __main__ as command_line
from tunebook.deployment import EXPECTED, PACKAGE

LENGTHS = "results/tiny/tokens/words/lengths.json"  # made by four stages


def snakemake(folder: Path, *arguments: str, status: int = 0, **environment: str) -> str:
    """Run snakemake in a folder. Returns what it printed."""
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
    path = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=folder, env={**inherited, **path, **environment}, capture_output=True, text=True, check=False
    )
    output = done.stdout + done.stderr
    logs = "".join(log.read_text() for log in folder.glob("results/**/logs/**/*.log"))
    assert done.returncode == status, output + logs
    return output + logs


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A clone in a folder whose path holds a space, both quotes, a `$` and an umlaut, with the study config/tiny.yaml."""
    folder = tmp_path_factory.mktemp("clone") / 'Müller\'s "tune book" $HOME'
    folder.mkdir()
    copy_workflow(folder)
    study = tiny.study(folder / "sources", methods=["lora"])
    (folder / "config" / "tiny.yaml").write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
    return folder


@pytest.fixture
def elsewhere(tmp_path):
    """A working directory that holds nothing of Tunebook but another library of that name."""
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def host(folder: Path, clone: Path, use: str, rest: str = "") -> None:
    """A workflow of one's own that uses Tunebook as a module."""
    (folder / "Snakefile").write_text(
        f"configfile: {str(clone / 'config' / 'tiny.yaml')!r}\n"
        f"module tunebook:\n    snakefile: {str(clone / 'workflow' / 'Snakefile')!r}\n    config: config\n"
        f"use rule * from tunebook{use}\n{rest}",
        encoding="utf-8",
    )


def test_a_clone_in_a_folder_with_an_odd_name_runs_its_own_library(clone):
    shutil.rmtree(clone / "results", ignore_errors=True)
    marked = clone / "workflow" / "tunebook" / "prepare.py"
    before = marked.read_text()
    marked.write_text(
        before
        + '\n_library_stage = main\n\ndef main(args):\n    print(f"from {__file__}", flush=True)\n    _library_stage(args)\n'
    )
    try:
        said = snakemake(clone, LENGTHS, "--configfile", "config/tiny.yaml")
    finally:
        marked.write_text(before)
    assert f"from {marked}" in said
    assert "not a valid identifier" not in said
    assert json.loads((clone / LENGTHS).read_text())["train"]


def test_a_run_from_another_directory(clone, elsewhere):
    started = elsewhere.parent / "started"
    started.mkdir()
    command = ["--snakefile", str(clone / "workflow" / "Snakefile"), "--directory", str(elsewhere)]
    study = str(clone / "config" / "tiny.yaml")
    snakemake(started, *command, LENGTHS, "--configfile", study)
    assert (elsewhere / LENGTHS).exists()
    assert list(started.iterdir()) == []
    assert "Nothing to be done" in snakemake(elsewhere, *command[:2], "-n", LENGTHS, "--configfile", study)
    planned = snakemake(elsewhere, *command[:2], "-n", "--configfile", study)
    assert "rule report:" in planned
    assert "rule prepare:" not in planned
    assert "miniature" in snakemake(started, *command, "-n")  # the default study, where the directory has none


@pytest.mark.parametrize("use", ["", " as tunebook_*"])
def test_a_module_of_another_workflow(clone, elsewhere, use):
    prefix = "tunebook_" if use else ""
    extra = 'onstart:\n    shell("touch host-started")\n\nrule mine:\n    output: "mine"\n    shell: "false | true; touch {output}"\n'
    host(elsewhere, clone, use, extra)
    said = snakemake(elsewhere, LENGTHS)
    assert f"rule {prefix}tokenize:" in said
    assert json.loads((elsewhere / "results/tiny/study.json").read_text())["study"] == "tiny"
    assert json.loads((elsewhere / "results/tiny/runs/words/lora/seed-0/run.json").read_text())["identity"]
    assert (elsewhere / "host-started").exists()  # its own onstart is kept
    assert "Nothing to be done" in snakemake(elsewhere, "-n", LENGTHS)
    planned = snakemake(elsewhere, "-n", f"{prefix}all", "--set-resources", f"{prefix}train:runtime=10")
    for rule in ("train", "evaluate", "figures_with_labels", "report", "cards"):
        assert f"rule {prefix}{rule}:" in planned
    snakemake(elsewhere, "mine", status=1)  # its shell is as strict as without the module


def test_a_report_can_be_made_where_a_module_runs(clone, elsewhere):
    host(elsewhere, clone, " as tunebook_*")
    snakemake(elsewhere, "tunebook_all", "--resources", "gpu=0")
    page = (elsewhere / "results/tiny/report.html").read_text(encoding="utf-8")
    assert "A tiny study" in page
    assert (elsewhere / "results/tiny/runs/words/lora/seed-0/model_card.md").exists()


def test_a_module_without_a_config_says_so(clone, elsewhere):
    host(elsewhere, clone, "")
    file = elsewhere / "Snakefile"
    file.write_text(file.read_text().replace("    config: config\n", ""))
    assert "study" in snakemake(elsewhere, "-n", status=1)


def test_another_copy_of_the_library_is_refused(clone, elsewhere):
    other = elsewhere / "tunebook"
    shutil.copytree(PACKAGE, other, ignore=shutil.ignore_patterns("__pycache__"))  # `python -m` finds it first
    command = ["--snakefile", str(clone / "workflow" / "Snakefile"), "--directory", str(elsewhere)]
    said = snakemake(elsewhere, *command, LENGTHS, "--configfile", str(clone / "config" / "tiny.yaml"), status=1)
    assert f"the rules belong to the library in {clone / 'workflow'}" in said
    assert f"but the one in {elsewhere} runs" in said
    assert "Traceback" not in said


def test_a_stage_by_hand_runs_with_the_library_it_finds(monkeypatch, capsys):
    monkeypatch.setenv(EXPECTED, str(PACKAGE.parent))
    assert command_line.main(["schema"]) == 0
    monkeypatch.setenv(EXPECTED, "/elsewhere")
    assert command_line.main(["schema"]) == 2
    assert "/elsewhere" in capsys.readouterr().err
