"""The estimate: its counts are those of real models, its refusals say what would fit, and it needs no torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests import architectures
from tests.configs import changed, valid_config
from tunebook import estimate as stage
from tunebook.configuration.validation import ConfigError, validate
from tunebook.cost.advice import advice
from tunebook.cost.architectures import SHIPPED, read_architecture, shipped
from tunebook.cost.machine import Machine, gpu_in
from tunebook.cost.memory import batch_of, estimate, setting_of
from tunebook.cost.program import play
from tunebook.cost.program_json import from_json, to_json
from tunebook.cost.tape import Setting
from tunebook.cost.traces import program_of, shapes_of, shipped_file
from tunebook.errors import TunebookError
from tunebook.fetch_model import fetch_model
from tunebook.finetuning.adapters import make_trainable
from tunebook.finetuning.batching import Collator
from tunebook.finetuning.models import load_model, optimizer_bytes, quiet_libraries, size_of
from tunebook.finetuning.output_head import output_head
from tunebook.finetuning.scoring import summed_loss
from tunebook.resolve import resolve

ROOT = Path(__file__).parents[1]
KEPT_ALONE = ("decoder",)  # of the assembled model, as the miniature study has it


SHORT = ("llama", "gpt2", "t5", "bert", "roberta")  # for `make test`; the others are slow
FAMILIES = [pytest.param(name, marks=[] if name in SHORT else pytest.mark.slow) for name in architectures.CONFIGS]


@pytest.fixture(scope="module")
def fetched(tmp_path_factory):
    """Family -> (its architecture, traced; folder of a model with random weights)."""
    folder, models = tmp_path_factory.mktemp("random"), {}

    def fetch(family):
        if family not in models:
            architecture = architectures.read(folder, family)
            source = {"type": "random", "architecture": str(architecture.origin), "seed": 0}
            spec = {"name": family, "task": architectures.task_of(family), "source": source, "licence": "none"}
            fetch_model({**spec, "encoder_decoder": family == "bert"}, folder / family)
            models[family] = (architecture, folder / family)
        return models[family]

    return fetch


def built(run, folder):
    quiet_libraries()
    return make_trainable(load_model(run, folder, dropout=run["training"]["dropout"]), run)


@pytest.mark.parametrize("method", ["full", "lora", "int8-lora", "qlora"])
@pytest.mark.parametrize("family", FAMILIES)
def test_sizes_are_those_of_the_model(fetched, family, method):
    architecture, folder = fetched(family)
    run = architectures.run_of(family, method, skip_modules=KEPT_ALONE if family == "bert" else ())
    model, found = built(run, folder), estimate(run, architecture, gpu=False)
    size = size_of(model)
    assert found.parameters == size["parameters"]
    assert found.trainable_parameters == size["trainable_parameters"]
    assert found.weight_bytes + found.adapter_bytes == pytest.approx(size["weight_bytes"], rel=0.02)  # buffers
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert found.gradient_bytes == sum(parameter.numel() * parameter.element_size() for parameter in trained)


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("family", ["llama", "bert"])
def test_sizes_of_a_classifier_are_those_of_the_model(tmp_path, family, method):
    run = architectures.run_of(family, method, labels=("a", "b", "c"))
    architecture = architectures.read(tmp_path, family, task=run["task"])
    source = {"type": "random", "architecture": str(architecture.origin), "seed": 0}
    spec = {"name": family, "task": run["task"], "source": source, "licence": "none", "encoder_decoder": False}
    fetch_model(spec, tmp_path / family)
    size, found = size_of(built(run, tmp_path / family)), estimate(run, architecture, gpu=False)
    assert found.parameters == size["parameters"]
    assert found.trainable_parameters == size["trainable_parameters"]


def kept_bytes(model, run) -> int:
    """Bytes that autograd keeps of a padded batch, weights aside."""
    model.config.use_cache = False
    model.train()
    held = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in held:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)  # alive, so that no address comes back
        return tensor

    training = run["training"]
    lengths = [training["max_length"] - row % 2 for row in range(training["per_device_train_batch_size"])]
    targets = [training["max_target_length"]] * len(lengths) if run["task"] == "seq2seq-lm" else lengths
    first = 0 if run["task"] == "sequence-classification" else 4
    targets = [1] * len(lengths) if first == 0 else targets
    rows = [
        {"input_ids": list(range(4, 4 + length)), "labels": list(range(first, first + target))}
        for length, target in zip(lengths, targets, strict=True)
    ]
    batch = Collator(task=run["task"], pad_id=0, decoder_start_id=0)(rows)
    if run["task"] == "causal-lm":
        output_head(model)  # it is tried once, which keeps nothing
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        summed_loss(model, batch, run["task"])
    return sum(size for size, _ in kept.values())


@pytest.mark.parametrize("method", ["full", "lora", "qlora"])  # an int8 layer keeps its input where no hook sees it
@pytest.mark.parametrize("family", FAMILIES)
def test_activations_are_those_that_autograd_keeps(fetched, family, method):
    architecture, folder = fetched(family)
    lengths = {"max_length": 24, "max_target_length": 7, "per_device_train_batch_size": 2}
    run = architectures.run_of(family, method, skip_modules=KEPT_ALONE if family == "bert" else (), **lengths)
    assert kept_on_paper(run, architecture) == pytest.approx(kept_bytes(built(run, folder), run), rel=0.02)


@pytest.mark.parametrize("family", ["llama", "falcon", "t5"])
def test_an_adapter_of_the_attention_alone_makes_every_later_layer_keep_its_tensors(fetched, family):
    """Falcon and T5 add in place: the gradient goes on through a tensor that had none before."""
    architecture, folder = fetched(family)
    run = architectures.run_of(family, "qlora", max_length=24, max_target_length=7, per_device_train_batch_size=2)
    run["adapter"] |= {"target_modules": [architectures.TARGETS[family]]}
    assert kept_on_paper(run, architecture) == pytest.approx(kept_bytes(built(run, folder), run), rel=0.02)


def kept_on_paper(run, architecture) -> int:
    program = program_of(architecture, run["task"], encoder_decoder=run["model"]["encoder_decoder"])
    trace = play(program, setting_of(run, architecture, gpu=False), batch_of(run, 2))
    return trace.tape.activation_bytes + 4 * trace.predictions * trace.vocabulary  # the loss keeps its log-softmax


@pytest.mark.parametrize("family", ["opt", "t5"])
def test_a_run_without_dropout_keeps_less(fetched, family):
    architecture, folder = fetched(family)
    lengths = {"max_length": 24, "max_target_length": 7, "per_device_train_batch_size": 2}
    run = architectures.run_of(family, dropout=0.0, **lengths)
    assert kept_on_paper(run, architecture) == pytest.approx(kept_bytes(built(run, folder), run), rel=0.02)
    assert kept_on_paper(run, architecture) < 0.95 * kept_on_paper(
        architectures.run_of(family, **lengths), architecture
    )


@pytest.mark.parametrize("optim", ["adamw_torch", "adamw_torch_fused", "sgd", "adafactor"])
def test_optimizer_bytes_are_those_of_its_state(fetched, optim):
    architecture, folder = fetched("llama")
    run = architectures.run_of("llama", "full", optim=optim)
    model = built(run, folder)
    from transformers.optimization import Adafactor

    parameters = list(model.parameters())
    optimizer = {
        "adamw_torch": lambda: torch.optim.AdamW(parameters),
        "adamw_torch_fused": lambda: torch.optim.AdamW(parameters, fused=True),
        "sgd": lambda: torch.optim.SGD(parameters, lr=0.1),
        "adafactor": lambda: Adafactor(parameters, scale_parameter=False, relative_step=False, lr=0.1),
    }[optim]()
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    found = estimate(run, architecture, gpu=False)
    assert found.optimizer_bytes == pytest.approx(optimizer_bytes(optimizer), rel=0.01, abs=1000)


SHIPPED_SHAPES = [(name, shape) for name in shipped() for shape in shapes_of(read_architecture(name))]


@pytest.mark.parametrize(("name", "shape"), SHIPPED_SHAPES)
def test_shipped_architectures_have_the_parameters_that_they_say(name, shape):
    told = json.loads((SHIPPED / f"{name}.json").read_text(encoding="utf-8"))
    setting = Setting(
        task=shape["task"], dtype="float32", quantization=None, adapter=None, trains=None, mixed=False, gpu=False
    )
    program = program_of(read_architecture(name), **shape)
    weights = play(program, setting, batch_of(architectures.run_of("llama"), 1)).tape.weights
    if not shape["encoder_decoder"]:  # which is made of two
        assert (
            sum(weight.elements for weight in weights if not weight.name.startswith("classifier")) == told["parameters"]
        )


@pytest.mark.parametrize(
    ("name", "shape"),
    [pytest.param(*one, marks=pytest.mark.slow if one[0] != "minilm-l6-v2" else []) for one in SHIPPED_SHAPES],
)
def test_shipped_traces_are_in_step_with_the_code(name, shape):
    from tunebook.cost.tracing import trace

    made = trace(read_architecture(name).config, **shape)
    assert from_json(to_json(made)) == made
    assert shipped_file(name, **shape).read_text().strip() == to_json(made), "python -m tunebook trace --shipped"


def test_a_model_that_cannot_be_traced_is_said_to_be_so():
    from tunebook.cost.tracing import trace

    with pytest.raises(TunebookError, match=r"models of type mixtral cannot be traced: .*; rehearse the run instead"):
        trace({"model_type": "mixtral", **architectures.GROUPED, "num_local_experts": 4}, "causal-lm")
    with pytest.raises(TunebookError, match="models of type bert have no head for seq2seq-lm"):
        trace(architectures.CONFIGS["bert"], "seq2seq-lm")


def test_checkpointing_and_smaller_batches_hold_less():
    architecture = read_architecture("smollm2-135m")
    peaks = [
        estimate(architectures.run_of("llama", **training), architecture, gpu=True).train_peak_bytes
        for training in (
            {},
            {"activation_checkpointing": True},
            {"per_device_train_batch_size": 4},
            {"max_length": 256},
        )
    ]
    assert max(peaks[1:]) < 0.75 * peaks[0]


# --- the stage


def resolved_study(folder: Path, name: str) -> Path:
    import yaml

    resolve(validate(yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text(encoding="utf-8"))), folder)
    return folder / "study.json"


def estimated(folder, name, monkeypatch, machine) -> int:
    from tunebook import __main__ as command_line

    monkeypatch.setattr(stage, "present_machine", lambda environment: machine)
    study = resolved_study(folder, name)
    arguments = ["estimate", "--study", study, "--models", folder / "models", "--output", folder / "estimate.csv"]
    return command_line.main([str(argument) for argument in arguments])


def test_the_miniature_study_is_estimated_from_its_config(tmp_path, monkeypatch, capsys):
    assert estimated(tmp_path, "config", monkeypatch, Machine("cpu", "CPU", 6 * 10**9, 5 * 10**9)) == 0
    told = capsys.readouterr().out
    assert "quotes/full " in told
    assert "download: 189 MB" in told
    assert "fits a GPU of 16 GB: all" in told
    assert told.endswith("every run fits this machine\n")
    assert len((tmp_path / "estimate.csv").read_text().splitlines()) == 1 + 2 * 8


def test_a_study_that_cannot_fit_is_refused_after_its_table(tmp_path, monkeypatch, capsys):
    assert estimated(tmp_path, "paper", monkeypatch, Machine("cpu", "CPU", 24 * 10**9, 20 * 10**9)) == 2
    told = capsys.readouterr()
    assert "medical/int8-lora " in told.out
    assert all(f"fits a GPU of {size} GB: " in told.out for size in (16, 24, 80))
    refused = told.err[told.err.index("- medical/int8-lora: needs ") :].split("\n  - ")[0]
    assert "this machine has 24.0 GB; any of these makes it fit:" in refused
    assert refused.count("\n    - ") in (2, 3)
    assert "per_device_train_batch_size: 2 with gradient_accumulation_steps: 4: " in refused
    assert (tmp_path / "estimate.csv").exists()


def test_advice_is_about_what_suffices():
    run, architecture = architectures.run_of("llama", "full"), read_architecture("smollm2-135m")
    needed = estimate(run, architecture, gpu=True)
    alone = advice(run, architecture, gpu=True, room=needed.needed_bytes - 1)
    assert alone[0].startswith("per_device_train_batch_size: 4 with gradient_accumulation_steps: 2: ")
    long = architectures.run_of("llama", "full", max_length=2048, per_device_train_batch_size=32)  # 120 GB
    together = advice(long, architecture, gpu=True, room=5 * 10**9)
    assert len(together) == 1
    assert " and " in together[0]
    assert "take a smaller model or a larger device" in advice(run, architecture, gpu=True, room=10**9)[0]


def test_a_model_of_unknown_shape_is_a_line_that_says_how_to_mend_it(tmp_path):
    study = valid_config()
    resolve(validate(study), tmp_path)
    lines = {line.run["run"]: line for line in stage.lines_of(tmp_path / "study.json", tmp_path / "models")}
    assert "models.writer.architecture" in lines["answers/int8-lora/seed-0"].problem
    assert "not known: model writer" in stage.table(list(lines.values()))
    (tmp_path / "models" / "writer").mkdir(parents=True)
    config = tmp_path / "models" / "writer" / "config.json"
    config.write_text(json.dumps({"model_type": "nothing-known"}))
    lines = stage.lines_of(tmp_path / "study.json", tmp_path / "models")
    assert any("models of type nothing-known are not known to transformers" in line.problem for line in lines)
    config.write_text(json.dumps(architectures.CONFIGS["llama"]))
    lines = stage.lines_of(tmp_path / "study.json", tmp_path / "models")
    assert next(line for line in lines if line.run["model"]["name"] == "writer").cpu.peak_bytes > 0


def test_what_is_not_known_is_said_to_be_so(tmp_path, monkeypatch, capsys):
    """A wheel without `architecture`, alone and beside a model whose size is known."""
    from tunebook import __main__ as command_line

    monkeypatch.setattr(stage, "present_machine", lambda environment: Machine("cpu", "CPU", 16 * 10**9, 15 * 10**9))

    def told(config) -> list[str]:
        resolve(validate(config), tmp_path)
        places = {"study": tmp_path / "study.json", "models": tmp_path / "models", "output": tmp_path / "estimate.csv"}
        arguments = [part for name, place in places.items() for part in (f"--{name}", str(place))]
        assert command_line.main(["estimate", *arguments]) == 0
        return capsys.readouterr().out.splitlines()

    config = valid_config()
    config["experiments"] = {"judging": config["experiments"]["judging"]}
    lines = told(config)
    assert "download: not known for judge (models.judge.download_bytes can say it); data sets come on top" in lines
    assert "fits a GPU of 24 GB: not known: judging/full" in lines
    assert lines[-1] == "whether these fit is not known: judging/full"
    config["models"]["judge"]["download_bytes"] = 91_000_000
    assert "download: 91 MB (judge 91 MB); data sets come on top" in told(config)
    config["experiments"]["answers"] = valid_config()["experiments"]["answers"]
    config["models"]["writer"]["architecture"] = "smollm2-135m"
    lines = told(config)
    assert "fits a GPU of 24 GB: answers/int8-lora; not known: judging/full" in lines
    assert lines[-1] == "every run whose size is known fits this machine; whether these fit is not known: judging/full"


def test_an_unknown_architecture_is_refused_with_the_nearest():
    for path, value in (
        ("models.writer.architecture", "opt-6.7"),
        ("models.writer.source", {"type": "random", "architecture": "opt-6.7"}),
    ):
        with pytest.raises(ConfigError, match=r"architecture: found 'opt-6.7'; allowed: .*did you mean opt-6.7b"):
            validate(changed(path, value))
    validate(changed("models.writer.architecture", "mine.json"))
    with pytest.raises(TunebookError, match="no such file"):
        read_architecture("mine.json")


def test_the_estimate_does_not_wait_for_torch():
    code = "import sys, tunebook.estimate; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_smallest_gpu_counts():
    listing = "NVIDIA A100-SXM4-80GB, 81920, 80000\nTesla T4, 15360, 15000\n"
    assert gpu_in(listing) == Machine("gpu", "Tesla T4", 15360 << 20, 15000 << 20)
    assert gpu_in("no devices were found\n") is None
