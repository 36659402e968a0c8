"""One timed training by TRL or by a bare loop, for engine.py: python peers.py JOB.json. Imports nothing of this project.

The job: engine (bare, trl, trl-grouped, trl-packed, matmul), model (a folder), rows (input_ids, labels), batch, steps,
warmup (steps that are not timed), adapter (LoraConfig), learning_rate, threads. Prints the result as its last line.
"""

from __future__ import annotations

import json
import random
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

NO_LOSS = -100
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def batches_of(rows: list[dict[str, Any]], size: int, count: int) -> list[list[dict[str, Any]]]:
    """Length-grouped batches, as Trainer's group_by_length makes them: sorted within pools of 50 batches."""
    draw, found = random.Random(0), []
    while len(found) < count:
        order = draw.sample(rows, len(rows))
        for start in range(0, len(order), 50 * size):
            pool = sorted(order[start : start + 50 * size], key=lambda row: -len(row["input_ids"]))
            made = [pool[at : at + size] for at in range(0, len(pool) - size + 1, size)]
            found += draw.sample(made, len(made))
    return found[:count]


def padded(rows: list[list[int]], fill: int) -> torch.Tensor:
    width = max(map(len, rows))
    return torch.tensor([row + [fill] * (width - len(row)) for row in rows], device=DEVICE)


def bare(job: dict[str, Any], model: torch.nn.Module) -> tuple[float, int]:
    """The plainest loop: padded batches, logits of every position. Returns (seconds, tokens) of the timed steps."""
    model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **job["adapter"])).to(DEVICE).train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=job["learning_rate"], weight_decay=0.0)
    tokens = 0
    for step, rows in enumerate(batches_of(job["rows"], job["batch"], job["steps"])):
        if step == job["warmup"]:
            started, tokens = now(), 0
        ids = padded([row["input_ids"] for row in rows], 0)
        mask = padded([[1] * len(row["input_ids"]) for row in rows], 0)
        labels = padded([row["labels"] for row in rows], NO_LOSS)
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), labels[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        tokens += int(mask.sum())
    return now() - started, tokens


def trl(job: dict[str, Any], model: torch.nn.Module) -> tuple[float, int]:
    """TRL's SFTTrainer: as it comes, with length-grouped batches, or packed into lines of a step's mean tokens."""
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    packed = job["engine"] == "trl-packed"
    lengths = [len(row["input_ids"]) for row in job["rows"]]
    line = max(max(lengths), round(job["batch"] * statistics.mean(lengths)))
    seen = {"tokens": 0, "started": 0.0, "ended": 0.0}

    class Counting(SFTTrainer):
        def training_step(self, model, inputs, *arguments, **options):
            mask = inputs.get("attention_mask")
            seen["tokens"] += int(mask.sum()) if mask is not None else inputs["input_ids"].numel()
            return super().training_step(model, inputs, *arguments, **options)

    class Clock(TrainerCallback):
        def on_step_end(self, args, state, control, **options):
            if state.global_step == job["warmup"]:
                seen["started"], seen["tokens"] = now(), 0
            seen["ended"] = now()

    settings = SFTConfig(
        output_dir=job["work"],
        per_device_train_batch_size=1 if packed else job["batch"],
        max_steps=job["steps"],
        learning_rate=job["learning_rate"],
        max_length=line if packed else max(lengths),
        packing=packed,
        train_sampling_strategy="group_by_length" if job["engine"] == "trl-grouped" else "random",
        completion_only_loss=True,
        bf16=False,
        use_cpu=DEVICE.type == "cpu",
        activation_checkpointing=False,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        logging_steps=1,
    )
    rows = [
        {"input_ids": row["input_ids"], "completion_mask": [int(label != NO_LOSS) for label in row["labels"]]}
        for row in job["rows"]
    ]
    trainer = Counting(
        model=model,
        args=settings,
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(job["model"]),
        peft_config=LoraConfig(task_type="CAUSAL_LM", **job["adapter"]),
        callbacks=[Clock()],
    )
    trainer.train()
    return seen["ended"] - seen["started"], seen["tokens"]


def matmul(job: dict[str, Any], model: torch.nn.Module) -> tuple[float, int]:
    """The limit: the matrix products alone of the frozen weights, forward and the gradient of their inputs, for a step's mean
    tokens without any padding; the output layer's for supervised tokens only."""
    tokens = round(job["batch"] * statistics.mean(len(row["input_ids"]) for row in job["rows"]))
    learnt = round(
        job["batch"] * statistics.mean(sum(label != NO_LOSS for label in row["labels"]) for row in job["rows"])
    )
    head = model.get_output_embeddings()
    shapes = [
        (learnt if module is head else tokens, module.in_features, module.out_features)
        for module in model.modules()
        if isinstance(module, torch.nn.Linear)
    ]
    operands = [(torch.randn(n, k, device=DEVICE), torch.randn(m, k, device=DEVICE)) for n, k, m in shapes]
    with torch.no_grad():
        for step in range(job["steps"]):
            if step == job["warmup"]:
                started = now()
            for given, weight in operands:
                torch.mm(torch.mm(given, weight.T), weight)
    return now() - started, tokens * (job["steps"] - job["warmup"])


def now() -> float:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.monotonic()


def main(job: dict[str, Any]) -> dict[str, float]:
    torch.set_num_threads(job["threads"])
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.float32)
    run = {"bare": bare, "matmul": matmul}.get(job["engine"], trl)
    seconds, tokens = run(job, model)
    peak = torch.cuda.max_memory_allocated() if DEVICE.type == "cuda" else 0
    peak = peak or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"tokens_per_s": tokens / seconds, "peak_memory_bytes": peak}


if __name__ == "__main__":
    print(json.dumps(main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))))
