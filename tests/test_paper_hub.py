"""The paper study against a hub whose models and data sets are small: from an empty folder to its report.

The config is config/paper.yaml as it stands, float16 included.
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

pytestmark = pytest.mark.paper


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A checkout in which `snakemake --configfile config/paper.yaml` ran to its end, and what it asked of the hub."""
    folder = tmp_path_factory.mktemp("checkout")
    copy_workflow(folder)
    with hub_server.serving() as hub:
        paper_hub.fill(hub, tmp_path_factory.mktemp("hub"))
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HF_ENDPOINT": hub.address,
            "HF_HOME": str(folder / "cache"),
            "HF_TOKEN": "hf_nobodyMayReadThis",
            "OMP_WAIT_POLICY": "passive",  # two jobs at once, each with threads for all cores
        }
        environment.pop("HF_HUB_CACHE", None)
        command = [sys.executable, "-m", "snakemake", "--cores", "2", "--resources", "gpu=2", "--configfile"]
        done = subprocess.run(
            [*command, "config/paper.yaml"], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        logs = "".join(f"\n== {log}\n{log.read_text()[-1500:]}" for log in folder.glob("results/**/logs/**/*.log"))
        assert done.returncode == 0, done.stdout + done.stderr + logs
        yield folder / "results" / "paper", hub


def records(results: Path, name: str) -> dict[str, dict]:
    return {
        str(file.parent.relative_to(results / "runs")): json.loads(file.read_text()) for file in results.rglob(name)
    }


def test_it_ends_in_the_papers_report(finished):
    results, _ = finished
    report = (results / "report.html").read_text()
    for experiment in paper_hub.STUDY["experiments"].values():
        assert experiment["title"] in report
    assert "hf_nobodyMayReadThis" not in report
    assert len(records(results, "evaluation.json")) == 14


def test_every_model_is_really_quantized_and_trained(finished):
    results, _ = finished
    trained = records(results, "training.json")
    assert len(trained) == 7
    assert all(record["quantized_layers"] > 0 for record in trained.values())
    assert trained["quotes/int8-lora/seed-0"]["steps"] == 100


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


def test_published_losses_stand_beside_ours(finished):
    results, _ = finished
    losses = pandas.read_csv(results / "tables" / "losses.csv")
    for name, experiment in paper_hub.STUDY["experiments"].items():
        ours = losses[(losses["experiment"] == name) & (losses["method"] == "int8-lora")]
        published = [line["validation_loss"] for line in experiment["published"]["losses"]]
        assert ours["published_validation_loss"].dropna().tolist() == published, name
        assert ours["validation_loss"].notna().any()
