"""Stage `train`: train one run, or go on where it was stopped -> adapter/, history.csv, training.json.

Training goes on in `--checkpoints`, keyed by all that determines the weights; the adapter of the best validation loss is
published at the end, training.json last. Under torchrun several processes train one run together.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import sys
import time
from contextlib import nullcontext
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tunebook.data.splits import read_tokens
from tunebook.digests import check_folder, digest_of, digests_of, sha256_of
from tunebook.errors import TunebookError
from tunebook.finetuning import checkpoints, processes
from tunebook.finetuning.adapters import make_trainable
from tunebook.finetuning.batching import collator_for
from tunebook.finetuning.devices import check_device, claim_device
from tunebook.finetuning.heads import find_head
from tunebook.finetuning.memory import free, is_out_of_memory, return_freed_memory, smaller_divisor
from tunebook.finetuning.models import (
    load_model,
    present_device,
    quiet_libraries,
    size_of,
    use_allowed_cores,
)
from tunebook.finetuning.plain_lora import check_layers, keep_start, rewrites_base, to_plain_lora
from tunebook.finetuning.progress import Progress, duration
from tunebook.finetuning.schedule import largest_micro_batch, schedule_of
from tunebook.finetuning.tokenizers import load_tokenizer, publish_generation_config
from tunebook.finetuning.trainer import Diverged, Keeper, TokenTrainer, peak_memory_bytes, training_arguments
from tunebook.records import (
    disk_is_full,
    identity_of,
    read_json,
    write_csv,
    write_json,
    write_parquet,
)
from tunebook.source_code import code_identity
from tunebook.storage import folder_in_place, lock

if TYPE_CHECKING:
    import pandas

LIBRARIES = ("torch", "transformers", "peft", "bitsandbytes", "accelerate", "datasets")
EXIT_STOPPED = 75  # EX_TEMPFAIL of sysexits.h: stopped with a checkpoint; run again to go on
PUBLISHED = ("adapter_model.safetensors", "adapter_config.json", "config.json")
FITTING = "micro_batch.json"  # beside the checkpoints: rows at a time that are to be tried next
WRITE_REFUSED = (
    "unexpected pos",
    "PytorchStreamWriter",
    "iostream error",
)  # torch's words where the system refuses a write
HISTORY = ["step", "epoch", "split", "loss", "learning_rate", "grad_norm", "tokens", "wall_s"]


class Stopped(Exception):
    """Training was stopped before its end; the next try goes on from its last checkpoint."""


def train(
    run: dict[str, Any], *, model: Path, tokens: Path, work: Path, deadline: float | None = None
) -> tuple[Path, dict[str, Any]]:
    """Train a run (run.json) to its end.

    `model`, `tokens`: folders of the fetched model and of the experiment's tokens; `work`: folder for checkpoints,
    resumed if it holds any; `deadline`: when to have stopped, on the clock of time.monotonic. Returns the newest checkpoint
    and facts for the record. Raises Stopped after a signal, at the time limit, or where one of several processes ran out of
    memory, and TunebookError where nothing can be trained.
    """
    splits = {split: read_tokens(tokens, split) for split in ("train", "validation")}
    micro_batch = largest_micro_batch(run, _micro_batch_that_fits(work))
    while True:
        try:
            return _train_once(run, model, splits, work, micro_batch, deadline)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        free()
        smaller = smaller_divisor(micro_batch)
        write_json(work / FITTING, smaller)
        if processes.count() > 1:  # the others wait in the middle of a step, and cannot be told
            raise Stopped(
                f"out of memory with {micro_batch} rows at a time; run again to go on with {smaller}, accumulated"
            )
        print(f"out of memory with {micro_batch} rows at a time: going on with {smaller}, accumulated", flush=True)
        micro_batch = smaller


def _micro_batch_that_fits(work: Path) -> float:
    """What an earlier try found to fit into memory, if one ran out of it."""
    return processes.from_first(read_json(work / FITTING) if (work / FITTING).exists() else math.inf)


def _train_once(
    run: dict[str, Any],
    model_folder: Path,
    splits: dict[str, list],
    work: Path,
    micro_batch: int,
    deadline: float | None,
) -> tuple[Path, dict[str, Any]]:
    schedule = schedule_of(len(splits["train"]), run)
    resumed = processes.from_first(checkpoints.latest_whole(work) if processes.is_first() else None)
    facts = checkpoints.read_seal(resumed)["facts"] if resumed else {}
    if resumed and (checkpoints.step_of(resumed) >= schedule.total or facts.get("stopped_early")):
        return resumed, facts
    model = load_model(run, model_folder, dropout=run["training"]["dropout"])
    collate = collator_for(run["task"], load_tokenizer(model_folder), model)
    head = find_head(run, model_folder)
    torch.manual_seed(run["seed"])  # the adapter starts at random
    model = make_trainable(model, run, whole=head.modules if head else ())
    if rewrites_base(run):
        check_layers(model, run)
        if processes.is_first():
            keep_start(model, work)
    model.config.use_cache = False
    keeper = Keeper(
        schedule=schedule, patience=run["training"]["early_stopping_patience"], facts=facts, deadline=deadline
    )
    trainer = TokenTrainer(
        model=model,
        args=training_arguments(run, work, micro_batch),
        rows=splits["train"],
        validation_rows=splits["validation"][: run["training"]["max_validation_rows"]],
        collate=collate,
        packing=run["training"]["packing"],
        loraplus_lr_ratio=(run["adapter"] or {}).get("loraplus_lr_ratio"),
        wall_s=facts.get("wall_s", 0.0),
        callbacks=[keeper, *([Progress(run["run"])] if processes.is_first() else [])],
    )
    keeper.trainer = trainer
    kinds = [*facts.get("cpu_capabilities", []), torch.backends.cpu.get_cpu_capability()]
    facts |= {"cpu_capabilities": list(dict.fromkeys(kinds))}
    facts |= {
        "micro_batch": micro_batch,
        "processes": processes.count(),
        "packed": trainer.packs,
        "tf32": bool(trainer.args.tf32),
        "device": _device_name(),
        **size_of(model),
    }
    facts |= {"head": asdict(head)} if head else {}
    try:
        facts.setdefault("initial_validation_loss", trainer.validation_loss())
        if not math.isfinite(facts["initial_validation_loss"]):
            raise TunebookError(
                f"the validation loss is {facts['initial_validation_loss']} before the first step; nothing is trained: the weights "
                "hold what is no number, or this dtype is too small for the model; see models.NAME.source and dtype"
            )
        facts.setdefault("validation_rows", _validation_rows(trainer))
        keeper.listen()
        trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
    except Diverged as error:
        peak = max(facts.get("peak_memory_bytes", 0), peak_memory_bytes())
        reached = {"wall_s": round(trainer.wall_s, 3), "peak_memory_bytes": peak}
        state = {key: getattr(trainer.state, key) for key in ("log_history", "global_step", "epoch")}
        error.facts = facts | reached | {"state": state}
        raise
    finally:
        keeper.trainer = None  # the handlers of signals hold the keeper; the model must go if memory has run out
    newest = processes.from_first(checkpoints.latest_whole(work) if processes.is_first() else None)
    if keeper.stopped_by and trainer.state.global_step < schedule.total and not facts.get("stopped_early"):
        raise Stopped(
            f"stopped by {keeper.stopped_by} after step {trainer.state.global_step} of {schedule.total}; run again to go on"
        )
    return newest, checkpoints.read_seal(newest)["facts"]


def _validation_rows(trainer: TokenTrainer) -> dict[str, Any]:
    """The validation rows, their supervised tokens and, by step, their losses; step 0 is the model before training."""
    return {
        "row": [line["row"] for line in trainer.validation_rows],
        "tokens": [tokens for _, tokens in trainer.validated],
        "losses": {"0": trainer.row_losses()},
    }


def _device_name() -> str:
    if present_device().type == "cuda":
        return torch.cuda.get_device_name()
    names = [line.split(":", 1)[1].strip() for line in _cpu_lines() if line.startswith("model name")]
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'s' if threads > 1 else ''}" + (f" ({names[0]})" if names else "")


def _cpu_lines() -> list[str]:
    file = Path("/proc/cpuinfo")
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


def history_of(state: dict[str, Any], initial_validation_loss: float) -> pandas.DataFrame:
    """history.csv: one line a step and one a validation, in their order; step 0 is the model before training."""
    import pandas

    first = {
        "step": 0,
        "epoch": 0.0,
        "split": "validation",
        "loss": initial_validation_loss,
        "tokens": 0,
        "wall_s": 0.0,
    }
    lines = [first]
    for entry in state["log_history"]:
        shared = {key: entry.get(key) for key in ("step", "epoch", "wall_s", "learning_rate", "grad_norm")}
        for split, key in (("train", "loss"), ("validation", "eval_loss")):
            if key in entry:
                lines.append(
                    {**shared, "split": split, "loss": entry[key], "tokens": int(entry["num_input_tokens_seen"])}
                )
    return pandas.DataFrame(lines, columns=HISTORY)


def validation_of(rows: dict[str, Any]) -> pandas.DataFrame:
    """validation.parquet: the loss of every validation row at every validation, in nats a supervised token."""
    import pandas

    frames = [
        pandas.DataFrame({"step": int(step), "row": rows["row"], "loss": losses, "tokens": rows["tokens"]})
        for step, losses in rows["losses"].items()
    ]
    return pandas.concat(frames, ignore_index=True)


def publish(
    run: dict[str, Any], newest: Path, facts: dict[str, Any], data: dict[str, Any], model: Path, output: Path
) -> None:
    """Publish the best checkpoint's weights, the history and, last, the record. `model`: folder of the fetched model."""
    state = read_json(newest / "trainer_state.json")
    best = newest.parent / f"checkpoint-{state['best_global_step']}"
    with folder_in_place(output / "adapter") as folder:
        weights = [best / name for name in PUBLISHED if (best / name).exists()] + sorted(
            best.glob("model*.safetensors*")
        )
        for file in weights:
            shutil.copyfile(file, folder / file.name)
        if rewrites_base(run):
            to_plain_lora(folder, newest.parent)
        if run["task"] != "sequence-classification":
            publish_generation_config(model, folder)
    best_of = {"best_step": state["best_global_step"], "best_validation_loss": state["best_metric"]}
    _publish_record(run, newest.parent, facts, state, data, output, best_of)


