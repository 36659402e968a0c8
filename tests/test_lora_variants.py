"""Variants of LoRA: each trains what its formula says, starts where it should, and is not plain LoRA after a step."""

from __future__ import annotations

import json
import re
import weakref
from pathlib import Path

import pytest
import safetensors.torch
import torch
import yaml

from tests import architectures, tiny
from tests.configs import valid_config
from tests.stages import prepared, train_arguments, trained
from tests.test_quantization import adapted_run, built
from tunebook import __main__ as command_line
from tunebook.configuration.study import runs_of
from tunebook.configuration.validation import ConfigError, validate
from tunebook.cost.advice import _changes
from tunebook.cost.memory import batch_of, estimate, setting_of
from tunebook.cost.program import play
from tunebook.cost.traces import program_of
from tunebook.data.splits import read_tokens
from tunebook.fetch_model import fetch_model
from tunebook.finetuning.adapters import make_trainable
from tunebook.finetuning.batching import Collator, collator_for
from tunebook.finetuning.models import load_finetuned, load_model, quiet_libraries, size_of
from tunebook.finetuning.output_head import output_head
from tunebook.finetuning.plain_lora import rewrites_base
from tunebook.finetuning.scoring import mean_over_tokens, score, summed_loss
from tunebook.finetuning.tokenizers import load_tokenizer
from tunebook.finetuning.trainer import Keeper
from tunebook.records import read_json

VARIANTS = {
    "lora": {},
    "dora": {"use_dora": True},
    "rslora": {"use_rslora": True},
    "loraplus": {"loraplus_lr_ratio": 16},
    "pissa": {"init_lora_weights": "pissa"},
    "olora": {"init_lora_weights": "olora"},
    "pissa-rslora": {"init_lora_weights": "pissa", "use_rslora": True},
}
LAYER = (
    [(64, 64)] * 4 + [(128, 64)] * 2 + [(64, 128)]
)  # (out, in) of the linear layers of each of two of the tiny Llama's
RANK = 4
ALLOWED = [(variant, None) for variant in VARIANTS]
ALLOWED += [(variant, "int8") for variant in ("lora", "rslora", "loraplus")]
ALLOWED += [(variant, "nf4") for variant in ("lora", "rslora", "loraplus", "dora")]
IDS = torch.tensor([[4, 5, 6, 7, 8, 9, 10, 11]])


