"""The workflow itself, on a tiny study: what runs, what runs again after a change, and what does not."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pytest
import yaml
from torch.distributed import run as torchrun

from tests import tiny
from tests.checkout import copy_workflow

BOUND = ("tables", "figures_with_labels", "report", "cards")  # what is made of all records
SECRETS = {"HF_TOKEN": "hf_D41d8cd98f00b204E9", "AWS_SECRET_ACCESS_KEY": "wJalr800998ecf8427e"}


def snakemake(folder: Path, *arguments: str) -> str:
    """Run snakemake in a checkout. Returns what it printed; a failure fails the test."""
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments, "--configfile", "config/tiny.yaml"]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **SECRETS}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output + logs_of(folder)
    return output


def logs_of(folder: Path) -> str:
    return "".join(f"\n== {log}\n{log.read_text()[-1500:]}" for log in folder.glob("results/**/logs/**/*.log"))


def planned(folder: Path) -> dict[str, set[str]]:
    """What `snakemake -n` would run: rule -> its wildcards or outputs."""
    output = snakemake(folder, "-n")
    jobs: dict[str, set[str]] = {}
    for block in re.split(r"\n(?=(?:local)?rule |\[)", output):
        if found := re.match(r"(?:local)?rule (\w+):", block):
            wildcards = re.search(r"wildcards: (.*)", block)
            jobs.setdefault(found[1], set()).add(wildcards[1] if wildcards else "")
    jobs.pop("default", None)
    return jobs


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A checkout with a tiny study of two experiments, run to its report as on a machine without a GPU."""
    folder = tmp_path_factory.mktemp("checkout")
    copy_workflow(folder)
    config = tiny.study(folder / "sources", methods=["int8-lora"])
    second = {**deepcopy(config["experiments"]["words"]), "title": "More words", "methods": ["full"]}
    config["experiments"]["more"] = second
    write(folder, config)
    snakemake(folder, "--resources", "gpu=0")
    return folder


def write(folder: Path, config: dict) -> None:
    (folder / "config" / "tiny.yaml").write_text(yaml.safe_dump(config, sort_keys=False))


@pytest.fixture
def config(finished):
    """The study's config, put back after the test."""
    before = (finished / "config" / "tiny.yaml").read_text()
    yield yaml.safe_load(before)
    (finished / "config" / "tiny.yaml").write_text(before)


def test_it_ends_in_a_report_and_records(finished):
    results = finished / "results" / "tiny"
    assert "A tiny study" in (results / "report.html").read_text()
    for name in ("words/base", "words/int8-lora", "more/base", "more/full"):
        record = json.loads((results / "runs" / name / "seed-0" / "evaluation.json").read_text())
        assert record["rows"] == 12
    assert json.loads((results / "runs/words/int8-lora/seed-0/training.json").read_text())["quantized_layers"] > 0
    assert json.loads((results / "baselines/words.json").read_text())["baselines"]["TF-IDF"]["metrics"]
    assert (results / "runs/words/int8-lora/seed-0/model_card.md").read_text().startswith("---\n")
    assert list((results / "runs/more/full/seed-0/tensorboard").iterdir())
    assert not list(finished.glob("results/**/*.part"))


def test_secrets_of_the_environment_are_written_nowhere(finished):
    files = [file for file in finished.rglob("*") if file.is_file()]
    assert len(files) > 100
    assert [file for file in files if any(value.encode() in file.read_bytes() for value in SECRETS.values())] == []


def test_at_once_again_there_is_nothing_to_do(finished):
    assert planned(finished) == {}


def test_a_touch_changes_nothing(finished):
    for file in [
        *finished.glob("workflow/tunebook/*.py"),
        *finished.glob("report/**/*"),
        *finished.glob("results/**/*.parquet"),
    ]:
        os.utime(file)
    assert planned(finished) == {}