def publish_diverged(run: dict[str, Any], error: Diverged, data: dict[str, Any], work: Path, output: Path) -> None:
    """Publish what a trial of a search found that diverged: its history and its record, and no weights."""
    with folder_in_place(output / "adapter"):
        pass
    facts = dict(error.facts)
    told = {"best_step": None, "best_validation_loss": None, "diverged": str(error)}
    _publish_record(run, work, facts, facts.pop("state"), data, output, told)


def _publish_record(
    run: dict[str, Any],
    work: Path,
    facts: dict[str, Any],
    state: dict[str, Any],
    data: dict[str, Any],
    output: Path,
    told: dict[str, Any],
) -> None:
    """Write history.csv, validation.parquet and, last, training.json. `state`: of the Trainer; `told`: what ends the record."""
    history = history_of(state, facts["initial_validation_loss"])
    write_csv(output / "history.csv", history)
    facts = dict(facts)
    write_parquet(output / "validation.parquet", validation_of(facts.pop("validation_rows")))
    digests = {f"adapter/{name}": digest for name, digest in digests_of(output / "adapter").items()}
    digests["history.csv"] = sha256_of(output / "history.csv")
    digests["validation.parquet"] = sha256_of(output / "validation.parquet")
    tokens = int(history["tokens"].max())
    record = {
        "run": run["run"],
        "identity": run["identity"],
        "weights_key": work.name,
        "seed": run["seed"],
        "versions": {name: version(name) for name in LIBRARIES} | {"python": sys.version.split()[0]},
        "data": data,
        "digests": digests,
        **facts,
        "steps": state["global_step"],
        "epochs": round(state["epoch"], 4),
        "tokens": tokens,
        "tokens_per_s": round(tokens / facts["wall_s"], 2),
        **told,
    }
    write_json(output / "training.json", record)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", type=Path, required=True, help="run.json")
    parser.add_argument("--model", type=Path, required=True, help="folder of the fetched model")
    parser.add_argument("--tokens", type=Path, required=True, help="folder of the experiment's tokens")
    parser.add_argument("--checkpoints", type=Path, required=True, help="folder for training that has not finished")
    parser.add_argument("--output", type=Path, required=True, help="folder of the run")
    parser.add_argument(
        "--max-seconds", type=float, help=f"stop in time with a checkpoint (exit status {EXIT_STOPPED})"
    )


