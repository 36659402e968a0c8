"""What jobs ask a scheduler for: memory by the estimate, minutes by the rehearsal, and who has the last word."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pandas
import pytest
import torch
import yaml

from tests import architectures
from tests.checkout import checkout, log_of, run
from tunebook.configuration.validation import validate
from tunebook.cost.architectures import read_architecture
from tunebook.cost.job import SPARE, UNKNOWN_MB, Pace, memory_mb, paces, runtime_minutes
from tunebook.cost.memory import estimate, inference_bytes, setting_of
from tunebook.cost.program import Batch, play
from tunebook.cost.study import architecture_of
from tunebook.cost.traces import program_of
from tunebook.fetch_model import fetch_model
from tunebook.finetuning.models import load_model
from tunebook.records import read_json
from tunebook.resolve import resolve

ROOT = Path(__file__).parents[1]
LENGTHS = {"max_length": 512, "max_target_length": 128}
PROFILE = ("--workflow-profile", "workflow/profiles/slurm")


@pytest.fixture
def paper(tmp_path):
    """The paper study's runs by name, without a model that was fetched."""
    config = yaml.safe_load((ROOT / "config" / "paper.yaml").read_text(encoding="utf-8"))
    resolve(validate(config), tmp_path)
    names = [line["run"] for line in read_json(tmp_path / "study.json")["runs"]]
    return {name: read_json(tmp_path / "runs" / name / "run.json") for name in names}


def test_training_asks_for_what_its_run_holds(paper, tmp_path):
    medical = paper["medical/int8-lora/seed-0"]
    found = estimate(medical, architecture_of(medical["model"], tmp_path), gpu=False)
    assert memory_mb("train", medical, tmp_path, **LENGTHS, gpus=0) * 1e6 > SPARE * found.peak_bytes
    one, two = (memory_mb("train", medical, tmp_path, **LENGTHS, gpus=gpus) for gpus in (1, 2))
    assert SPARE * found.stored_bytes < one * 1e6 < found.peak_bytes < 2 * two * 1e6


@pytest.mark.parametrize("method", ["base", "int8-lora"])
def test_scores_and_answers_ask_for_the_weights_and_no_optimizer(paper, tmp_path, method):
    run = paper[f"medical/{method}/seed-0"]
    held = 7.2e9 * (1 if run["quantization"] else 2)  # bytes of Falcon-7B's weights, in 8 or in 16 bits
    asked = memory_mb("evaluate", run, tmp_path, **LENGTHS, gpus=0) * 1e6
    assert (
        SPARE * held < asked < memory_mb("train", paper["medical/int8-lora/seed-0"], tmp_path, **LENGTHS, gpus=0) * 1e6
    )
    assert memory_mb("sample", run, tmp_path, **LENGTHS, gpus=0) * 1e6 == asked


def test_what_the_estimate_does_not_know_asks_for_a_fixed_figure(paper, tmp_path):
    run = paper["medical/int8-lora/seed-0"]
    run["model"]["architecture"] = None
    assert {memory_mb(stage, run, tmp_path, **LENGTHS, gpus=1) for stage in ("train", "evaluate")} == {UNKNOWN_MB}


@pytest.mark.parametrize("family", ["llama", "opt", "falcon", "t5", "bert", "bart", "gpt2"])
def test_keys_and_values_of_answers_are_those_that_the_model_keeps(tmp_path, family):
    architecture, run = architectures.read(tmp_path, family), architectures.run_of(family, "full")
    spec = {"name": family, "task": run["task"], "encoder_decoder": run["model"]["encoder_decoder"], "licence": "none"}
    fetch_model(
        {**spec, "source": {"type": "random", "architecture": str(architecture.origin), "seed": 0}}, tmp_path / "model"
    )
    model = load_model(run, tmp_path / "model").eval()
    ids = torch.arange(4, 24).reshape(2, 10)
    inputs = {"decoder_input_ids": ids[:, :6]} if run["task"] == "seq2seq-lm" else {}
    with torch.no_grad():
        cache = model(input_ids=ids, use_cache=True, **inputs).past_key_values
    parts = [cache.self_attention_cache, cache.cross_attention_cache] if inputs else [cache]
    kept = sum(
        each.numel() * each.element_size()
        for part in parts
        for layer in part.layers
        for each in (layer.keys, layer.values)
    )
    program = program_of(architecture, run["task"], encoder_decoder=run["model"]["encoder_decoder"])
    tape = play(program, setting_of(run, architecture, gpu=False), Batch(2, 10, 6)).tape
    assert tape.cached == kept


def test_longer_answers_of_more_rows_take_more():
    run = architectures.run_of("llama", "lora") | {"few_shot": []}
    taken = []
    for rows, tokens, shots in ((8, 100, 0), (16, 100, 0), (16, 4000, 0), (16, 4000, 8)):
        run |= {"generation": {"batch_size": rows, "max_new_tokens": tokens}, "few_shot": [shots] if shots else []}
        taken.append(inference_bytes(run, read_architecture("smollm2-135m"), **LENGTHS))
    assert taken == sorted(set(taken))


