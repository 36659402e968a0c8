"""transformers' Trainer with this project's loss, validation, order of rows and checkpoints."""

from __future__ import annotations

import copy
import functools
import math
import resource
import signal
import time
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.utils import is_torch_tf32_available

from tunebook.errors import TunebookError
from tunebook.finetuning import checkpoints, processes
from tunebook.finetuning.batching import Collator, LengthGroupedSampler, blank_row, longest_first
from tunebook.finetuning.encoding import NO_LOSS
from tunebook.finetuning.memory import trim_heap
from tunebook.finetuning.models import optimizer_bytes
from tunebook.finetuning.packing import PackingCollator, training_collator
from tunebook.finetuning.schedule import Schedule, rows_of_a_step
from tunebook.finetuning.scoring import mean_over_tokens, score, summed_loss

SECONDS_BETWEEN_CHECKPOINTS = 900  # at most, so much work is lost where a kill gives no warning
SECONDS_TO_END = 10  # from the last step to the end of the process
OURS = (
    "packing",
    "dropout",
    "max_length",
    "max_target_length",
    "evals_per_epoch",
    "max_validation_rows",
    "early_stopping_patience",
)


def let_cpu_train_in_float16(accelerator: Accelerator) -> None:
    """Autocast to float16 with a scaled loss, as on a GPU. accelerate 1.15 knows this of GPUs only: told fp16, it trains on a
    CPU in the model's own precision and says nothing. Call it before the model and the optimizer are prepared."""
    accelerator.native_amp, accelerator.scaler = True, torch.amp.GradScaler("cpu")


