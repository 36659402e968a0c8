"""Kinds of adapters, and weights trained without one: each trains what its formula says, starts where it should, changes the
model in a way of its own, and is published so that plain libraries load the same model."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from tests import architectures, methods_table, tiny
from tests.configs import valid_config
from tests.stages import prepared, run_stage, train_arguments, trained
from tests.test_lora_variants import kept_to_the_end
from tests.test_quantization import built
from tests.test_scoring import run_for
from tunebook import __main__ as command_line
from tunebook.configuration.adapters import ADAPTERS, PROMPTS, adapter_spec
from tunebook.configuration.study import runs_of
from tunebook.configuration.validation import ConfigError, validate
from tunebook.cost.memory import batch_of, estimate, setting_of
from tunebook.cost.program import play
from tunebook.cost.traces import program_of
from tunebook.data.splits import read_tokens
from tunebook.errors import TunebookError
from tunebook.fetch_model import fetch_model
from tunebook.finetuning.adapters import make_trainable
from tunebook.finetuning.batching import collator_for
from tunebook.finetuning.generation import answer
from tunebook.finetuning.heads import find_head
from tunebook.finetuning.models import load_finetuned, load_model, quiet_libraries, size_of
from tunebook.finetuning.names import IA3_TARGETS
from tunebook.finetuning.scoring import mean_over_tokens, score
from tunebook.finetuning.tokenizers import load_tokenizer
from tunebook.records import read_json

ARGUMENTS = {
    "lora": {"r": 4, "lora_dropout": 0},
    "ia3": {},
    "vera": {"r": 16},
    "randlora": {"r": 8},
    "oft": {"oft_block_size": 16},
    "ln_tuning": {},
    "prompt_tuning": {"num_virtual_tokens": 3},
    "prefix_tuning": {"num_virtual_tokens": 3},
    "p_tuning": {"num_virtual_tokens": 3, "encoder_hidden_size": 16},
}
LAYERS = 2 * ([(64, 64)] * 4 + [(128, 64)] * 2 + [(64, 128)])  # (out, in) of the tiny Llama's linear layers
TRAINED = {
    "lora": sum(4 * (out + width) for out, width in LAYERS),
    "ia3": 2 * (64 + 64 + 128),  # a factor for each key, value and input of the last feed-forward layer
    "vera": sum(16 + out for out, _ in LAYERS),
    "randlora": sum((8 + min(layer)) * (min(layer) // 8) for layer in LAYERS),
    "oft": sum(width // 16 * (16 * 15 // 2) for _, width in LAYERS),  # a skew-symmetric matrix a block
    "ln_tuning": (2 * 2 + 1) * 64,
    "prompt_tuning": 3 * 64,
    "prefix_tuning": 3 * 2 * 2 * 64,  # keys and values of two layers
    "p_tuning": 3 * 64 + (64 * 16 + 16) + (16 * 16 + 16) + (16 * 64 + 64),
}
IDS = torch.tensor([[4, 5, 6, 7, 8, 9, 10, 11]])
QUANTIZATIONS = [None, "int8", "nf4"]


def run_with(kind: str, quantization: str | None = None) -> dict:
    run = run_for("llama", quantization) | {"adapter": adapter_spec(kind, ARGUMENTS[kind]), "trains": None}
    return run | {"training": {"activation_checkpointing": False, "max_length": 32}}


def test_every_kind_is_tried_here():
    assert ARGUMENTS.keys() == TRAINED.keys() == ADAPTERS.keys()


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
@pytest.mark.parametrize("kind", ARGUMENTS)
def test_what_is_trained_and_where_it_starts(tmp_path, kind, quantization):
    """All but those that put something before the input start as the base's output."""
    folder = tiny.model(tmp_path, "llama")
    model = built(run_with(kind, quantization), folder).eval()
    assert size_of(model)["trainable_parameters"] == TRAINED[kind]
    with torch.no_grad():
        ours = model(input_ids=IDS).logits[:, -IDS.shape[1] :]
        theirs = load_model(run_for("llama", quantization), folder).eval()(input_ids=IDS).logits
    if kind in PROMPTS:
        assert (ours - theirs).abs().max() > 1e-2
    else:
        torch.testing.assert_close(ours, theirs, atol=2e-6, rtol=1e-5)


