"""The workflow where users put it: in a folder with an odd name, run from elsewhere, as a module, from a repository."""

from __future__ import annotations

import inspect
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from snakemake.scheduling.job_scheduler import JobScheduler

from tests import tiny
from tests.checkout import ROOT, copy_workflow
from tunebook import __main__ as command_line
from tunebook import deployment
from tunebook.deployment import EXPECTED, PACKAGE, release

LENGTHS = "results/tiny/tokens/words/lengths.json"  # made by four stages
HOST = """
onstart:
    shell("touch host-started")

onsuccess:
    print("limit of job starts:", workflow.scheduler.job_rate_limiter)

rule mine:
    output: "mine"
    shell: "false | true; touch {output}"
"""


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


def test_a_run_from_elsewhere_of_a_clone_with_an_odd_name(clone, elsewhere):
    started = elsewhere.parent / "started"
    started.mkdir()
    command = ["--snakefile", str(clone / "workflow" / "Snakefile"), "--directory", str(elsewhere)]
    study = ["--configfile", str(clone / "config" / "tiny.yaml")]
    said = snakemake(started, *command, LENGTHS, *study)
    assert "not a valid identifier" not in said
    assert json.loads((elsewhere / LENGTHS).read_text())["train"]
    assert list(started.iterdir()) == []
    assert "Nothing to be done" in snakemake(elsewhere, *command[:2], "-n", LENGTHS, *study)
    planned = snakemake(elsewhere, *command[:2], "-n", *study)
    assert "rule report:" in planned
    assert "rule prepare:" not in planned
    assert "miniature" in snakemake(started, *command, "-n")  # the default study, where the directory has none


def test_a_module_of_another_workflow(clone, elsewhere):
    host(elsewhere, clone, " as tunebook_*", HOST)
    said = snakemake(elsewhere, LENGTHS)
    assert "rule tunebook_tokenize:" in said
    assert "limit of job starts: None" in said
    assert json.loads((elsewhere / "results/tiny/study.json").read_text())["study"] == "tiny"
    assert json.loads((elsewhere / "results/tiny/runs/words/lora/seed-0/run.json").read_text())["identity"]
    assert (elsewhere / "host-started").exists()  # its own onstart is kept
    assert "Nothing to be done" in snakemake(elsewhere, "-n", LENGTHS)
    planned = snakemake(elsewhere, "-n", "tunebook_all", "--set-resources", "tunebook_train:runtime=10")
    for rule in ("train", "evaluate", "sample", "figures_with_labels", "report", "cards"):
        assert f"rule tunebook_{rule}:" in planned
    assert "--max-seconds 480" in snakemake(
        elsewhere, "-n", "-p", "tunebook_all", "--set-resources", "tunebook_train:runtime=10"
    )
    snakemake(elsewhere, "mine", status=1)  # its shell is as strict as without the module


def test_a_module_without_a_prefix(clone, elsewhere):
    host(elsewhere, clone, "")
    planned = snakemake(elsewhere, "-n")
    assert "rule report:" in planned
    assert not (elsewhere / "results").exists()  # a dry run writes nothing


def test_snakemake_still_looks_at_waiting_jobs_every_second():
    """When this fails, rules/common.smk need not take the limit of job starts away any more."""
    source = inspect.getsource(JobScheduler)
    assert "self._schedule_reevalutation(self.job_rate_limiter.timespan)" in source


@pytest.mark.sampled
@pytest.mark.slow
def test_a_module_makes_the_report(clone, elsewhere):
    host(elsewhere, clone, " as tunebook_*")
    snakemake(elsewhere, "tunebook_all", "--resources", "gpu=0")
    assert "A tiny study" in (elsewhere / "results/tiny/report.html").read_text(encoding="utf-8")
    assert (elsewhere / "results/tiny/runs/words/lora/seed-0/model_card.md").exists()


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


def test_make_installs_in_a_folder_with_an_odd_name(clone):
    shutil.copyfile(ROOT / "Makefile", clone / "Makefile")
    for file in ("requirements.txt", "lock.txt"):  # nothing to download
        (clone / "envs" / file).write_text("")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    shared = {"cwd": clone, "env": environment, "capture_output": True, "text": True}
    done = subprocess.run(["make", "install", f"PYTHON={sys.executable}"], check=False, **shared)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (clone / ".venv" / "installed").exists()
    where = [".venv/bin/python", "-c", "import os, tunebook; os.chdir('/'); print(tunebook.__file__)"]
    found = subprocess.run(where, check=True, **shared).stdout.strip()
    assert found == str(clone / "workflow" / "tunebook" / "__init__.py")


def test_a_release_names_the_commit_and_what_is_not_committed(tmp_path, monkeypatch):
    monkeypatch.setattr(deployment, "ROOT", tmp_path)
    assert release() == "of unknown version"
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2.3"\n', encoding="utf-8")
    assert release() == "1.2.3"
    git = ["git", "-C", tmp_path, "-c", "user.name=n", "-c", "user.email=e@example.org"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *arguments], check=True)
    commit = subprocess.run(
        [*git, "rev-parse", "--short", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()
    assert release() == f"1.2.3, commit {commit}"
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2.4"\n', encoding="utf-8")
    assert release() == f"1.2.4, commit {commit} with uncommitted changes"
