"""Packed rows: none sees another, and a step computes the same as with padded rows."""

from __future__ import annotations

import pytest
import torch

from tests.causal_models import ARCHITECTURES, causal_model, rows
from tunebook.finetuning.batching import Collator, blank_row
from tunebook.finetuning.packing import ATTENTION, PACKABLE, PackingCollator, Work, can_pack, work_of
from tunebook.finetuning.scoring import summed_loss, supervised_losses

LENGTHS = [4, 17, 9, 2, 1, 12]
ONE_LINE = PackingCollator(pad_id=0, work=Work(token=1, pair=0))
SEPARATE = [name for name in ARCHITECTURES if name.split(" ")[0] in PACKABLE]
LEAKY = ["opt", "falcon"]


def losses_of(model, batch) -> torch.Tensor:
    return supervised_losses(model, batch, "causal-lm")[0].sort().values


@pytest.mark.parametrize(
    ("name", "attention"),
    [(name, kind) for name in SEPARATE for kind in ATTENTION if (name, kind) != ("gemma2", "sdpa")],  # it has none
)
def test_no_row_sees_another(name, attention):
    """Every token's loss is the one that its row has alone."""
    model = causal_model(name, attn_implementation=attention)
    assert can_pack(model, "causal-lm")
    given = rows(LENGTHS)
    packed = ONE_LINE(given)
    assert packed["input_ids"].shape == (1, sum(LENGTHS))
    alone = torch.cat([losses_of(model, Collator("causal-lm", pad_id=0)([row])) for row in given]).sort().values
    torch.testing.assert_close(losses_of(model, packed), alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", LEAKY)
def test_architectures_that_leak_are_not_packed(name):
    """Fails once transformers keeps their rows apart: then they may be packed."""
    model = causal_model(name)
    given = rows(LENGTHS)
    alone = torch.cat([losses_of(model, Collator("causal-lm", pad_id=0)([row])) for row in given]).sort().values
    assert not can_pack(model, "causal-lm")
    assert (losses_of(model, ONE_LINE(given)) - alone).abs().max() > 1e-2


def test_every_architecture_that_is_packed_is_tested():
    assert {name.split(" ")[0] for name in SEPARATE} == PACKABLE


@pytest.mark.parametrize("work", [Work(1, 0), Work(1, 1), Work(0, 1)])
@pytest.mark.parametrize("name", ["llama tied", "gemma2"])
def test_loss_and_gradient_of_a_step_are_those_of_padded_rows(name, work):
    model, given = causal_model(name), rows(LENGTHS)
    found = []
    for collate in (Collator("causal-lm", pad_id=0), PackingCollator(pad_id=0, work=work)):
        model.zero_grad()
        loss = summed_loss(model, collate(given), "causal-lm")
        loss.backward()
        found.append((loss.item(), [parameter.grad.clone() for parameter in model.parameters()]))
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-5)
    for ours, theirs in zip(found[1][1], found[0][1], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4 * theirs.abs().max().item())


def test_lines_are_as_many_as_cost_the_least():
    lengths = [8, 4, 4, 2]
    assert len(PackingCollator(0, Work(1, 0)).lines(lengths)) == 1  # nothing but tokens: no filling
    assert PackingCollator(0, Work(0, 1)).lines(lengths) == [[0], [1, 3], [2]]
    assert len(PackingCollator(0, Work(1, 1000)).lines([8, 8, 8])) == 3  # equal rows are not packed where pairs cost


def test_filling_and_blank_rows_are_not_counted_and_have_no_loss():
    given = [*rows([5, 3, 3], prompt=1), blank_row({"input_ids": [7, 8, 9]}, "causal-lm")]
    batch = PackingCollator(pad_id=0, work=Work(0, 1))(given)
    assert batch["input_ids"].numel() > 5 + 3 + 3 + 2
    assert int(batch["counted"].sum()) == 5 + 3 + 3
    assert int((batch["labels"] != -100).sum()) == 4 + 2 + 2
    assert batch.keys() == {"input_ids", "position_ids", "labels", "counted"}


def test_work_counts_weights_and_pairs():
    model = causal_model("llama")
    assert work_of(model).pair == 4 * 2 * 32
    weights = 2 * (4 * 32 * 32 + 3 * 32 * 64) + 32 * 96
    assert work_of(model).token == 2 * weights


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # of peft
def test_a_prompt_adapter_is_not_packed():
    from peft import PromptTuningConfig, get_peft_model

    model = causal_model("llama")
    assert can_pack(model, "causal-lm")
    assert not can_pack(model, "seq2seq-lm")
    assert not can_pack(
        get_peft_model(model, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4)), "causal-lm"
    )