@pytest.mark.parametrize(("variant", "quantization"), ALLOWED)
def test_what_is_trained_and_where_it_starts(tmp_path, variant, quantization):
    """r (in + out) a layer, DoRA a length a row besides. Before the first step the output is the base's: B is zero, or, with
    PiSSA and OLoRA, A and B hold what was taken out of the weight."""
    arguments = VARIANTS[variant]
    folder = tiny.model(tmp_path, "llama")
    model = built(adapted_run(quantization, r=RANK, lora_dropout=0, **arguments), folder).eval()
    formula = 2 * sum(RANK * (out + width) + (out if variant == "dora" else 0) for out, width in LAYER)
    assert size_of(model)["trainable_parameters"] == formula
    with torch.no_grad():
        ours = model(input_ids=IDS).logits
        theirs = load_model(adapted_run(quantization), folder).eval()(input_ids=IDS).logits
    torch.testing.assert_close(ours, theirs, atol=2e-6, rtol=1e-5)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Places of a study with all variants, and training.json of each; without dropout, and with the same seed."""
    folder = tmp_path_factory.mktemp("variants")
    config = tiny.study(folder, methods=list(VARIANTS), adapter={"r": RANK, "lora_dropout": 0})
    config["experiments"]["words"]["training"] |= {"max_steps": 1, "evals_per_epoch": 1}
    config["methods"] = {name: {"adapter": "lora", "arguments": arguments} for name, arguments in VARIANTS.items()}
    places = prepared(config, folder)
    return places, {name: trained(places, f"words/{name}/seed-0")[0] for name in VARIANTS}


def test_after_a_step_no_variant_is_another(runs):
    losses = [record["best_validation_loss"] for record in runs[1].values()]
    assert min(abs(one - other) for place, one in enumerate(losses) for other in losses[:place]) > 1e-5


@pytest.mark.parametrize("variant", VARIANTS)
def test_plain_peft_loads_what_is_published(runs, variant):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    quiet_libraries()
    places, records = runs
    place = places["results"] / f"runs/words/{variant}/seed-0"
    run = read_json(place / "run.json")
    base = AutoModelForCausalLM.from_pretrained(places["model"], dtype=torch.float32)
    theirs = PeftModel.from_pretrained(base, place / "adapter").eval()
    ours = load_finetuned(run, places["model"], place / "adapter")
    with torch.no_grad():
        torch.testing.assert_close(theirs(input_ids=IDS).logits, ours(input_ids=IDS).logits, atol=1e-6, rtol=0)
    collate = collator_for(run["task"], load_tokenizer(places["model"]), theirs)
    rows = read_tokens(places["tokens"], "validation")
    assert mean_over_tokens(score(theirs, rows, collate, 4)) == pytest.approx(
        records[variant]["best_validation_loss"], abs=2e-6
    )
    config = json.loads((place / "adapter" / "adapter_config.json").read_text())
    assert config["init_lora_weights"] is True
    assert config["r"] == (2 * RANK if rewrites_base(run) else RANK)


def test_loraplus_has_the_groups_of_peft(tmp_path):
    """The first step of AdamW moves each weight by its rate: B by sixteen times as much as without LoRA+, A not at all."""
    moved = {}
    for name in ("lora", "loraplus"):
        folder = tmp_path / name
        folder.mkdir()
        config = tiny.study(folder, adapter={"r": RANK, "lora_dropout": 0, **VARIANTS[name]})
        training = config["experiments"]["words"]["training"]
        training |= {"max_steps": 1, "evals_per_epoch": 1, "learning_rate": 1e-3}
        places = prepared(config, folder)
        trained(places, "words/lora/seed-0")
        weights = safetensors.torch.load_file(
            places["results"] / "runs/words/lora/seed-0/adapter/adapter_model.safetensors"
        )
        moved[name] = {side: [t for key, t in weights.items() if f"lora_{side}" in key] for side in "AB"}
    for ours, theirs in zip(moved["loraplus"]["B"], moved["lora"]["B"], strict=True):
        torch.testing.assert_close(ours, 16 * theirs, rtol=1e-3, atol=1e-7)
    assert all(torch.equal(a, b) for a, b in zip(moved["loraplus"]["A"], moved["lora"]["A"], strict=True))


@pytest.mark.parametrize("variant", ["loraplus", "pissa"])
def test_a_run_that_goes_on_ends_as_if_it_had_not_stopped(tmp_path, variant, monkeypatch):
    ends, found = Keeper.on_step_end, []

    def stop_after_three(self, args, state, control, **options):
        if state.global_step == 3:
            self.told_to_stop_by = "the test"
        return ends(self, args, state, control, **options)

    for stopped in (False, True):
        folder = tmp_path / str(stopped)
        folder.mkdir()
        places = prepared(tiny.study(folder, adapter={"r": RANK, **VARIANTS[variant]}), folder)
        if stopped:
            with monkeypatch.context() as patch:
                patch.setattr(Keeper, "on_step_end", stop_after_three)
                with pytest.raises(SystemExit):
                    command_line.main([str(part) for part in train_arguments(places, "words/lora/seed-0")])
            assert list((places["results"] / "checkpoints").glob("*/checkpoint-*"))
        trained(places, "words/lora/seed-0")
        file = places["results"] / "runs/words/lora/seed-0/adapter/adapter_model.safetensors"
        found.append(safetensors.torch.load_file(file))
    assert found[0].keys() == found[1].keys()
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


@pytest.mark.parametrize("dropout", [0.0, 0.05])
@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_dora_is_estimated(tmp_path, method, dropout):
    architecture = architectures.read(tmp_path, "llama")
    source = {"type": "random", "architecture": str(architecture.origin), "seed": 0}
    spec = {"name": "llama", "task": "causal-lm", "source": source, "licence": "none", "encoder_decoder": False}
    fetch_model(spec, tmp_path / "llama")
    lengths = {"max_length": 24, "max_target_length": 7, "per_device_train_batch_size": 2}
    run = architectures.run_of("llama", method, **lengths)
    run["adapter"] |= {"use_dora": True, "lora_dropout": dropout}
    quiet_libraries()
    model = make_trainable(load_model(run, tmp_path / "llama"), run)
    found, size = estimate(run, architecture, gpu=False), size_of(model)
    assert (found.parameters, found.trainable_parameters) == (size["parameters"], size["trainable_parameters"])
    program = program_of(architecture, run["task"], encoder_decoder=False)
    on_paper = play(program, setting_of(run, architecture, gpu=False), batch_of(run, 2)).tape.activation_bytes
    assert on_paper == pytest.approx(kept_to_the_end(model), rel=0.05)


@pytest.mark.parametrize(
    ("variant", "proposed"), [("lora", ["int8", "nf4"]), ("dora", ["nf4"]), ("pissa", []), ("olora", [])]
)
def test_advice_proposes_no_quantization_that_the_config_refuses(variant, proposed):
    run = architectures.run_of("llama", "lora")
    run["adapter"] |= VARIANTS[variant]
    words = [words for words, _ in _changes(run)]
    assert [word.split()[-1] for word in words if "quantization" in word] == proposed


class Saved:
    """A tensor in the hands of the graph: gone when the graph lets go of it, as DoRA's product of both matrices is."""

    def __init__(self, tensor):
        self.tensor = tensor