def test_another_time_limit_runs_nothing_again(finished):
    assert "Nothing to be done" in snakemake(finished, "-n", "--set-resources", "train:runtime=10")


def test_another_number_of_gpus_runs_no_training_again(finished, config):
    config["experiments"]["words"]["gpus"] = 2
    write(finished, config)
    assert set(planned(finished)) == set(BOUND)


@pytest.mark.parametrize(
    ("given", "starts", "asks"),
    [
        ([], "torchrun --standalone --nproc-per-node 2 ", "gpu=2"),
        (["--resources", "gpu=2"], "torchrun --standalone --nproc-per-node 2 ", "gpu=2"),
        (["--resources", "gpu=1"], "python -m tunebook train --run ", "gpu=1"),
        (["--set-resources", "train:gpu=0", "train:gres='gpu:2'"], "torchrun --standalone --nproc-per-node 2 ", "gres"),
    ],
)
def test_training_on_two_gpus_is_started_by_torchrun(finished, config, given, starts, asks):
    config["experiments"]["words"] |= {"gpus": 2, "seeds": [7]}
    write(finished, config)
    output = snakemake(finished, "-n", "-p", *given)
    block = next(part for part in re.split(r"\n\n", output) if "train/words/int8-lora.seed-7.log" in part)
    command = re.search(r"TUNEBOOK_LIBRARY=\S+ (.* tunebook train .*?) 2> ", output)[1]
    assert command.startswith(starts)
    if starts.startswith("torchrun"):
        told = torchrun.parse_args(shlex.split(command)[1:])  # it knows options that begin as ours do
        assert (told.training_script, told.module, told.training_script_args[:2]) == (
            "tunebook",
            True,
            ["train", "--run"],
        )
    assert asks in re.search(r"resources: (.*)", block)[1]
    assert "gpu=1" in next(part for part in output.split("\n\n") if "evaluate/words/int8-lora.seed-7.log" in part)


def test_a_learning_rate_runs_its_own_experiment_again(finished, config):
    config["experiments"]["words"]["training"]["learning_rate"] = 0.005
    write(finished, config)
    jobs = planned(finished)
    assert set(jobs) == {"train", "evaluate", "sample", *BOUND}
    assert all("experiment=words" in run for run in jobs["train"] | jobs["evaluate"] | jobs["sample"])
    assert not any("method=base" in run for run in jobs["evaluate"] | jobs["sample"])


def test_a_prompt_asks_for_new_samples_only(finished, config):
    config["experiments"]["more"]["prompts"].append("sales fell")
    write(finished, config)
    jobs = planned(finished)
    assert set(jobs) == {"sample", *BOUND}
    assert all("experiment=more" in run for run in jobs["sample"])


def test_another_experiment_leaves_the_others_alone(finished, config):
    config["experiments"]["third"] = dict(config["experiments"]["words"], methods=["lora"])
    write(finished, config)
    jobs = planned(finished)
    assert all("experiment=third" in run for run in jobs["train"] | jobs["evaluate"] | jobs["tokenize"])
    assert "prepare" not in jobs


WORDS = {  # file -> an edit of its words: (before, after)
    "workflow/tunebook/finetuning/trainer.py": ('"""', '"""Said in other words. '),
    "workflow/tunebook/finetuning/models.py": ("from __future__", "# A comment.\nfrom __future__"),
    "workflow/tunebook/train.py": ("def _cpu_lines() -> list[str]:", "def _cpu_lines( ) -> object:"),
    "workflow/tunebook/tokenize.py": ('help="', 'help="In other words: '),
    "workflow/tunebook/errors.py": ("class TunebookError", "OTHER = 1\n\n\nclass TunebookError"),
    "workflow/tunebook/finetuning/progress.py": ("SECONDS_BETWEEN_LINES = 10", "SECONDS_BETWEEN_LINES = 20"),
    "README.md": ("", "Read me."),
}


