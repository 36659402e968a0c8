"""The loss of chosen positions is the loss of all logits, with its gradient, for every architecture and kind of head."""

from __future__ import annotations

import pytest
import torch

from tests.causal_models import ARCHITECTURES, causal_model, rows
from tunebook.finetuning import names
from tunebook.finetuning.batching import Collator
from tunebook.finetuning.output_head import output_head
from tunebook.finetuning.scoring import summed_loss, supervised_losses, token_losses

BATCH = Collator("causal-lm", pad_id=0)(rows([4, 17, 9, 2]))
ADAPTERS = {
    "lora": {"target_modules": "all-linear"},
    "lora on the head": {"target_modules": ["q_proj", "lm_head"]},
    "head trained whole": {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
}
PROMPTS = {"prompt tuning": "PromptTuningConfig", "prefix tuning": "PrefixTuningConfig"}


def loss_and_gradients(model, loss) -> tuple[float, dict[str, torch.Tensor]]:
    model.zero_grad()
    loss.backward()
    return loss.item(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def of_all_logits(model) -> torch.Tensor:
    """The old way: logits of every position."""
    inputs = {name: tensor for name, tensor in BATCH.items() if name != "labels"}
    return token_losses(model(**inputs).logits, BATCH["labels"], "causal-lm").sum()


def assert_same(model) -> None:
    """Loss and gradients by both ways, and that the head computes less than all positions."""
    expected, gradients = loss_and_gradients(model, of_all_logits(model))
    assert output_head(model) is not None, "this model takes the old way"
    computed, head = [], model.get_output_embeddings()
    with head.register_forward_hook(lambda layer, given, output: computed.append(output.numel() // output.shape[-1])):
        found, ours = loss_and_gradients(model, summed_loss(model, BATCH, "causal-lm"))
    assert found == pytest.approx(expected, rel=1e-5)
    assert ours.keys() >= gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-3, atol=1e-4 * gradient.abs().max().item() + 1e-7)
    for name in ours.keys() - gradients.keys():
        assert not ours[name].any()
    supervised = int((BATCH["labels"][:, 1:] != -100).sum())
    assert sum(computed) <= supervised + len(BATCH["labels"])  # and the first position of each row, not used


@pytest.mark.parametrize(
    ("name", "chunk_bytes"),
    [
        *((name, 1 << 20) for name in ARCHITECTURES),
        *((name, 1) for name in ("llama tied", "gemma2", "phi")),
    ],  # a token each
)
def test_loss_and_gradient_are_those_of_all_logits(monkeypatch, name, chunk_bytes):
    monkeypatch.setattr(names, "CHUNK_BYTES", chunk_bytes)
    model = causal_model(name)
    assert_same(model)
    losses, found_rows = supervised_losses(model, BATCH, "causal-lm")
    assert losses.sum().item() == pytest.approx(of_all_logits(model).item(), rel=1e-5)
    counts = (BATCH["labels"][:, 1:] != -100).sum(dim=1)
    assert torch.bincount(found_rows, minlength=4).tolist() == counts.tolist()


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # of peft
@pytest.mark.parametrize(
    ("name", "adapter"), [*(("llama", adapter) for adapter in ADAPTERS), ("llama tied", "lora"), ("gemma2", "lora")]
)
def test_adapted_heads_keep_their_meaning(name, adapter):
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(causal_model(name), LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.0, **ADAPTERS[adapter]))
    for parameter_name, parameter in model.named_parameters():
        if "lora_B" in parameter_name:
            torch.nn.init.normal_(parameter, std=0.1)  # they start at zero
    assert_same(model.eval())


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # of peft
@pytest.mark.parametrize("kind", PROMPTS)
def test_positions_that_a_prompt_adapter_adds_are_not_scored(kind):
    import peft

    config = getattr(peft, PROMPTS[kind])(task_type="CAUSAL_LM", num_virtual_tokens=4)
    assert_same(peft.get_peft_model(causal_model("llama"), config).eval())


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # of peft
def test_an_adapter_that_is_added_later_is_trained():
    """The head is tried again where other parameters are trained than before."""
    from peft import LoraConfig, get_peft_model

    model = causal_model("llama").requires_grad_(False)
    assert output_head(model).weights == ()
    model = get_peft_model(
        model, LoraConfig(task_type="CAUSAL_LM", target_modules=["lm_head"], init_lora_weights=False)
    )
    assert_same(model.eval())


def test_a_gradient_of_several_micro_batches_is_that_of_one():
    """Each micro-batch's share counts as it should: divided by all tokens of the step, not by the number of micro-batches."""
    model = causal_model("llama")
    count = 20
    _, expected = loss_and_gradients(model, summed_loss(model, BATCH, "causal-lm") / count)
    model.zero_grad()
    for start in (0, 2):
        part = {name: tensor[start : start + 2] for name, tensor in BATCH.items()}
        (summed_loss(model, part, "causal-lm") / count).backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-4, atol=1e-6)


def test_rows_without_a_supervised_token_add_nothing():
    model = causal_model("llama tied")
    batch = {**BATCH, "labels": torch.full_like(BATCH["labels"], -100)}
    loss, gradients = loss_and_gradients(model, summed_loss(model, batch, "causal-lm"))
    assert loss == 0
    assert gradients, "processes that share a step need a gradient of each"
    assert not any(gradient.any() for gradient in gradients.values())


def test_a_head_of_another_kind_takes_the_logits_of_the_model(capsys):
    """A model that does something to its logits that depends on the position: chosen positions would give another loss."""
    from transformers import LlamaForCausalLM

    class Fading(LlamaForCausalLM):
        def forward(self, *arguments, logits_to_keep=0, **options):
            output = super().forward(*arguments, logits_to_keep=logits_to_keep, **options)
            output.logits = output.logits / (1 + torch.arange(output.logits.shape[1])[:, None])
            return output

    model = causal_model("llama")
    model.__class__ = Fading
    assert output_head(model) is None
    assert "Fading: the loss is computed from the logits of all positions" in capsys.readouterr().out
    expected = of_all_logits(model).item()
    assert summed_loss(model, BATCH, "causal-lm").item() == pytest.approx(expected, rel=1e-6)
