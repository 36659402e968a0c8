"""The random source, and rehearsals: real training on made-up tokens, measured; what does not fit is a row."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas
import pytest
import yaml

from tests import architectures, tiny
from tests.checkout import copy_workflow
from tests.stages import prepared, run_stage, trained
from tunebook import rehearse as stage
from tunebook.configuration.validation import validate
from tunebook.cost.machine import Machine
from tunebook.cost.plan import plan_of, rows_of
from tunebook.cost.rehearsal import Rehearsal, _failed, made_up_rows
from tunebook.estimate import lines_of
from tunebook.finetuning.tokenizers import load_tokenizer
from tunebook.records import read_json
from tunebook.resolve import resolve

ROOT = Path(__file__).parents[1]


def random_study(folder: Path, family: str = "llama", **experiment) -> dict:
    """The tiny study, with a model of random weights."""
    config = tiny.study(folder, **experiment)
    source = {"type": "random", "architecture": architectures.written(folder, family)}
    config["experiments"]["words"]["training"]["max_length"] = 128  # its tokens are bytes
    config["datasets"]["lines"]["rows"] = 60
    config["models"]["tiny"] |= {"source": source, "task": architectures.task_of(family)}
    return config


def test_a_study_on_random_weights_runs_through_the_stages(tmp_path):
    places = prepared(random_study(tmp_path), tmp_path)
    record = read_json(places["model"] / "provenance.json")
    assert record["revision"] == "seed 0, not pretrained"
    tokenizer = load_tokenizer(places["model"])
    assert tokenizer.decode(tokenizer("Äpfel, 3 €!")["input_ids"]) == "Äpfel, 3 €!"
    record, _ = trained(places, "words/lora/seed-0")
    assert record["steps"] == 6
    folder = places["results"] / "runs" / "words/lora/seed-0"
    scored = ["--run", folder / "run.json", "--model", places["model"], "--adapter", folder / "adapter"]
    run_stage("evaluate", *scored, "--tokens", places["tokens"], "--dataset", places["dataset"], "--output", folder)
    assert read_json(folder / "evaluation.json")["rows"] == 12


def test_the_same_seed_draws_the_same_weights(tmp_path):
    config = random_study(tmp_path)
    resolve(validate(config), tmp_path)
    for name in ("a", "b"):
        run_stage("fetch-model", "--study", tmp_path / "study.json", "--model", "tiny", "--output", tmp_path / name)
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()


def test_made_up_rows_are_as_long_as_allowed_and_padded():
    run = architectures.run_of("t5", max_length=16, max_target_length=5)
    rows = made_up_rows(run, 4, 600)
    assert [len(row["input_ids"]) for row in rows] == [16, 15, 16, 15]
    assert {len(row["labels"]) for row in rows} == {5}
    assert all(4 <= token < 600 for row in rows for token in row["input_ids"])


@pytest.mark.parametrize(
    ("status", "words", "fits"),
    [
        (-9, "", "no"),
        (2, "tunebook train: out of memory with one row at a time; shorten max_length", "no"),
        (2, "tunebook train: training.optim: found paged_adamw_8bit, but this process sees no GPU", "unknown"),
        (75, "", "unknown"),
        (1, "torch.OutOfMemoryError: CUDA out of memory.", "no"),
        (1, "RuntimeError: DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes.", "no"),
        (1, "ValueError: something else", "unknown"),
    ],
)
def test_a_failed_trial_is_a_finding(status, words, fits):
    found = _failed(subprocess.CompletedProcess([], status, "", words), max_seconds=60)
    assert found.fits == fits
    assert found.reason


def test_the_length_of_a_run_is_known_from_its_rows(tmp_path):
    config = yaml.safe_load((ROOT / "config" / "paper.yaml").read_text(encoding="utf-8"))
    resolve(validate(config), tmp_path)
    study = tmp_path / "study.json"
    plans = {line.run["experiment"]: plan_of(line, study) for line in lines_of(study, tmp_path / "models")}
    assert plans["sentiment"].steps == pytest.approx(765, abs=3)  # the student report's, Figure 12
    assert plans["chatbot"].steps == pytest.approx(553, abs=3)  # Figure 14
    assert plans["quotes"].steps == 100
    assert plans["quotes"].seconds(Rehearsal("no", "")) is None
    trial = Rehearsal("yes", "", record={}, seconds_a_step=2.0, validation_s=1.0, other_s=10.0)
    sentiment = plans["sentiment"]
    batches = sentiment.validations * sentiment.validation_batches
    assert sentiment.seconds(trial) == 10 + 2 * sentiment.steps + batches
    del config["datasets"]["medtext"]["rows"]
    resolve(validate(config), tmp_path)
    unknown = next(line for line in lines_of(study, tmp_path / "models") if line.run["experiment"] == "medical")
    assert plan_of(unknown, study).steps is None
    profile = study.parent / "datasets" / "medtext" / "profile.json"
    profile.parent.mkdir(parents=True)
    profile.write_text(json.dumps({"splits": {"train": 100, "validation": 10, "test": 10}}))
    assert rows_of(unknown.run["dataset"], study) == (100, 10, 10)


def test_a_run_of_few_rows_is_as_short_as_it_will_be(tmp_path):
    config = yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8"))
    resolve(validate(config), tmp_path)
    study = tmp_path / "study.json"
    plans = {line.run["experiment"]: plan_of(line, study) for line in lines_of(study, tmp_path / "models")}
    few = plans["medical-as-published"]  # split.train: 8; 8 epochs of batches of 2
    assert (few.training_rows, few.steps, few.validations) == (8, 32, 9)
    assert plans["medical"].training_rows == 544
    assert all(plan.validations for plan in plans.values())
    del config["datasets"]["quotely"]["rows"]  # the length of an epoch is not known, and so not how often it validates
    resolve(validate(config), tmp_path)
    quotes = next(line for line in lines_of(study, tmp_path / "models") if line.run["experiment"] == "quotes")
    assert plan_of(quotes, study).steps == 21
    assert plan_of(quotes, study).seconds(Rehearsal("yes", "", {}, 1.0, 1.0, 1.0)) is None


def test_what_cannot_be_tried_out_is_a_row_with_its_reason(tmp_path):
    config = yaml.safe_load((ROOT / "config" / "paper.yaml").read_text(encoding="utf-8"))
    resolve(validate(config), tmp_path)
    machine = Machine("cpu", "CPU", 8 * 10**8, 8 * 10**8)
    rows = stage.rehearse(tmp_path / "study.json", tmp_path / "models", tmp_path, machine=machine, max_seconds=60)
    reasons = {row.run.split("/")[0]: (row.fits, row.reason) for row in rows}
    assert list(reasons) == list(config["experiments"])
    assert reasons["sentiment"][0] == "no"
    assert "this machine has 800 MB; not tried out" in reasons["sentiment"][1]
    text = stage.report("paper", rows, lines_of(tmp_path / "study.json", tmp_path / "models"), machine)
    assert "How long training takes is not known.\nLeft out: downloads" in text
    assert "trained models; sentiment/" in text
    assert "The\ndifference is the estimated peak less the measured one" in text
    assert "30.3 GB of models" in text


def test_snakemake_estimates_and_rehearses_a_study(tmp_path):
    copy_workflow(tmp_path)
    config = random_study(tmp_path, methods=["int8-lora", "full"])
    config["experiments"]["words"]["overrides"] = {"full": {"training": {"optim": "paged_adamw_8bit"}}}
    (tmp_path / "config" / "tiny.yaml").write_text(yaml.safe_dump(config))
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "CUDA_VISIBLE_DEVICES": "",
    }

    def snakemake(target: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "snakemake", target, "--cores", "1", "--configfile", "config/tiny.yaml"]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    results = tmp_path / "results" / "tiny"
    told = snakemake("estimate")
    assert told.returncode != 0  # a run is refused
    assert "fits a GPU of 16 GB: all" in told.stdout
    assert "words/full: training.optim: found paged_adamw_8bit" in told.stdout
    assert (results / "estimate.csv").exists()
    done = snakemake("rehearse")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = pandas.read_csv(results / "rehearsal.csv").set_index("run")
    measured = rows.loc["words/int8-lora/seed-0"]
    assert measured["fits"] == "yes"
    assert measured["estimated_peak_bytes"] == pytest.approx(measured["peak_memory_bytes"], rel=0.15)
    assert measured["steps"] == 6
    assert measured["total_s"] > 0
    refused = rows.loc["words/full/seed-0"]
    assert refused["fits"] == "no"
    assert "no GPU whose memory could be paged" in refused["reason"]
    page = (results / "rehearsal.md").read_text()
    assert "| words/int8-lora/seed-0 | yes |" in page
    assert "Left out: downloads; answers and scores of untouched and trained models; words/full/" in page
    assert not (results / "rehearsal").exists()
    assert not (tmp_path / "results" / "models").exists()