def rehearsed(file: Path, *lines: dict[str, object]) -> Path:
    measured = {"identity": "new", "total_s": 6000.0, "validation_s": 2.0, "validation_rows": 16, "other_s": 60.0}
    pandas.DataFrame([{**measured, "test_rows": 160, **line} for line in lines]).to_csv(file, index=False)
    return file


def scored_run(method: str, **changes: object) -> dict[str, object]:
    generation = {
        "max_new_tokens": 10,
        "batch_size": 16,
        "heldout_samples": 2,
        "scored_rows": 28,
        "memorisation_rows": 0,
    }
    run = {"experiment": "words", "method": method, "few_shot": [], "generation": generation, "prompts": ["a", "b"]}
    return {**run, "dataset": {"labels": []}, **changes}


def test_minutes_are_those_of_the_rehearsal_and_half_as_many(tmp_path):
    lines = [{"run": "words/lora/seed-0"}, {"run": "words/full/seed-0", "validation_s": 4.0}]
    measured = paces(rehearsed(tmp_path / "rehearsal.csv", *lines), {line["run"]: "new" for line in lines})
    lora = scored_run("lora")
    assert runtime_minutes("train", lora, measured) == 150 + 10  # 6000 s
    assert runtime_minutes("evaluate", lora, measured) == 2 + 10  # 60 s and 10 batches of 2 s: 80 s
    assert (
        runtime_minutes("sample", lora, measured) == 3 + 10
    )  # 32 answers: 2 batches, 10 tokens each of 2 s at most: 100 s
    labelled = scored_run("lora", dataset={"labels": ["x", "y"]})
    assert runtime_minutes("evaluate", labelled, measured) == 7 + 10  # and 160 answers: 10 batches of 20 s: 280 s
    assert runtime_minutes("evaluate", scored_run("base"), measured) == 3 + 10  # at the slowest pace: 100 s
    prompted = scored_run("base", few_shot=[1, 4])
    assert runtime_minutes("evaluate", prompted, measured) == 38 + 10  # 1 + 5 (2 + 5) as many tokens: 1500 s


def test_minutes_of_what_was_not_measured_are_not_known(tmp_path):
    lines = [
        {"run": "words/lora/seed-0", "identity": "old"},
        {"run": "words/full/seed-0", "total_s": None},
        {"run": "words/qlora/seed-0", "test_rows": None},
    ]
    measured = paces(rehearsed(tmp_path / "rehearsal.csv", *lines), {line["run"]: "new" for line in lines})
    assert measured == {}
    assert paces(tmp_path / "none.csv", {}) == {}
    other = Pace(training_s=1, validation_s=1, validation_rows=1, other_s=1, test_rows=1)
    assert runtime_minutes("train", scored_run("lora"), {"words/lora-2/seed-0": other}) is None


def asked(folder: Path, *arguments: str) -> dict[str, list[int]]:
    """Minutes that the jobs of a checkout would ask for, by rule; none where a job has no limit."""
    log_of(folder).unlink(missing_ok=True)
    assert run(folder, "--dry-run", "--cores", "1", *arguments) == 0, log_of(folder).read_text()
    found: dict[str, list[int]] = {}
    for job in re.split(r"^(?:local)?rule ", log_of(folder).read_text(), flags=re.MULTILINE)[1:]:
        name, resources = job.split(":")[0], job[job.index("resources:") :].splitlines()[0]
        found.setdefault(name, []).extend(map(int, re.findall(r"[ ,]runtime=(\d+)", resources)))
    return found


def test_the_profile_limits_what_the_rehearsal_measured(tmp_path):
    results, file = checkout(tmp_path, methods=["lora"]), tmp_path / "config" / "tiny.yaml"
    config = yaml.safe_load(file.read_text(encoding="utf-8"))
    config["datasets"]["lines"]["rows"] = 60  # a rehearsal must know length and shape of what is not fetched yet
    config["models"]["tiny"]["architecture"] = architectures.written(tmp_path, "llama")
    file.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    assert asked(tmp_path)["train"] == []  # one's own machine: no limit
    before = asked(tmp_path, *PROFILE)
    assert (before["train"], before["evaluate"], before["sample"]) == ([720], [120, 120], [120, 120])
    command = [sys.executable, "-m", "snakemake", "rehearse", "--cores", "1", "--configfile", "config/tiny.yaml"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    after = asked(tmp_path, *PROFILE)
    rows = pandas.read_csv(results / "rehearsal.csv").set_index("run")
    training_s = rows.loc["words/lora/seed-0", "total_s"]
    assert after["train"] == [-(-training_s * 1.5 // 60) + 10]
    assert after["evaluate"] == [11, 11]
    assert asked(tmp_path, *PROFILE, "--set-resources", "train:max_runtime=5")["train"] == [5]
    assert asked(tmp_path, *PROFILE, "--set-resources", "train:runtime=999")["train"] == [999]
    assert asked(tmp_path, "--default-resources", "runtime=7")["train"] == [7]
