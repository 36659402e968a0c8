"""The wheel: installed into an environment of its own, and as the library of rules that Snakemake fetches from a repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
import yaml

from tests import tiny
from tests.checkout import ROOT

pytestmark = [pytest.mark.sampled, pytest.mark.slow]
QUIET = {"capture_output": True, "text": True, "check": False}
GIT = ["git", "-c", "user.name=Nobody", "-c", "user.email=nobody@example.org"]


def done(*command: object, cwd: Path, **environment: str) -> str:
    """Run a command; a failure fails the test. Returns what it printed."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run([str(part) for part in command], cwd=cwd, env={**clean, **environment}, **QUIET)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A git repository with this working tree, at the tag v0."""
    folder = tmp_path_factory.mktemp("source") / "tunebook"
    folder.mkdir()
    files = done("git", "ls-files", "-co", "--exclude-standard", cwd=ROOT).splitlines()
    for name in files:
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((ROOT / name).read_bytes())
    done("git", "init", "-q", cwd=folder)
    done(*GIT, "add", "-A", cwd=folder)
    done(*GIT, "commit", "-q", "-m", "Everything", cwd=folder)
    done("git", "tag", "v0", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(repository, tmp_path_factory):
    out = tmp_path_factory.mktemp("dist")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", out]
    done(sys.executable, "-m", "pip", "wheel", *options, repository, cwd=out)
    done("git", "clean", "-fdxq", cwd=repository)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The `bin` of an environment with the wheel, and with the packages that these tests run with."""
    folder = tmp_path_factory.mktemp("environment")
    done(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    python = folder / "bin" / "python"
    options = ["install", "--no-deps", "--no-index", "--quiet"]
    done(sys.executable, "-m", "pip", "--python", python, *options, wheel, cwd=folder)
    where = done(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    Path(where, "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


@pytest.fixture
def study(tmp_path):
    (tmp_path / "sources").mkdir()
    (tmp_path / "work").mkdir()
    config = tiny.study(tmp_path / "sources", methods=["lora"])
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return tmp_path / "tiny.yaml"


def test_the_wheel_holds_what_the_workflow_needs(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder, place in (("workflow", ""), ("report", "tunebook/deployed/report/")):
        for name in done("git", "ls-files", "-co", "--exclude-standard", folder, cwd=ROOT).splitlines():
            inside = name.removeprefix(f"{folder}/")
            if folder == "workflow" and not inside.startswith("tunebook/"):
                inside = f"tunebook/deployed/workflow/{inside}"
            assert not (ROOT / name).exists() or place + inside in names, name
    assert {"tunebook/deployed/config/config.yaml", "tunebook/deployed/envs/tunebook.yaml"} <= names
    assert not [name for name in names if name.startswith("tests") or "egg-info" in name]


def test_the_command_from_an_empty_folder(installed, study):
    work = study.parent / "work"
    tunebook = installed / "tunebook"
    assert "words/lora/seed-0" in done(tunebook, "check", study, cwd=work)
    planned = done(tunebook, "run", study, "--", "-n", cwd=work)
    assert "rule report:" in planned
    assert list(work.glob("results/*")) == []
    done(tunebook, "run", study, "--", "results/datasets/lines/provenance.json", cwd=work)
    assert (work / "results/datasets/lines/raw.parquet").exists()
    assert (work / "results/tiny/study.json").exists()
    assert "miniature" in done(tunebook, "run", "--", "-n", cwd=work)
    found = "import tunebook.deployment as d; print(d.TEMPLATES.joinpath('report.html.j2').exists(), d.__file__)"
    said = done(installed / "python", "-c", found, cwd=work).split()
    assert said[0] == "True"
    assert said[1].startswith(str(installed.parent))


def test_a_workflow_that_snakedeploy_deployed(installed, repository, study):
    """Its Snakefile names a repository on this machine by a path that Snakemake does not read: the test says git+file."""
    work = study.parent / "work"
    snakedeploy = shutil.which("snakedeploy", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert snakedeploy, "install envs/requirements-dev.txt"
    done(snakedeploy, "deploy-workflow", repository, work, "--tag", "v0", "--name", "tunebook", cwd=work)
    snakefile = work / "workflow" / "Snakefile"
    text = snakefile.read_text()
    assert '"workflow/Snakefile"' in text
    snakefile.write_text(text.replace('"workflow/Snakefile"', f'"git+file://{repository}/workflow/Snakefile@v0"'))
    (work / "config" / "config.yaml").write_text(study.read_text())
    python = installed / "python"
    target = "results/datasets/lines/provenance.json"
    environment = {"PATH": f"{installed}:{os.environ['PATH']}"}
    done(python, "-m", "snakemake", "--cores", "1", target, cwd=work, **environment)
    assert (work / "results/tiny/study.json").exists()
    assert "rule report:" in done(python, "-m", "snakemake", "-n", "--cores", "1", cwd=work, **environment)