def main(args: argparse.Namespace) -> None:
    deadline = None if args.max_seconds is None else time.monotonic() + args.max_seconds
    claim_device(os.environ)
    quiet_libraries()
    use_allowed_cores(sharers=int(os.environ.get("LOCAL_WORLD_SIZE", 1)))
    return_freed_memory()
    run = read_json(args.run)
    gpu = torch.cuda.is_available()
    check_device(run["training"], gpu=gpu, has_bf16=gpu and torch.cuda.is_bf16_supported(including_emulation=False))
    processes.join(os.environ)
    data = processes.from_first(_digests(args) if processes.is_first() else None)
    versions = {name: version(name) for name in LIBRARIES}
    work = args.checkpoints / identity_of([run["identity"], data, code_identity("train"), versions])
    # a killed Snakemake leaves its jobs running, on a cluster for hours, and the next one starts them again beside them
    alone = (
        lock(work, "another process trains this very run: waiting for its end")
        if processes.is_first()
        else nullcontext()
    )
    with alone as held:
        if processes.from_first(processes.is_first() and held.waited and _is_published(args.output, work)):
            if processes.is_first():
                print(f"train {run['run']}: the other process has trained it", flush=True)
            return
        _train_and_publish(args, run, data, work, deadline)


def _digests(args: argparse.Namespace) -> dict[str, str]:
    """Hashes of the model's and the tokens' files. Raises TunebookError if they are not as they were published."""
    records = {"model": args.model / "provenance.json", "tokens": args.tokens / "lengths.json"}
    digests = {name: read_json(record)["digests"] for name, record in records.items()}
    for name, record in records.items():
        check_folder(record.parent, digests[name])
    return {name: digest_of(files) for name, files in digests.items()}