def methods(quantization: str | None = None) -> dict:
    own = {"quantization": quantization} if quantization else {}
    return {kind: {"adapter": kind, "arguments": arguments, **own} for kind, arguments in ARGUMENTS.items()}


@pytest.fixture(
    scope="module", params=[("llama", None), ("llama", "int8"), ("llama", "nf4"), ("t5", None), ("bert", None)], ids=str
)
def runs(request, tmp_path_factory):
    """Places of a study with all kinds, and training.json of each after two steps; one seed for all."""
    family, quantization = request.param
    folder = tmp_path_factory.mktemp("adapters")
    config = tiny.study(folder, family=family)
    config["methods"] = methods(quantization)
    if family == "bert":
        del config["methods"]["prefix_tuning"]  # BERT's encoder reads no keys and values of others
    experiment = config["experiments"]["words"]
    experiment["methods"] = list(config["methods"])
    experiment["training"] |= {"max_steps": 2, "evals_per_epoch": 1}
    places = prepared(config, folder)
    return places, {kind: trained(places, f"words/{kind}/seed-0")[0] for kind in config["methods"]}


def test_no_kind_is_another(runs):
    losses = [record["best_validation_loss"] for record in runs[1].values()]
    assert min(abs(one - other) for place, one in enumerate(losses) for other in losses[:place]) > 1e-6


def test_what_is_published_is_the_model_that_was_trained(runs):
    """Loaded by peft's own code, it has the validation loss that training recorded."""
    places, records = runs
    quiet_libraries()
    for kind, record in records.items():
        place = places["results"] / f"runs/words/{kind}/seed-0"
        run = read_json(place / "run.json")
        model = load_finetuned(run, places["model"], place / "adapter")
        collate = collator_for(run["task"], load_tokenizer(places["model"]), model)
        found = mean_over_tokens(score(model, read_tokens(places["tokens"], "validation"), collate, 16))
        assert found == pytest.approx(record["best_validation_loss"], abs=1e-5), kind


def test_every_kind_is_evaluated_and_answers(runs):
    places, records = runs
    for kind in records:
        place = places["results"] / f"runs/words/{kind}/seed-0"
        given = ["--run", place / "run.json", "--model", places["model"], "--tokens", places["tokens"]]
        given += ["--dataset", places["dataset"], "--output", place, "--adapter", place / "adapter"]
        for stage in ("evaluate", "sample"):
            run_stage(stage, *given)
        assert read_json(place / "evaluation.json")["loss"] > 0


@pytest.mark.parametrize("kind", PROMPTS)
@pytest.mark.parametrize("family", ["llama", "opt"])
def test_an_answer_does_not_depend_on_what_stands_beside_it(tmp_path, family, kind):
    """A shorter prompt is filled up in front, between it and the trained vectors."""
    tiny.model(tmp_path, family)
    tokenizer = tiny.tokenizer(tmp_path)
    model = built(run_with(kind), tmp_path).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    prompts = [[5, 6, 7, 8, 9, 10, 11, 12], [40], [30, 31, 32]]
    alone, together = (answer(model, prompts, tokenizer, max_new_tokens=6, batch_size=size) for size in (1, 3))
    assert together == alone


