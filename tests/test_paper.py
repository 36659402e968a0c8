"""config/paper.yaml is the student report: its models, arguments and published losses, written out here a second time."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pandas
import pytest
import yaml

from tests import hub_server, paper_hub
from tunebook.configuration.study import fetching_specs, runs_of
from tunebook.configuration.validation import validate
from tunebook.fetch_dataset import fetch_dataset
from tunebook.fetch_model import fetch_model
from tunebook.prepare import prepare

ROOT = Path(__file__).parents[1]
FILE = ROOT / "config" / "paper.yaml"
MODELS = {
    "sentiment": ("google/flan-t5-large", "0613663d0d48ea86ba8cb3d7a44f0f65dc596a2a"),
    "chatbot": ("tiiuae/falcon-7b", "ec89142b67d748a1865ea4451372db8313ada0d8"),
    "medical": ("tiiuae/falcon-7b", "ec89142b67d748a1865ea4451372db8313ada0d8"),
    "quotes": ("facebook/opt-6.7b", "a45aa65bbeb77c1558bc99bedc6779195462dab0"),
}
DATASETS = {
    "sentiment": ("mteb/financial_phrasebank", "9349ecd31615a97081c245f5d7dbc0f4c6a1a656"),
    "chatbot": ("timdettmers/openassistant-guanaco", "831dabac2283d99420cda0b673d7a2a43849f17a"),
    "medical": ("BI55/MedText", "96d57f9"),
    "quotes": ("Abirate/english_quotes", "3364976"),
}
TRAINING = {  # Figures 8 to 11
    "sentiment": {"learning_rate": 1e-3, "num_train_epochs": 3, "gradient_accumulation_steps": 1},
    "chatbot": {
        "learning_rate": 2e-4,
        "num_train_epochs": 1,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 8,
        "fp16": True,
        "max_grad_norm": 0.3,
    },
    "medical": {
        "learning_rate": 1e-3,
        "num_train_epochs": 3,
        "per_device_train_batch_size": 8,
        "per_device_eval_batch_size": 8,
        "gradient_accumulation_steps": 1,
    },
    "quotes": {
        "learning_rate": 2e-4,
        "max_steps": 100,
        "warmup_steps": 50,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 4,
        "fp16": True,
    },
}
ADAPTERS = {  # the public notebooks
    "sentiment": (16, 32, 0.05, ("q", "v")),
    "chatbot": (64, 16, 0.1, ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h")),
    "medical": (4, 32, 0.05, ("query_key_value",)),
    "quotes": (16, 32, 0.05, ("q_proj", "v_proj")),
}
LOSSES = {  # Figures 12, 14, 16 and 18: epoch, training loss, validation loss
    "sentiment": [(1, None, 0.032043), (2, 0.158600, 0.027087), (3, 0.158600, 0.026388)],
    "chatbot": [(1, 1.312500, 1.240329)],
    "medical": [(1, 0.7572, 1.534094), (3, 0.2877, 1.730110)],
    "quotes": [(0.35, 1.728900, 1.941894)],
}


@pytest.fixture(scope="module")
def study():
    return validate(yaml.safe_load(FILE.read_text(encoding="utf-8")), files=[FILE])


@pytest.mark.parametrize("name", MODELS)
def test_models_and_data_are_pinned(study, name):
    experiment = study.experiments[name]
    model, dataset = study.models[experiment.model], study.datasets[experiment.dataset]
    assert (model.source.id, model.source.revision) == MODELS[name]
    assert (dataset.source.id, dataset.source.revision) == DATASETS[name]
    assert model.licence
    assert dataset.licence


@pytest.mark.parametrize("name", TRAINING)
def test_arguments_are_the_seeds(study, name):
    experiment = study.experiments[name]
    assert {key: getattr(experiment.training, key) for key in TRAINING[name]} == TRAINING[name]
    assert experiment.methods == ("int8-lora",)
    adapter = experiment.adapter
    assert (adapter.r, adapter.lora_alpha, adapter.lora_dropout, adapter.target_modules) == ADAPTERS[name]
    assert experiment.prompts


@pytest.mark.parametrize("name", LOSSES)
def test_published_losses_are_the_seeds(study, name):
    published = study.experiments[name].published
    assert [(line.epoch, line.training_loss, line.validation_loss) for line in published.losses] == LOSSES[name]


def test_the_quotes_figure_is_called_unreliable(study):
    assert not study.experiments["quotes"].published.comparable
    assert "unreliable" in study.experiments["quotes"].published.why


def test_a_seq2seq_model_is_never_in_float16(study):
    for experiment in study.experiments.values():
        model = study.models[experiment.model]
        assert model.task != "seq2seq-lm" or (model.dtype == "bfloat16" and not experiment.training.fp16)


def test_mended_variants_stand_beside_the_faithful_ones_on_the_same_rows(study):
    mended = [name for name in study.experiments if name.endswith("-mended")]
    assert mended == ["chatbot-mended", "medical-mended", "quotes-mended"]
    for name in mended:
        ours, theirs = study.experiments[name], study.experiments[name.removesuffix("-mended")]
        assert (ours.model, ours.dataset, ours.published) == (theirs.model, theirs.dataset, theirs.published)
        assert ours.training.max_length == theirs.training.max_length  # the same tokens, so that losses compare
        assert ours.training != theirs.training
    assert study.experiments["medical-mended"].training.learning_rate < 1e-4


OF_OURS = ("title", "description", "note", "why", "comparable")  # words, not values
NAMES = ("dataset", "model")  # of entries that say it themselves, or that `published` has the source of
MARKED = re.compile(r"#.*\[(Fig|notebook|ours|hub|text to Fig|below Fig|Chapter)")


def untold(node: yaml.Node, lines: list[str], path: str, seen: set[int]) -> Iterator[str]:
    """Paths of values without a mark of their source, on their own line or on that of what they stand in. `seen`: nodes
    that were looked at; an alias is told where its anchor is."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            name = f"{path}.{key.value}"
            told = MARKED.search(lines[key.start_mark.line])
            if told or key.value in (*OF_OURS, *NAMES, "<<") or name.endswith("published.losses"):
                seen.add(id(value))
            else:
                yield from untold(value, lines, name, seen)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield from untold(value, lines, f"{path}.{number}", seen)
    elif not MARKED.search(lines[node.start_mark.line]) and not path.endswith("published.source"):
        yield f"{path.lstrip('.')} (line {node.start_mark.line + 1})"


