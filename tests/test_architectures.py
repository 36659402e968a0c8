"""The table of architectures: class x method x what must hold. `make test-architectures` fills it; `make test` samples it.

Each column is a function `Cell -> None` that fails where its fact does not hold. What a class cannot do is refused with a
message, and REFUSED has it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as t

from tests import architectures
from tests.stages import run_stage
from tunebook import __main__ as command_line
from tunebook.cost.architectures import Architecture
from tunebook.cost.memory import estimate
from tunebook.data.splits import write_tokens
from tunebook.digests import digests_of
from tunebook.errors import TunebookError
from tunebook.finetuning.batching import collator_for
from tunebook.finetuning.encoding import NO_LOSS
from tunebook.finetuning.generation import answer
from tunebook.finetuning.models import load_finetuned
from tunebook.finetuning.pretrained import AUTO_CLASSES
from tunebook.finetuning.scoring import score
from tunebook.finetuning.tokenizers import load_tokenizer
from tunebook.records import read_json, write_json

METHODS = ("full", "lora", "int8-lora", "qlora")
TASKS = {
    "causal-lm": architectures.CAUSAL,
    "seq2seq-lm": architectures.SEQ2SEQ,
    "sequence-classification": architectures.CLASSIFIERS,
}
LABELS = ("good", "bad", "so-so")
SHORT = {  # what `make test` runs: each task, each method, and the heads that are built in a way of their own
    ("llama", "causal-lm", "int8-lora"),
    ("bart", "seq2seq-lm", "full"),
    ("mamba", "causal-lm", "lora"),
    ("distilbert", "sequence-classification", "lora"),
    ("deberta-v2", "sequence-classification", "int8-lora"),
    ("xlnet", "sequence-classification", "qlora"),
    ("gpt2", "sequence-classification", "full"),
    ("t5", "sequence-classification", "lora"),
}
REFUSED = {  # (class, method) -> the message
    ("mamba", method): "peft refuses: [PEFT:PeftType.LORA] Module 'out_proj' is incompatible with Mamba-based models"
    for method in ("lora", "int8-lora", "qlora")
}  # fmt: skip
CELLS = [
    pytest.param(name, task, method, marks=() if (name, task, method) in SHORT else pytest.mark.architectures)
    for task, names in TASKS.items()
    for name in names
    for method in METHODS
]


@dataclass(frozen=True)
class Cell:
    """A trained run: run.json, the pretrained model, what training published, and the rows."""

    run: dict[str, Any]
    model: Path
    adapter: Path
    record: dict[str, Any]
    rows: list[dict[str, Any]]

    @property
    def task(self) -> str:
        return self.run["task"]


def rows_of(task: str, count: int = 8) -> list[dict[str, Any]]:
    """Encoded rows of different lengths, each with its end token: 4 to 13 ids."""
    draw, rows = random.Random(0), []
    for number in range(count):
        kind = number % len(LABELS)
        ids = [draw.randrange(8, 100) for _ in range(2 + (number * 3) % 10)] + [4 + kind, 3]
        labels = {
            "causal-lm": [NO_LOSS, NO_LOSS, *ids[2:]],
            "seq2seq-lm": [draw.randrange(4, 100) for _ in range(2 + number % 3)] + [3],
            "sequence-classification": [kind],
        }
        rows.append({"row": f"{number}", "input_ids": ids, "labels": labels[task]})
    return rows


def spec_of(name: str, task: str, method: str) -> dict[str, Any]:
    """run.json of a cell. Losses are measured a row at a time: int8 rounds a row by the batch that it stands in."""
    training = {"learning_rate": 2e-3, "max_steps": 10, "per_device_train_batch_size": 4, "evals_per_epoch": 1}
    training |= {"lr_scheduler_type": "constant"}
    run = architectures.run_of("llama", method, **training, per_device_eval_batch_size=1, max_length=32)
    labels = list(LABELS) if task == "sequence-classification" else []
    return run | {"task": task, "dataset": {"labels": labels}, "model": run["model"] | {"name": name}}


def written(folder: Path, name: str, task: str, method: str) -> list[object]:
    """Model, tokens and run.json of a cell in a folder. Returns the arguments of the stage `train`."""
    architectures.pretrained(folder / "model", name)
    for split in ("train", "validation"):
        write_tokens(folder / "tokens" / split, rows_of(task))
    for place, record in (("model", "provenance.json"), ("tokens", "lengths.json")):
        write_json(folder / place / record, {"digests": digests_of(folder / place)})
    write_json(folder / "run.json", spec_of(name, task, method))
    places = {"run": "run.json", "model": "model", "tokens": "tokens", "checkpoints": "checkpoints", "output": "out"}
    return ["train", *(part for key, place in places.items() for part in (f"--{key}", folder / place))]


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`")  # peft's
@pytest.mark.parametrize(("name", "task", "method"), CELLS)
def test_every_class_does_what_each_method_promises(tmp_path, capsys, name, task, method):
    arguments = written(tmp_path, name, task, method)
    if (name, method) in REFUSED:
        assert command_line.main([str(argument) for argument in arguments]) == 2
        message = capsys.readouterr().err
        assert REFUSED[name, method] in message
        assert "Traceback" not in message
        return
    run_stage(*arguments)
    record = read_json(tmp_path / "out" / "training.json")
    run = read_json(tmp_path / "run.json")
    cell = Cell(run, tmp_path / "model", tmp_path / "out" / "adapter", record, rows_of(task))
    failed = {}
    for column in COLUMNS:
        try:
            column(cell)
        except Exception as error:  # each column is told, not the first that fails alone
            failed[column.__name__] = f"{type(error).__name__}: {error}"
    assert not failed, "\n".join(f"{column}: {reason}" for column, reason in failed.items())


def trains(cell: Cell) -> None:
    """Training lowers the loss on the rows that it sees."""
    assert cell.record["best_validation_loss"] < cell.record["initial_validation_loss"]


def quantizes_all_layers(cell: Cell) -> None:
    """All linear layers are quantized but the output layer, the head, and what the architecture keeps in float32."""
    if cell.run["quantization"] is None:
        assert cell.record["quantized_layers"] == 0
        return
    model = AUTO_CLASSES[cell.task].from_pretrained(cell.model)
    output, head = model.get_output_embeddings(), cell.record.get("head", {}).get("modules", ())
    kept = set(getattr(model, "_keep_in_fp32_modules", None) or ())
    layers = [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear | t.pytorch_utils.Conv1D) and module is not output
    ]
    expected = [name for name in layers if not name.startswith(tuple(head) or ("-",)) and not kept & {*name.split(".")}]
    assert cell.record["quantized_layers"] == len(expected)


def loss_is_that_of_transformers(cell: Cell) -> None:
    """The untouched model's loss, by transformers' own loss. (A new head is other numbers for each receiver.)"""
    if cell.task != "sequence-classification":
        found = plain_loss(plain_model(cell, cell.model), cell)
        assert cell.record["initial_validation_loss"] == pytest.approx(found, rel=tolerance(cell))


def published_weights_reload(cell: Cell) -> None:
    """Whoever loads what was published, with transformers and peft alone and another seed, gets the recorded loss."""
    from peft import PeftModel

    torch.manual_seed(4711)
    if cell.run["adapter"] is None:
        model = plain_model(cell, cell.adapter)
    else:
        model = PeftModel.from_pretrained(plain_model(cell, cell.model), cell.adapter)
    found, recorded = plain_loss(model, cell), cell.record["best_validation_loss"]
    assert found == pytest.approx(recorded, rel=tolerance(cell))
    if cell.task == "sequence-classification":
        assert tuple(model.config.id2label.values()) == LABELS


def padding_changes_nothing(cell: Cell) -> None:
    """A row's loss is the same alone and beside a longer one. (int8 rounds a row by its batch.)"""
    if cell.run["quantization"] != "int8":
        model, tokenizer = finetuned(cell)
        collate = collator_for(cell.task, tokenizer, model)
        alone, together = (score(model, cell.rows, collate, size) for size in (1, len(cell.rows)))
        assert [loss for loss, _ in together] == pytest.approx([loss for loss, _ in alone], abs=2e-4)


