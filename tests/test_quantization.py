"""Quantized means quantized, by the bytes of matrix weights; adapted likewise; what is spared is spared by one rule."""

from __future__ import annotations

import dataclasses
from contextlib import nullcontext

import bitsandbytes
import pytest
import torch
import transformers as t
from bitsandbytes.autograd._functions import MatMul8bitLt

from tests import tiny
from tests.test_scoring import run_for
from tunebook.configuration.adapters import adapter_spec
from tunebook.errors import TunebookError
from tunebook.finetuning.adapters import make_trainable
from tunebook.finetuning.matrices import matrices, shares
from tunebook.finetuning.models import load_finetuned, load_model, quiet_libraries, size_of
from tunebook.finetuning.names import is_spared
from tunebook.finetuning.quantization import assert_quantized

SHAPE = {"vocab_size": 130, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "pad_token_id": 1}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64, "intermediate_size": 64}
MIXTURES = {
    "mixtral": lambda: t.MixtralConfig(**SHAPE, num_key_value_heads=2, intermediate_size=64, num_local_experts=4),
    "qwen2_moe": lambda: t.Qwen2MoeConfig(
        **SHAPE, **EXPERTS, num_key_value_heads=2, shared_expert_intermediate_size=64, decoder_sparse_step=1
    ),
    "qwen3_moe": lambda: t.Qwen3MoeConfig(**SHAPE, **EXPERTS, num_key_value_heads=2, head_dim=32),
    "gpt_oss": lambda: t.GptOssConfig(
        **SHAPE, num_key_value_heads=2, head_dim=32, intermediate_size=64, num_local_experts=4, num_experts_per_tok=2
    ),
    "olmoe": lambda: t.OlmoeConfig(**SHAPE, intermediate_size=64, num_experts=4, num_experts_per_tok=2),
}


def mixture(folder, name):
    torch.manual_seed(0)
    t.AutoModelForCausalLM.from_config(MIXTURES[name]()).save_pretrained(folder)
    return folder


def adapted_run(quantization=None, skip_modules=(), **adapter):
    run = run_for("llama", quantization) | {"adapter": adapter_spec("lora", adapter)}
    run["model"] = {**run["model"], "skip_modules": list(skip_modules)}
    return run | {"training": {"activation_checkpointing": False}}


def built(run, folder):
    quiet_libraries()
    return make_trainable(load_model(run, folder), run)


@pytest.mark.parametrize("name", MIXTURES)
def test_experts_that_stay_in_full_precision_are_refused_unless_they_are_spared(tmp_path, name):
    folder = mixture(tmp_path, name)
    with pytest.raises(
        TunebookError, match=r"asked for int8, but \d\d% of the matrix weights stay .*experts.gate_up_proj"
    ):
        load_model(adapted_run("int8"), folder)
    model = load_model(adapted_run("int8", skip_modules=["experts"]), folder)
    experts = sum(matrix.elements for matrix in matrices(model) if matrix.module.endswith("experts"))
    assert experts == 2 * 4 * 3 * 64 * 64  # layers, experts, two matrices for gate and up and one for down
    whole = sum(matrix.elements for matrix in matrices(model))
    assert 0 < size_of(model)["quantized_share"] < 1 - experts / whole + 1e-9


@pytest.mark.parametrize("name", MIXTURES)
def test_experts_that_all_linear_does_not_reach_are_refused_with_the_way_out(tmp_path, name):
    folder = mixture(tmp_path, name)
    with pytest.raises(TunebookError) as refused:
        built(adapted_run(), folder)
    message = str(refused.value)
    if name in ("mixtral", "qwen3_moe", "olmoe"):  # peft 0.21 finds their experts, and refuses dropout
        assert message.startswith("adapter.lora_dropout: found 0.05; the experts of this")
        way_out = adapted_run(lora_dropout=0)
    else:
        assert "all-linear reaches" in message
        assert "experts.gate_up_proj, experts.down_proj" in message
        way_out = adapted_run(lora_dropout=0, target_parameters=["experts.gate_up_proj", "experts.down_proj"])
    model = built(way_out, folder)
    assert shares(model, trained_whole=False)["adapted_share"] > 0.95


@pytest.mark.parametrize("name", ["mixtral", "gpt_oss"])
def test_an_adapter_of_experts_is_what_evaluation_loads(tmp_path, name):
    folder = mixture(tmp_path / "model", name)
    run = adapted_run(lora_dropout=0, target_parameters=["experts.gate_up_proj", "experts.down_proj"])
    model = built(run, folder)
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(tmp_path / "adapter")
    ids = torch.tensor([[4, 5, 6, 7]])
    loaded = load_finetuned(run, folder, tmp_path / "adapter")
    with torch.no_grad():
        torch.testing.assert_close(loaded(input_ids=ids).logits, model.eval()(input_ids=ids).logits)
    assert shares(loaded, trained_whole=False) == shares(model, trained_whole=False)