@pytest.mark.parametrize(
    ("family", "quantization", "kind"),
    [
        *(("llama", each, kind) for each in QUANTIZATIONS for kind in ARGUMENTS),
        *(
            ("gpt2", None, kind) for kind in ARGUMENTS if kind != "oft"
        ),  # peft has none for transposed layers, and says so
        *(("t5", None, kind) for kind in ARGUMENTS),
    ],
)
def test_every_kind_is_estimated(tmp_path, family, kind, quantization):
    """Parameters as they are; tensors that autograd keeps within 10 %, those of prompts at most a third too many."""
    architecture = architectures.read(tmp_path, family)
    run = architectures.run_of(family, max_length=24, max_target_length=7, per_device_train_batch_size=2)
    run |= {"adapter": adapter_spec(kind, ARGUMENTS[kind]), "quantization": quantization}
    model = built_of(run, architecture, tmp_path / family)
    found, size = estimate(run, architecture, gpu=False), size_of(model)
    assert (found.parameters, found.trainable_parameters) == (size["parameters"], size["trainable_parameters"])
    if run["task"] == "causal-lm":
        program = program_of(architecture, run["task"], encoder_decoder=False)
        setting = setting_of(run, architecture, gpu=False)
        on_paper = play(program, setting, batch_of(run, 2)).tape.activation_bytes
        ratio = on_paper / kept_to_the_end(model)
        assert 0.9 <= ratio <= (1.34 if kind in PROMPTS else 1.1), ratio


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        ("p_tuning", {"encoder_reparameterization_type": "LSTM", "encoder_hidden_size": 16}),
        ("prefix_tuning", {"prefix_projection": True}),
        ("oft", {"oft_block_size": 16, "block_share": True}),
    ],
)
def test_other_forms_of_a_kind_are_estimated(tmp_path, kind, arguments):
    architecture = architectures.read(tmp_path, "llama")
    run = architectures.run_of("llama", max_length=24) | {"adapter": adapter_spec(kind, arguments)}
    found, size = estimate(run, architecture, gpu=False), size_of(built_of(run, architecture, tmp_path / "llama"))
    assert (found.parameters, found.trainable_parameters) == (size["parameters"], size["trainable_parameters"])


def built_of(run, architecture, folder):
    source = {"type": "random", "architecture": str(architecture.origin), "seed": 0}
    spec = {"name": folder.name, "task": run["task"], "source": source, "licence": "none", "encoder_decoder": False}
    spec["encoder_decoder"] = run["model"]["encoder_decoder"]
    fetch_model(spec, folder)
    quiet_libraries()
    head = find_head(run, folder)
    return make_trainable(load_model(run, folder), run, whole=head.modules if head else ())


OWN = {"biases": {"train": "biases"}, "head": {"train": "head"}}


@pytest.mark.parametrize(
    ("family", "name"), [("opt", "biases"), ("falcon", "biases"), ("bert", "biases"), ("bert", "head")]
)
def test_weights_of_the_model_itself(tmp_path, family, name):
    """Published as a whole model: what is trained has changed, and nothing else."""
    config = tiny.study(tmp_path, family=family, methods=[name])
    config["methods"] = OWN
    if family == "falcon":
        give_falcon_biases(tmp_path / "model")
    places = prepared(config, tmp_path)
    record, _ = trained(places, f"words/{name}/seed-0")
    place = places["results"] / f"runs/words/{name}/seed-0"
    run = read_json(place / "run.json")
    before, after = load_model(run, places["model"]), load_finetuned(run, places["model"], place / "adapter")
    old = before.state_dict()
    changed = {key for key, tensor in after.state_dict().items() if not torch.equal(tensor, old[key])}
    head = {"classifier.weight", "classifier.bias"} if family == "bert" else set()
    biases = {key for key, _ in after.named_parameters() if key.endswith(".bias")}
    allowed = head | (biases if name == "biases" else set())
    assert changed
    assert changed <= allowed
    assert record["trainable_parameters"] == sum(dict(after.named_parameters())[key].numel() for key in allowed)
    given = ["--run", place / "run.json", "--model", places["model"], "--tokens", places["tokens"]]
    run_stage("evaluate", *given, "--dataset", places["dataset"], "--output", place, "--adapter", place / "adapter")
    assert read_json(place / "evaluation.json")["adapted_share"] == 0


def give_falcon_biases(folder):
    import transformers

    config = transformers.AutoConfig.from_pretrained(folder)
    config.bias = True
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)


@pytest.mark.parametrize(("name", "found"), [("biases", "no biases"), ("head", "table of input embeddings")])
def test_what_a_model_does_not_have_is_refused(tmp_path, capsys, name, found):
    config = tiny.study(tmp_path, methods=[name])
    config["methods"] = OWN
    places = prepared(config, tmp_path)
    assert command_line.main([str(part) for part in train_arguments(places, f"words/{name}/seed-0")]) == 2
    assert f"methods: found train: {name}, but " in (told := capsys.readouterr().err)
    assert found in told