class TokenTrainer(Trainer):
    """A Trainer whose losses are nats a supervised token, in training and in validation.

    Several processes share the rows of each step: Trainer sums their losses and tokens, and validation is shared out below.
    """

    def __init__(
        self,
        *,
        rows: list,
        validation_rows: list,
        collate: Collator,
        packing: str,
        loraplus_lr_ratio: float | None,
        wall_s: float,
        model: torch.nn.Module,
        **options: Any,
    ) -> None:
        self.collate = collate  # for validation; training may pack its rows
        self.loraplus_lr_ratio = loraplus_lr_ratio
        super().__init__(
            model=model,
            train_dataset=[*rows, blank_row(rows[0], collate.task)],
            data_collator=training_collator(model, collate, packing),
            compute_loss_func=functools.partial(summed_loss, task=collate.task),
            **options,
        )
        self.remove_callback(PrinterCallback)
        if self.args.fp16 and self.accelerator.device.type == "cpu":
            let_cpu_train_in_float16(self.accelerator)
        self.model_accepts_loss_kwargs = False  # the loss is ours; no model needs to know the number of tokens
        self._loss_shifts_labels = collate.task == "causal-lm"  # what else would be counted is the first target token
        self.rows, self.validation_rows = rows, validation_rows
        self.validated: list[
            tuple[float, int]
        ] = []  # (summed loss, tokens) of each validation row, at the last validation
        self.wall_before, self.started = wall_s, time.monotonic()

    @property
    def packs(self) -> bool:
        """Whether rows of training are packed where that saves work."""
        return isinstance(self.data_collator, PackingCollator)

    @property
    def wall_s(self) -> float:
        """Seconds of training so far, those before a resume included."""
        return self.wall_before + time.monotonic() - self.started

    def create_optimizer(self, *arguments: Any, **options: Any) -> torch.optim.Optimizer:
        """The optimizer that the arguments name; for LoRA+ (Hayou et al. 2024) with peft's groups: matrices B, and weights of one
        dimension, learn at `loraplus_lr_ratio` times the learning rate."""
        if self.loraplus_lr_ratio is None or self.optimizer is not None:
            return super().create_optimizer(*arguments, **options)
        from peft.optimizers import create_loraplus_optimizer

        optimizer_class, settings = self.get_optimizer_cls_and_kwargs(self.args, self.model)
        self.optimizer = create_loraplus_optimizer(
            self.model,
            optimizer_class,
            loraplus_lr_ratio=self.loraplus_lr_ratio,
            loraplus_weight_decay=self.args.weight_decay,
            **settings,
        )
        return self.optimizer

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthGroupedSampler:
        together = self.args.train_batch_size * self.args.world_size
        return LengthGroupedSampler(
            [len(row["input_ids"]) for row in self.rows],
            batch_size=together * self.args.gradient_accumulation_steps,
            seed=self.args.seed,
            multiple=together if self.args.world_size > 1 else 1,
        )

    def _track_num_input_tokens(self, inputs: dict[str, torch.Tensor]) -> None:
        """Count tokens, those of blank rows and of filling not."""
        counted = inputs.get("counted")
        if counted is None:
            real = (inputs["labels"] != NO_LOSS).reshape(len(inputs["labels"]), -1).any(dim=1)  # (B,)
            counted = inputs["attention_mask"] * real[:, None]
        super()._track_num_input_tokens({**inputs, "attention_mask": counted})

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> torch.Tensor:
        """The sum over this micro-batch by the supervised tokens of the whole step, in all processes; a loss that is no
        number ends the run before it can spoil the weights."""
        loss = self.compute_loss_func(model, inputs) / num_items_in_batch
        if not torch.isfinite(loss):
            raise Diverged(
                f"the loss is {loss.item()} at step {self.state.global_step + 1}; nothing is published: lower the "
                "learning rate, clip gradients harder (max_grad_norm), or train in bf16 or float32 instead of fp16"
            )
        return loss * self.accelerator.num_processes  # gradients of processes are averaged

    def evaluate(self, *arguments: Any, **options: Any) -> dict[str, float]:
        """Token-weighted validation loss, by the same code as the final evaluation."""
        loss = self.validation_loss()
        if not math.isfinite(loss):
            raise Diverged(
                f"the validation loss is {loss} after step {self.state.global_step}; nothing is published: lower the learning rate, "
                "or clip gradients harder (max_grad_norm)"
            )
        metrics = {"eval_loss": loss}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def validation_loss(self) -> float:
        """Mean loss over the validation rows, in nats a supervised token. Each row is scored by one process."""
        mine = longest_first([len(row["input_ids"]) for row in self.validation_rows])[
            processes.number() :: processes.count()
        ]
        rows = [self.validation_rows[index] for index in mine]
        trim_heap()
        scored = score(self.model, rows, self.collate, self.args.per_device_eval_batch_size)
        found = {
            index: each for part in processes.gathered(list(zip(mine, scored, strict=True))) for index, each in part
        }
        self.validated = [found[index] for index in range(len(self.validation_rows))]
        return mean_over_tokens(self.validated)

    def row_losses(self) -> list[float]:
        """Loss of each validation row at the last validation, in nats a supervised token."""
        return [loss / tokens for loss, tokens in self.validated]

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the seconds of training to what Trainer logs."""
        super().log({**logs, "wall_s": round(self.wall_s, 3)})


class Diverged(TunebookError):
    """A loss is no number any more. `facts`: what the record of a trial of a search tells of the training up to there."""

    facts: dict[str, Any]


class Keeper(TrainerCallback):
    """Decides when to validate, save and stop; seals checkpoints; answers signals and the time limit."""

    def __init__(
        self, *, schedule: Schedule, patience: int | None, facts: dict[str, Any], deadline: float | None
    ) -> None:
        self.schedule, self.patience, self.facts, self.deadline = schedule, patience, facts, deadline
        self.trainer: TokenTrainer | None = None
        self.told_to_stop_by: str | None = None  # this process alone
        self.stopped_by: str | None = None  # all of them, as they agreed
        self.step_started = self.step_ended = self.saved = time.monotonic()
        self.slowest_step_s = self.slowest_pause_s = 0.0  # a pause validates and saves

    def listen(self) -> None:
        """SIGTERM and SIGINT stop after the current step, with a checkpoint."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)

    def _stop(self, number: int, frame: Any) -> None:
        self.told_to_stop_by = signal.Signals(number).name

    def on_train_begin(self, args, state, control, **kwargs):
        self.step_ended = self.saved = time.monotonic()

    def on_step_begin(self, args, state, control, **kwargs):
        self.step_started = time.monotonic()
        self.slowest_pause_s = max(self.slowest_pause_s, self.step_started - self.step_ended)

    def on_step_end(self, args, state, control, **kwargs):
        self.step_ended = now = time.monotonic()
        self.slowest_step_s = max(self.slowest_step_s, now - self.step_started)
        state.epoch = (
            state.global_step / self.schedule.epoch
        )  # Trainer's own counts micro-batches, the last of them short
        if self.deadline is not None and now + self._seconds_to_stop() > self.deadline:
            self.told_to_stop_by = "the time limit"
        told = processes.gathered((self.told_to_stop_by, now - self.saved > SECONDS_BETWEEN_CHECKPOINTS))
        self.stopped_by = next((name for name, _ in told if name), None)
        if state.global_step in self.schedule.evals or state.global_step == state.max_steps:
            control.should_evaluate = control.should_save = True
        if self.stopped_by and state.global_step < state.max_steps:
            control.should_save = control.should_training_stop = True
        if any(due for _, due in told):
            control.should_save = True

    def _seconds_to_stop(self) -> float:
        """What one more step may take, and then a validation, a checkpoint and the end."""
        return 3 * self.slowest_step_s + 1.5 * self.slowest_pause_s + SECONDS_TO_END

    def on_evaluate(self, args, state, control, metrics=None, **kwargs):
        self.facts["validation_rows"]["losses"][str(state.global_step)] = self.trainer.row_losses()
        losses = [entry["eval_loss"] for entry in state.log_history if "eval_loss" in entry]
        since_best = len(losses) - 1 - losses.index(min(losses))
        if self.patience is not None and since_best >= self.patience:
            control.should_training_stop = True
            self.facts["stopped_early"] = True

    def on_save(self, args, state, control, **kwargs):
        trainer, folder = self.trainer, Path(args.output_dir)
        peaks = processes.gathered(peak_memory_bytes())  # from here on, all have written their part
        self.facts |= {
            "optimizer_bytes": optimizer_bytes(trainer.optimizer),
            "peak_memory_bytes": max(self.facts.get("peak_memory_bytes", 0), *peaks),
            "wall_s": round(trainer.wall_s, 3),
        }
        if processes.is_first():
            self._save_config(folder / f"checkpoint-{state.global_step}")
            checkpoints.seal(folder / f"checkpoint-{state.global_step}", self.facts)
            checkpoints.thin(folder, state.best_global_step)
        self.saved = time.monotonic()

    def _save_config(self, checkpoint: Path) -> None:
        """Save a classifier's config beside its adapter: names of the classes, padding. (A whole model has its config.)"""
        if self.trainer.collate.task != "sequence-classification" or (checkpoint / "config.json").exists():
            return
        config = copy.deepcopy(self.trainer.model.config)
        if hasattr(config, "quantization_config"):
            del config.quantization_config  # the base model is not stored quantized
        config.save_pretrained(checkpoint)