def test_layers_that_are_listed_are_adapted_alone(tmp_path):
    run = adapted_run(target_modules=["q_proj", "v_proj"])
    model = built(run, mixture(tmp_path, "mixtral"))
    assert 0 < size_of(model)["adapted_share"] < 0.2


def test_shares_are_of_the_bytes_of_matrix_weights(tmp_path):
    """A layer of the tiny Llama: four matrices of attention of 64 x 64, three of its MLP of 64 x 128."""
    folder, layer = tiny.model(tmp_path, "llama"), 4 * 64 * 64 + 3 * 64 * 128
    run = adapted_run("nf4", skip_modules=["up_proj"], target_modules=["q_proj"])
    size = size_of(built(run, folder))
    assert size["quantized_share"] == pytest.approx(1 - 64 * 128 / layer)
    assert size["adapted_share"] == pytest.approx(64 * 64 / layer)
    assert size_of(load_model(run_for("llama"), folder))["adapted_share"] == 1.0  # every weight is trainable


PATHS = ["lm_head", "decoder.embed", "model.decoder.fc1", "model.layers.1.mlp.up_proj", "model.layers.11.mlp.up_proj",
         "pre_classifier", "classifier", "classifier.dense", "two", "encoder.block.0.layer.1.DenseReluDense.wo"]  # fmt: skip
SKIPPED = ["decoder", "lm_head", "classifier", "model.layers.1", "mlp.up_proj", "fc1", "wo", "proj", "layers", "up"]


def test_the_rule_of_skip_modules_is_that_of_transformers():
    from transformers.quantizers.quantizers_utils import should_convert_module

    for path in PATHS:
        for name in SKIPPED:
            assert is_spared(path, [name]) == (not should_convert_module(path, [name])), (path, name)
    assert not is_spared("model.layers.0.mlp.up_proj", ["mlp", "layers"])  # neither start nor end


@pytest.mark.parametrize("quantization", ["int8", "nf4"])
@pytest.mark.parametrize("tied", [True, False])
def test_a_name_to_skip_does_not_let_the_output_layer_be_quantized(tmp_path, quantization, tied):
    config = t.LlamaConfig(**SHAPE, intermediate_size=128, tie_word_embeddings=tied)
    t.LlamaForCausalLM(config).save_pretrained(tmp_path)
    model = load_model(adapted_run(quantization, skip_modules=["up_proj"]), tmp_path)
    assert type(model.lm_head) is torch.nn.Linear
    assert type(model.model.layers[0].mlp.up_proj) is torch.nn.Linear
    assert size_of(model)["quantized_layers"] == 2 * 6
    assert {"lm_head", "up_proj"} <= set(size_of(model)["unquantized_modules"])


@pytest.mark.parametrize("name", ["mlp", "layers", "up_porj"])
def test_a_name_to_skip_that_spares_nothing_is_refused(tmp_path, name):
    tiny.model(tmp_path, "llama")
    with pytest.raises(TunebookError, match=rf"skip_modules: found {name}, .*its end: .*up_proj"):
        load_model(adapted_run("int8", skip_modules=[name]), tmp_path)


def test_plain_transformers_quantizes_what_was_quantized(tmp_path):
    """With the names of the record, which the model card shows."""
    tiny.model(tmp_path, "t5")
    run = run_for("t5", "int8")
    run["model"]["skip_modules"] = ["decoder"]
    ours = load_model(run, tmp_path)
    spared = size_of(ours)["unquantized_modules"]
    plain = t.AutoModelForSeq2SeqLM.from_pretrained(
        tmp_path, quantization_config=t.BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=spared)
    )
    assert [dataclasses.astuple(each) for each in matrices(plain)] == [
        dataclasses.astuple(each) for each in matrices(ours)
    ]


NEW_LAYERS = {
    "deberta-v2": lambda: t.DebertaV2Config(**SHAPE, intermediate_size=128, max_position_embeddings=64),
    "deberta": lambda: t.DebertaConfig(**SHAPE, intermediate_size=128, max_position_embeddings=64),
    "xlnet": lambda: t.XLNetConfig(vocab_size=130, d_model=64, n_layer=2, n_head=2, d_inner=256, pad_token_id=1),
    "distilbert": lambda: t.DistilBertConfig(vocab_size=130, dim=64, n_layers=2, n_heads=2, hidden_dim=128),
    "roberta": lambda: t.RobertaConfig(**SHAPE, intermediate_size=128, max_position_embeddings=66),
}