@pytest.mark.parametrize(("family", "trains"), [("opt", "biases"), ("llama", "head"), ("t5", "head")])
def test_weights_of_the_model_itself_are_estimated(tmp_path, family, trains):
    architecture = architectures.read(tmp_path, family)
    run = architectures.run_of(family, "full", max_length=24, max_target_length=7, per_device_train_batch_size=2)
    run |= {"trains": trains}
    model = built_of(run, architecture, tmp_path / family)
    found, size = estimate(run, architecture, gpu=False), size_of(model)
    assert (found.parameters, found.trainable_parameters) == (size["parameters"], size["trainable_parameters"])


@pytest.mark.parametrize(("kind", "arguments", "reason"), [
    ("oft", {"oft_block_size": 48}, "adapter.oft_block_size: found 48, which does not divide the 64 inputs of "),
    ("ln_tuning", {"target_modules": ["q_prog"]}, "adapter.target_modules: found ['q_prog']; peft refuses"),
])  # fmt: skip
def test_what_does_not_fit_the_model_is_refused(tmp_path, kind, arguments, reason):
    folder = tiny.model(tmp_path, "llama")
    with pytest.raises(TunebookError, match=re.escape(reason)):
        built(run_with("lora") | {"adapter": adapter_spec(kind, arguments)}, folder)


def test_trained_vectors_need_positions(tmp_path):
    folder = tiny.model(tmp_path, "opt")
    run = run_with("prompt_tuning") | {"adapter": adapter_spec("prompt_tuning", {"num_virtual_tokens": 33})}
    with pytest.raises(
        TunebookError, match=r"found 33, which stand before at most 32 tokens .* the model has 64 positions"
    ):
        built(run, folder)


@pytest.mark.parametrize(
    ("method", "training", "reason"),
    [
        ({"adapter": "ia3", "arguments": {"r": 8}}, {}, "methods.lora.arguments.r: unknown key"),
        (
            {"adapter": "ia3", "arguments": {"target_modules": ["k_proj"]}},
            {},
            "target_modules or feedforward_modules alone",
        ),
        (
            {"adapter": "prefix_tuning"},
            {"activation_checkpointing": True},
            "prefix_tuning and activation_checkpointing",
        ),
        ({"adapter": "boft"}, {}, "methods.lora.adapter: found 'boft'"),
        ({"adapter": "lora", "train": "head"}, {}, "methods.lora.train: found 'head' beside an adapter"),
        ({"train": "biases", "quantization": "int8"}, {}, "found quantization 'int8' without an adapter"),
    ],
)
def test_what_cannot_be_is_refused_with_its_reason(method, training, reason):
    config = valid_config()
    config["methods"]["lora"] = method
    config["experiments"]["sentiment"]["overrides"].pop("lora")
    config["experiments"]["sentiment"]["training"] |= training
    with pytest.raises(ConfigError) as refused:
        validate(config)
    assert any(reason in problem for problem in refused.value.problems), refused.value.problems


def test_names_of_modules_hold_for_all_kinds_that_change_layers():
    config = valid_config()
    config["methods"] |= {"oft": {"adapter": "oft"}, "norms": {"adapter": "ln_tuning"}}
    config["experiments"]["answers"] |= {
        "methods": ["lora", "oft", "norms"],
        "adapter": {"target_modules": ["q_proj"], "r": 2},
    }
    specs = {run.method: run.spec["adapter"] for run in runs_of(validate(config)) if run.experiment == "answers"}
    assert specs["oft"]["target_modules"] == specs["lora"]["target_modules"] == ["q_proj"]
    assert "r" not in specs["oft"]
    assert specs["norms"]["target_modules"] is None


def test_ia3_lists_are_those_of_peft():
    from peft.utils import constants

    targets = constants.TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING
    inputs = constants.TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING
    assert all(each == (tuple(targets[kind]), tuple(inputs[kind])) for kind, each in IA3_TARGETS.items())


def test_the_table_of_methods_is_up_to_date():
    """Parameters and what is offered; changes of logits depend on the machine in their last digit."""
    told = (Path(__file__).parents[1] / "docs" / "methods.md").read_text(encoding="utf-8")
    made = methods_table.table()
    changes = re.compile(r"\| (?:[\d.e-]+) (?=\|)")
    assert changes.sub("| x ", told) == changes.sub("| x ", made), (
        "run: python -m tests.methods_table > docs/methods.md"
    )