def batched_answers_are_those_of_one_at_a_time(cell: Cell) -> None:
    """Greedy answers do not depend on the prompts beside them. (int8 rounds a prompt by its batch.)"""
    if cell.task != "sequence-classification" and cell.run["quantization"] != "int8":
        model, tokenizer = finetuned(cell)
        prompts = [row["input_ids"][: None if cell.task == "seq2seq-lm" else -1] for row in cell.rows]
        options = {"tokenizer": tokenizer, "max_new_tokens": 6}
        alone, together = (answer(model, prompts, **options, batch_size=size) for size in (1, len(prompts)))
        assert together == alone


def the_estimate_knows_it_or_says_that_it_does_not(cell: Cell) -> None:
    """Parameters as they were counted in training, or a message that names the type of the model."""
    config = read_json(cell.model / "config.json")
    file = cell.model / "config.json"
    try:
        known = estimate(cell.run, Architecture(cell.run["model"]["name"], config, "float32", file), gpu=False)
    except TunebookError as error:
        if config["model_type"] not in str(error):
            raise
        return
    inside = [module for module in cell.record.get("head", {}).get("modules", ()) if "." in module]
    if not inside:  # a config does not tell that the files lack the base model's pooler, which is then trained whole
        assert known.parameters == cell.record["parameters"]
        assert known.trainable_parameters == cell.record["trainable_parameters"]


