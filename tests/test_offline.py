"""Once models and data are fetched, no stage asks anything of a network: compute nodes often have none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import tiny
from tests.stages import prepared, train_arguments
from tunebook.records import read_json, write_json

WORKFLOW = Path(__file__).parents[1] / "workflow"
# Ends the process at the first attempt, for libraries swallow errors and go on without.
GUARDED = """
import os, sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
        print("asked of the network:", event, arguments, file=sys.stderr, flush=True)
        os._exit(99)

sys.addaudithook(refuse)
from tunebook.__main__ import main
sys.exit(main())
"""


def without_network(*arguments: object) -> subprocess.CompletedProcess:
    """Run a stage in a process that ends with status 99 as soon as it turns to a network."""
    command = [sys.executable, "-c", GUARDED, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(WORKFLOW)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_training_and_scoring_need_no_network(tmp_path, method):
    places = prepared(tiny.study(tmp_path, methods=[method]), tmp_path)
    run = places["results"] / "runs" / f"words/{method}/seed-0"
    shared = ["--study", places["study"], "--dataset", places["dataset"]]
    tokens = ["--model", places["model"], "--output", places["tokens"]]
    scored = ["--run", run / "run.json", "--model", places["model"], "--adapter", run / "adapter"]
    scored += ["--tokens", places["tokens"], "--dataset", places["dataset"], "--output", run]
    for command in (
        ["tokenize", *shared, "--experiment", "words", *tokens],
        train_arguments(places, f"words/{method}/seed-0"),
        ["evaluate", *scored],
        ["sample", *scored],
        ["baseline", *shared, "--experiment", "words", "--output", tmp_path / "baselines"],
    ):
        done = without_network(*command)
        assert done.returncode == 0, done.stdout + done.stderr
    assert read_json(run / "evaluation.json")["rows"] == 12


def test_the_guard_sees_what_turns_to_a_network(tmp_path):
    source = {"type": "hub", "id": "someone/model", "revision": "0" * 40}
    spec = {"name": "m", "task": "causal-lm", "source": source, "encoder_decoder": False, "licence": "none"}
    write_json(tmp_path / "study.json", {"specs": {"fetch-model": {"m": spec}}})
    done = without_network(
        "fetch-model", "--study", tmp_path / "study.json", "--model", "m", "--output", tmp_path / "models" / "m"
    )
    assert done.returncode == 99
    assert "asked of the network: socket.getaddrinfo" in done.stderr