def held_by_nodes(node) -> list[torch.Tensor]:
    """Tensors that bitsandbytes' int8 product keeps as an attribute of the graph's node, beside those that autograd knows."""
    found, seen, nodes = [], set(), [node]
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        found += [
            tensor
            for tensor in (*(getattr(node, "tensors", None) or ()), getattr(node, "A", None))
            if tensor is not None
        ]
        nodes += [following for following, _ in node.next_functions]
    return found


def kept_to_the_end(model) -> int:
    """Bytes that autograd keeps of two rows of 24 and 23 tokens at the end of the forward pass, weights aside."""
    model.config.use_cache = False
    held = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    rows = [{"input_ids": list(range(4, 28 - less)), "labels": list(range(4, 28 - less))} for less in (0, 1)]
    batch = Collator(task="causal-lm", pad_id=0, decoder_start_id=0)(rows)
    output_head(model.train())  # it is tried once, which keeps nothing
    kept = weakref.WeakSet()

    def keep(tensor):
        saved = Saved(tensor)
        kept.add(saved)
        return saved

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda saved: saved.tensor):
        loss = summed_loss(model, batch, "causal-lm")
    storages = {saved.tensor.untyped_storage().data_ptr(): saved.tensor.untyped_storage() for saved in kept}
    assert loss.requires_grad  # its graph is alive
    storages |= {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage() for tensor in held_by_nodes(loss.grad_fn)
    }
    return sum(storage.nbytes() for address, storage in storages.items() if address not in held)


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ({"quantization": "int8", "arguments": {"use_dora": True}}, "use_dora on int8 weights"),
        ({"quantization": "nf4", "arguments": {"init_lora_weights": "pissa"}}, "pissa on nf4 weights"),
        ({"arguments": {"init_lora_weights": "olora", "use_dora": True}}, "olora and use_dora"),
        ({"arguments": {"use_dora": True, "target_parameters": ["experts.up"]}}, "use_dora and target_parameters"),
        ({"adapter": None, "arguments": {"r": 4}}, "methods.lora.arguments: found for a method without an adapter"),
        ({"arguments": {"use_dorra": True}}, "methods.lora.arguments.use_dorra: unknown key"),
        ({"arguments": {"loraplus_lr_ratio": 0.5}}, "methods.lora.arguments.loraplus_lr_ratio: found 0.5"),
    ],
)
def test_what_cannot_be_is_refused_with_its_reason(method, reason):
    config = valid_config()
    config["methods"]["lora"] = {"adapter": "lora", **method}
    if method.get("adapter", "lora") is None:
        config["experiments"]["sentiment"].get("overrides", {}).pop("lora", None)
    with pytest.raises(ConfigError) as refused:
        validate(config)
    assert any(reason in problem for problem in refused.value.problems), refused.value.problems


def test_the_methods_of_the_readme_are_valid():
    text = (Path(__file__).parents[1] / "config" / "README.md").read_text(encoding="utf-8")
    methods = yaml.safe_load(re.search(r"^```\n(methods:\n.*?)^```", text, re.MULTILINE | re.DOTALL)[1])["methods"]
    config = valid_config()
    config["methods"] |= methods
    config["experiments"]["answers"]["methods"] = list(methods)
    specs = {run.method: run.spec["adapter"] for run in runs_of(validate(config)) if run.experiment == "answers"}
    assert specs["dora"]["use_dora"]
    assert specs["pissa"]["init_lora_weights"] == "pissa"
    assert specs["loraplus"] == specs["lora"] | {"loraplus_lr_ratio": 16}


def test_overrides_go_before_a_methods_arguments_and_those_before_the_experiments():
    config = valid_config()
    config["methods"]["lora"]["arguments"] = {"r": 8, "lora_alpha": 9}
    config["experiments"]["sentiment"] |= {"adapter": {"r": 5, "lora_alpha": 5, "lora_dropout": 0.5}}
    spec = next(run.spec for run in runs_of(validate(config)) if run.name == "sentiment/lora/seed-0")
    assert (spec["adapter"]["r"], spec["adapter"]["lora_alpha"], spec["adapter"]["lora_dropout"]) == (4, 9, 0.5)


def test_a_rank_above_that_of_a_weight_is_refused(tmp_path, capsys):
    places = prepared(tiny.study(tmp_path, adapter={"r": 100, **VARIANTS["pissa"]}), tmp_path)
    assert command_line.main([str(part) for part in train_arguments(places, "words/lora/seed-0")]) == 2
    assert "adapter.r: found 100, but " in capsys.readouterr().err