@pytest.mark.parametrize("quantization", ["int8", "nf4"])
@pytest.mark.parametrize("name", NEW_LAYERS)
def test_new_layers_stay_unquantized_and_are_counted(tmp_path, name, quantization):
    t.AutoModel.from_config(NEW_LAYERS[name]()).save_pretrained(tmp_path)
    task = {"task": "sequence-classification", "dataset": {"labels": ["a", "b", "c"]}}
    run = adapted_run(quantization, modules_to_save=["pooler"]) | task
    model = load_model(run, tmp_path)
    new = [m for m in matrices(model) if m.module.split(".")[0] != model.base_model_prefix]
    assert new
    assert not any(matrix.quantized for matrix in new)
    size = size_of(model)
    assert {matrix.module for matrix in new} <= {
        matrix.module for matrix in new if is_spared(matrix.module, size["unquantized_modules"])
    }
    whole = sum(matrix.elements for matrix in matrices(model))
    assert size["quantized_share"] <= 1 - sum(matrix.elements for matrix in new) / whole
    ids = torch.tensor([[4, 5, 6, 7]])
    loss = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=torch.tensor([1])).loss
    assert torch.isfinite(loss)


@pytest.mark.parametrize("quantization", ["int8", "nf4"])
@pytest.mark.parametrize("family", ["llama", "falcon", "opt", "t5"])
def test_every_layer_that_can_be_is_quantized(tmp_path, family, quantization):
    tiny.model(tmp_path, family)
    model = load_model(run_for(family, quantization), tmp_path)
    sizes, whole = size_of(model), size_of(load_model(run_for(family), tmp_path))
    assert sizes["quantized_layers"] >= 8
    assert whole["quantized_layers"] == 0
    assert sizes["weight_bytes"] < whole["weight_bytes"]


def test_a_layer_left_in_full_precision_is_an_error(tmp_path):
    tiny.model(tmp_path, "llama")
    model = load_model(run_for("llama", "int8"), tmp_path)
    model.model.layers[0].mlp.up_proj = torch.nn.Linear(64, 128)
    with pytest.raises(TunebookError, match=r"asked for int8.*up_proj"):
        assert_quantized(model, "int8")


def test_a_model_that_was_not_quantized_at_all_is_an_error(tmp_path):
    tiny.model(tmp_path, "llama")
    with pytest.raises(TunebookError, match="found 0 of"):
        assert_quantized(load_model(run_for("llama"), tmp_path), "nf4")


def test_falcon_needs_the_cure_still(tmp_path, monkeypatch):
    """Fails once transformers quantizes subclasses of nn.Linear: then let_falcon_be_quantized may go."""
    from transformers.models.falcon import modeling_falcon

    class FalconLinear(torch.nn.Linear):
        def forward(self, hidden_states):
            return super().forward(hidden_states)

    tiny.model(tmp_path, "falcon")
    monkeypatch.setattr(modeling_falcon, "FalconLinear", FalconLinear)
    monkeypatch.setattr("tunebook.finetuning.models.let_falcon_be_quantized", lambda: None)
    with pytest.raises(TunebookError, match="asked for int8, found 0 of"):
        load_model(run_for("falcon", "int8"), tmp_path)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
@pytest.mark.parametrize("cured", [True, False])
def test_falcon_trains_on_what_int8_layers_give_on_a_gpu(tmp_path, monkeypatch, cured):
    """The product that bitsandbytes takes on a GPU, here on a CPU. Without the cure: fails once bitsandbytes returns no view,
    then own_int8_outputs may go."""

    def as_on_a_gpu(states, weight, out=None, state=None, threshold=0.0, bias=None):
        return MatMul8bitLt.apply(states, weight, out, bias, state)

    monkeypatch.setattr(bitsandbytes, "matmul", as_on_a_gpu)
    if not cured:
        monkeypatch.setattr("tunebook.finetuning.models.own_int8_outputs", lambda model: None)
    tiny.model(tmp_path, "falcon")
    model = built(adapted_run("int8", target_modules=["query_key_value"]) | {"task": "causal-lm"}, tmp_path).train()
    ids = torch.tensor([[4, 5, 6, 7]])
    with nullcontext() if cured else pytest.raises(RuntimeError, match="view was created in no_grad mode"):
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        assert all(p.grad is not None for name, p in model.named_parameters() if "lora_B" in name)


@pytest.mark.parametrize("quantization", ["int8", "nf4"])
def test_a_forward_pass_in_eval_mode_does_not_cut_the_gradient(tmp_path, quantization):
    """bitsandbytes 0.50 repacks 4-bit layers in eval mode on some CPUs; the gradient must still reach the first layer."""
    tiny.model(tmp_path, "llama")
    ids = torch.tensor([[4, 5, 6, 7]])
    gradients = []
    for evaluated_before in (False, True):
        model = load_model(run_for("llama", quantization), tmp_path)
        embedding = model.get_input_embeddings().weight.requires_grad_(True)
        if evaluated_before:
            with torch.no_grad():
                model.eval()(input_ids=ids)
        model.train()(input_ids=ids).logits.float().logsumexp(-1).sum().backward()
        gradients.append(embedding.grad.clone())
    torch.testing.assert_close(gradients[0], gradients[1])
    assert gradients[0].abs().sum() > 0
