"""The paper study against a hub whose models and data sets are small: from an empty folder to its report.

The config is config/paper.yaml as it stands, float16 included. Its short form makes one run: falcon in int8, whose layers the
quantization library must be made to see, and whose repository names code of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas
import pytest

from tests import hub_server, paper_hub
from tests.checkout import copy_workflow

paper = pytest.mark.paper
ONE_RUN = "results/paper/runs/chatbot/int8-lora/seed-0/samples.json"


def paper_study(folder: Path, sources: Path, *targets: str) -> hub_server.Hub:
    """Run `snakemake --configfile config/paper.yaml` in a new checkout `folder`. Returns what was asked of the hub."""
    copy_workflow(folder)
    with hub_server.serving() as hub:
        paper_hub.fill(hub, sources)
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HF_ENDPOINT": hub.address,
            "HF_HOME": str(folder / "cache"),
            "HF_TOKEN": "hf_nobodyMayReadThis",
            "OMP_WAIT_POLICY": "passive",  # two jobs at once, each with threads for all cores
        }
        environment.pop("HF_HUB_CACHE", None)
        command = [sys.executable, "-m", "snakemake", *targets, "--cores", "2", "--resources", "gpu=2"]
        command += ["--configfile", "config/paper.yaml"]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    logs = "".join(f"\n== {log}\n{log.read_text()[-1500:]}" for log in folder.glob("results/**/logs/**/*.log"))
    assert done.returncode == 0, done.stdout + done.stderr + logs
    return hub


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The results of the whole paper study, and what it asked of the hub."""
    folder = tmp_path_factory.mktemp("checkout")
    hub = paper_study(folder, tmp_path_factory.mktemp("hub"))
    return folder / "results" / "paper", hub


@pytest.mark.sampled
def test_one_run_of_the_paper_study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkout")
    hub = paper_study(folder, tmp_path_factory.mktemp("hub"), ONE_RUN)
    trained = json.loads((folder / ONE_RUN).with_name("training.json").read_text())
    assert trained["quantized_layers"] > 0
    assert json.loads((folder / ONE_RUN).read_text())
    assert not [request for request in hub.requests if request[1].endswith(".py")]


def records(results: Path, name: str) -> dict[str, dict]:
    return {
        str(file.parent.relative_to(results / "runs")): json.loads(file.read_text()) for file in results.rglob(name)
    }


@paper
def test_it_ends_in_the_papers_report(finished):
    results, _ = finished
    report = (results / "report.html").read_text()
    for experiment in paper_hub.STUDY["experiments"].values():
        assert experiment["title"] in report
    assert "hf_nobodyMayReadThis" not in report
    assert len(records(results, "evaluation.json")) == 14


@paper
def test_every_model_is_really_quantized_and_trained(finished):
    results, _ = finished
    trained = records(results, "training.json")
    assert len(trained) == 7
    assert all(record["quantized_layers"] > 0 for record in trained.values())
    assert trained["quotes/int8-lora/seed-0"]["steps"] == 100


@paper
def test_commits_are_recorded_in_full_and_no_code_was_fetched(finished):
    results, hub = finished
    for kind, name, begins in (
        ("datasets", "medtext", "96d57f9"),
        ("datasets", "english-quotes", "3364976"),
        ("models", "falcon-7b", "ec89142b67d748a1865ea4451372db8313ada0d8"),
    ):
        revision = json.loads((results.parent / kind / name / "provenance.json").read_text())["revision"]
        assert len(revision) == 40
        assert revision.startswith(begins)
    assert not [request for request in hub.requests if request[1].endswith(".py")]


@paper
def test_published_losses_stand_beside_ours(finished):
    results, _ = finished
    losses = pandas.read_csv(results / "tables" / "losses.csv")
    for name, experiment in paper_hub.STUDY["experiments"].items():
        ours = losses[(losses["experiment"] == name) & (losses["method"] == "int8-lora")]
        published = [line["validation_loss"] for line in experiment["published"]["losses"]]
        assert ours["published_validation_loss"].dropna().tolist() == published, name
        assert ours["validation_loss"].notna().any()