def peak_memory_bytes() -> int:
    """Most memory held so far: allocated on the GPU, or without one the process's resident memory."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB


def training_arguments(run: dict[str, Any], output_dir: Path, micro_batch: int) -> TrainingArguments:
    """transformers' TrainingArguments of a run. `micro_batch`: rows at a time in each process; accumulation makes up for what
    lacks to the configured batch."""
    ours = dict(run["training"])
    for key in OURS:
        del ours[key]
    checkpointing = ours.pop("activation_checkpointing")
    ours["gradient_accumulation_steps"] = rows_of_a_step(run) // (processes.count() * micro_batch)
    ours["per_device_train_batch_size"] = micro_batch
    ours["tf32"] = uses_tf32(run["training"])
    arguments = TrainingArguments(
        **ours,
        output_dir=str(output_dir),
        seed=run["seed"],
        activation_checkpointing=checkpointing,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
        remove_unused_columns=False,
        eval_strategy="no",  # Keeper decides when to validate and save
        save_strategy="steps",
        save_steps=10**9,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        logging_steps=1,
        logging_nan_inf_filter=False,
        ddp_find_unused_parameters=not checkpointing,  # an assembled model has some; recomputing cannot bear the search
        include_num_input_tokens_seen="non_padding",
        report_to="none",
        disable_tqdm=True,
    )
    if arguments._n_gpu > 1:
        arguments._n_gpu = 1  # one process trains on one GPU; more GPUs are more processes
    return arguments


def uses_tf32(training: dict[str, Any]) -> bool | None:
    """Whether float32 matrices are multiplied in TensorFloat-32; None without a GPU that can, where transformers takes no
    answer."""
    return training["tf32"] if torch.cuda.is_available() and is_torch_tf32_available() else None