def test_an_edit_of_words_runs_nothing(finished):
    before = {name: (finished / name).read_text() if (finished / name).exists() else "" for name in WORDS}
    for name, (old, new) in WORDS.items():
        assert old in before[name], name
        (finished / name).write_text(before[name].replace(old, new, 1))
    try:
        assert planned(finished) == {}
    finally:
        for name, text in before.items():
            (finished / name).write_text(text)


@pytest.mark.parametrize(
    ("file", "rules"),
    [
        ("report/style.css", {"report"}),
        ("workflow/tunebook/report.py", {"report"}),
        ("workflow/tunebook/cards.py", {"cards"}),
        ("report/model_card.md.j2", {"cards", "report"}),
        ("workflow/tunebook/baseline.py", {"baseline", *BOUND}),
        ("workflow/tunebook/finetuning/trainer.py", {"train", "evaluate", "sample", *BOUND}),
        ("workflow/tunebook/sample.py", {"sample", *BOUND}),
        ("workflow/tunebook/finetuning/few_shot.py", {"evaluate", *BOUND}),
    ],
)
def test_an_edit_runs_what_depends_on_it(finished, file, rules):
    path = finished / file
    before = path.read_text()
    path.write_text(before + ("\nEDITED = 1\n" if file.endswith(".py") else "\n/* edited */\n"))
    try:
        assert set(planned(finished)) == rules
        if file == "workflow/tunebook/finetuning/trainer.py":
            assert re.search(r"Params have changed.*code of train: ", snakemake(finished, "-n"))  # a person sees why
    finally:
        path.write_text(before)


def test_another_study_shares_what_was_fetched(finished, config):
    write(finished, config | {"study": "other"})
    snakemake(finished, "results/other/tokens/words/lengths.json")
    assert "train" in planned(finished)
    assert not {"fetch_model", "fetch_dataset", "prepare", "tokenize"} & planned(finished)["train"]
    write(finished, config)
    assert planned(finished) == {}


def test_another_source_under_a_name_that_a_study_uses_is_refused(finished, config):
    """Both studies would fetch over each other; ours is refused before anything runs, and theirs has nothing to do."""
    other = deepcopy(config) | {"study": "other"}
    rows = finished / "sources" / "others.jsonl"
    rows.write_text((finished / "sources" / "rows.jsonl").read_text().replace("profit", "sales"))
    other["datasets"]["lines"]["source"]["path"] = str(rows)
    write(finished, other)
    command = [sys.executable, "-m", "snakemake", "-n", "--configfile", "config/tiny.yaml"]
    done = subprocess.run(command, cwd=finished, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    told = done.stdout + done.stderr
    assert "datasets.lines: found" in told
    assert "others.jsonl" in told
    assert "but study tiny (results/tiny/study.json) has" in told
    assert "rows.jsonl" in told
    assert "give this data set another name" in told
    assert "Traceback" not in told
    write(finished, config)
    assert "Nothing to be done" in snakemake(finished, "-n")


def test_a_licence_in_other_words_fetches_nothing_again(finished, config):
    config["datasets"]["lines"]["licence"] = "other words"
    write(finished, config)
    assert not {"fetch_dataset", "prepare", "train"} & planned(finished).keys()


def test_what_a_stage_says_of_wrong_data_stands_on_the_terminal(finished, config):
    config["datasets"]["lines"]["prompt"] = "{{ txt }}"
    write(finished, config)
    with pytest.raises(AssertionError, match=r"no column txt; did you mean text\?; the rows have: "):
        snakemake(finished, "results/tiny/datasets/lines/train.parquet")
    write(finished, config | {"study": "other"})


def test_a_study_on_the_command_line_replaces_the_default_one(finished):
    assert "miniature" not in snakemake(finished, "-n")


def test_snakemakes_own_report_holds_figures_and_tables(finished):
    snakemake(finished, "--report", "report.zip")
    assert (finished / "report.zip").stat().st_size > 10_000