COLUMNS = (
    trains,
    quantizes_all_layers,
    loss_is_that_of_transformers,
    published_weights_reload,
    padding_changes_nothing,
    batched_answers_are_those_of_one_at_a_time,
    the_estimate_knows_it_or_says_that_it_does_not,
)


def tolerance(cell: Cell) -> float:
    """Relative. bitsandbytes 0.50 computes nf4 in bfloat16 in eval mode on some CPUs, and this project does not (see
    quantization.keep_nf4_layout)."""
    return 1e-2 if cell.run["quantization"] == "nf4" else 1e-4


def finetuned(cell: Cell) -> tuple[Any, Any]:
    """The published model and its tokenizer, as evaluation loads them, by a run of another seed."""
    return load_finetuned(cell.run | {"seed": 4711}, cell.model, cell.adapter), load_tokenizer(cell.model)


def plain_model(cell: Cell, folder: Path) -> Any:
    """The model in a folder, by transformers alone, quantized as the run was."""
    options: dict[str, Any] = {"dtype": torch.float32}
    spared = cell.record.get("unquantized_modules") or cell.record.get("head", {}).get("modules")
    if cell.run["quantization"]:
        eight = cell.run["quantization"] == "int8"
        four = {
            "bnb_4bit_quant_type": "nf4",
            "bnb_4bit_use_double_quant": True,
            "bnb_4bit_compute_dtype": torch.float32,
        }
        options["quantization_config"] = t.BitsAndBytesConfig(
            load_in_8bit=eight, load_in_4bit=not eight, llm_int8_skip_modules=spared, **({} if eight else four)
        )
    if cell.task == "sequence-classification":
        options["config"] = t.AutoConfig.from_pretrained(cell.adapter)
    return AUTO_CLASSES[cell.task].from_pretrained(folder, **options).eval()


@torch.no_grad()
def plain_loss(model: Any, cell: Cell) -> float:
    """Mean loss in nats a supervised token by the model's own loss, a row at a time."""
    losses, counts = [], []
    for row in cell.rows:
        labels = torch.tensor([row["labels"]])
        losses.append(model(input_ids=torch.tensor([row["input_ids"]]), labels=labels).loss.item())
        counts.append(sum(label != NO_LOSS for label in row["labels"]))
    return sum(loss * count for loss, count in zip(losses, counts, strict=True)) / sum(counts)


def test_the_table_has_each_class_that_is_built():
    listed = {name for names in TASKS.values() for name in names}
    assert listed == set(architectures.CLASSES)
    assert {name for name, _ in REFUSED} <= listed
    assert {cell.values for cell in CELLS} >= SHORT