def _is_published(output: Path, work: Path) -> bool:
    record = output / "training.json"
    return record.exists() and read_json(record).get("weights_key") == work.name


def _train_and_publish(
    args: argparse.Namespace, run: dict[str, Any], data: dict[str, Any], work: Path, deadline: float | None
) -> None:
    try:
        newest, facts = train(run, model=args.model, tokens=args.tokens, work=work, deadline=deadline)
    except Stopped as stopped:
        print(f"train {run['run']}: {stopped}", flush=True)
        sys.exit(EXIT_STOPPED)  # under torchrun, the status of this process and not of the whole
    except Diverged as error:
        if run["trial"] is None or processes.count() > 1:  # other processes wait in the middle of a step
            raise
        publish_diverged(run, error, data, work, args.output)
        shutil.rmtree(work)
        print(f"train {run['run']}: a trial that diverged: {error}", flush=True)
        return
    except Exception as error:
        if any(words in str(error) for words in WRITE_REFUSED):
            raise TunebookError(
                f"{args.checkpoints}: a checkpoint could not be written: a quota is used up, or the disk has a fault; the whole ones "
                "before it stay: see to it, then run again to go on from there"
            ) from error
        if not disk_is_full(error, args.checkpoints):
            raise
        raise TunebookError(
            f"{args.checkpoints}: no space left while a checkpoint was written; the whole ones before it stay: free some "
            "space and run again to go on from there"
        ) from error
    processes.gathered(None)  # all have done with the checkpoints
    if not processes.is_first():
        return
    publish(run, newest, facts, data, args.model, args.output)
    shutil.rmtree(work)
    record = read_json(args.output / "training.json")
    print(f"train {run['run']}: done in {duration(record['wall_s'])}, best validation loss {record['best_validation_loss']:.4f} "
          f"at step {record['best_step']} of {record['steps']}", flush=True)  # fmt: skip