def test_each_value_says_where_it_is_from():
    text = FILE.read_text(encoding="utf-8")
    root = yaml.compose(text)
    sections = [(key.value, value) for key, value in root.value if isinstance(value, yaml.MappingNode)]
    assert [name for name, _ in sections] == ["models", "datasets", "experiments"]
    seen: set[int] = set()
    missing = [line for name, value in sections for line in untold(value, text.splitlines(), name, seen)]
    assert missing == []


def test_every_experiment_says_source_cost_licence_and_expectation():
    text = FILE.read_text(encoding="utf-8")
    for name in yaml.safe_load(text)["experiments"]:
        header = text[: text.index(f"\n  {name}:")].split("\n\n")[-1]
        assert all(word in header for word in ("Source:", "Cost:", "Licence:", "Expect:")), name


def test_what_it_names_is_fetched_and_prepared(study, tmp_path, monkeypatch):
    """From a hub that has the same ids, revisions, files and columns, and little in them."""
    specs = fetching_specs(study)
    with hub_server.serving() as hub:
        paper_hub.fill(hub, tmp_path / "hub")
        hub_server.point_client_at(hub, tmp_path / "cache", monkeypatch)
        for name, spec in specs["fetch-model"].items():
            fetch_model(spec, tmp_path / "models" / name)
            assert list((tmp_path / "models" / name).glob("*.safetensors"))
        for name, spec in specs["fetch-dataset"].items():
            fetch_dataset(spec, tmp_path / "datasets" / name)
            raw = pandas.read_parquet(tmp_path / "datasets" / name / "raw.parquet")
            frames, refusals, _ = prepare(specs["prepare"][name], raw)
            assert refusals == []
            assert sum(map(len, frames.values())) > paper_hub.ROWS * 0.9
            if name == "phrasebank":
                assert set(frames["train"]["completion"]) == {"negative", "neutral", "positive"}
        huggingface_hub.close_session()


def test_snakemake_plans_it(study):
    command = [sys.executable, "-m", "snakemake", "-n", "--cores", "1", "--resources", "gpu=1"]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        [*command, "--nolock", "--configfile", "config/paper.yaml"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    counts = dict(
        line.split() for line in done.stdout.splitlines() if len(line.split()) == 2 and line.split()[1].isdigit()
    )
    runs = runs_of(study)
    assert int(counts["train"]) == sum(run.trained for run in runs) == 7
    assert int(counts["evaluate"]) == int(counts["sample"]) == len(runs)
    assert int(counts["fetch_model"]) == 3
