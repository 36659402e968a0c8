"""Keys of other tools and of other sections, and what stands for them here: TrainingArguments, TRL, LLaMA-Factory, Axolotl, peft.

A reader of an error should not have to look for the key: the table says where it is, or why there is none.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

TRAINING, ADAPTER, METHOD = "experiments.NAME.training", "experiments.NAME.adapter", "methods.NAME"
DATASET, MODEL, GENERATION = "datasets.NAME", "models.NAME", "experiments.NAME.generation"
EVALUATIONS = f"{TRAINING}.evals_per_epoch"
GREEDY = "answers are decoded greedily, so that runs can be compared"
CHECKPOINTS = "a checkpoint is written at each validation, and the one of the lowest validation loss is kept"

# key elsewhere -> the key here
NAMES = {
    "lr": f"{TRAINING}.learning_rate",
    "batch_size": f"{TRAINING}.per_device_train_batch_size",
    "micro_batch_size": f"{TRAINING}.per_device_train_batch_size",
    "train_batch_size": f"{TRAINING}.per_device_train_batch_size",
    "eval_batch_size": f"{TRAINING}.per_device_eval_batch_size",
    "epochs": f"{TRAINING}.num_train_epochs",
    "num_epochs": f"{TRAINING}.num_train_epochs",
    "seed": "experiments.NAME.seeds",
    "data_seed": "experiments.NAME.seeds",
    "eval_steps": EVALUATIONS,
    "eval_strategy": EVALUATIONS,
    "evaluation_strategy": EVALUATIONS,
    "warmup_ratio": f"{TRAINING}.warmup_steps",
    "optimizer": f"{TRAINING}.optim",
    "scheduler": f"{TRAINING}.lr_scheduler_type",
    "lr_scheduler": f"{TRAINING}.lr_scheduler_type",
    "gradient_clipping": f"{TRAINING}.max_grad_norm",
    "gradient_checkpointing": f"{TRAINING}.activation_checkpointing",
    "max_seq_length": f"{TRAINING}.max_length",
    "max_seq_len": f"{TRAINING}.max_length",
    "model_max_length": f"{TRAINING}.max_length",
    "sequence_len": f"{TRAINING}.max_length",
    "cutoff_len": f"{TRAINING}.max_length",
    "sample_packing": f"{TRAINING}.packing",
    "lora_r": f"{ADAPTER}.r",
    "lora_rank": f"{ADAPTER}.r",
    "rank": f"{ADAPTER}.r",
    "lora_target": f"{ADAPTER}.target_modules",
    "lora_target_modules": f"{ADAPTER}.target_modules",
    "lora_modules_to_save": f"{ADAPTER}.modules_to_save",
    "load_in_8bit": f"{METHOD}.quantization",
    "load_in_4bit": f"{METHOD}.quantization",
    "quantization_bit": f"{METHOD}.quantization",
    "bnb_4bit_quant_type": f"{METHOD}.quantization",
    "finetuning_type": f"{METHOD}.adapter",
    "peft_type": f"{METHOD}.adapter",
    "val_set_size": f"{DATASET}.split.validation",
    "val_size": f"{DATASET}.split.validation",
    "test_size": f"{DATASET}.split.test",
    "dataset_name": f"{DATASET}.source",
    "dataset_text_field": f"{DATASET}.text",
    "model_name": f"{MODEL}.source",
    "model_name_or_path": f"{MODEL}.source",
    "base_model": f"{MODEL}.source",
    "torch_dtype": f"{MODEL}.dtype",
    "flash_attn": f"{MODEL}.attn_implementation",
    "flash_attention": f"{MODEL}.attn_implementation",
    "output_dir": "study",
    "num_gpus": "experiments.NAME.gpus",
}
NOTES = {  # what to know of a key that means something else here
    "seed": "a list, one run a seed",
    "data_seed": "a list, one run a seed",
    "eval_steps": "validations are counted by epoch",
    "eval_strategy": "validations are counted by epoch",
    "evaluation_strategy": "validations are counted by epoch",
    "warmup_ratio": "a value below 1 is a share of the steps",
    "load_in_8bit": "int8",
    "load_in_4bit": "nf4",
    "quantization_bit": "int8 or nf4",
    "output_dir": "results are below results/STUDY",
}
# key elsewhere -> why there is none here
ABSENT = {
    "logging_steps": "every step is logged, in history.csv",
    "logging_strategy": "every step is logged, in history.csv",
    "logging_dir": "every step is logged, in history.csv",
    "report_to": "curves for TensorBoard are written beside each run",
    "save_steps": CHECKPOINTS,
    "save_strategy": CHECKPOINTS,
    "save_total_limit": CHECKPOINTS,
    "load_best_model_at_end": CHECKPOINTS,
    "resume_from_checkpoint": "a run that was stopped resumes by itself",
    "do_sample": GREEDY,
    "temperature": GREEDY,
    "top_p": GREEDY,
    "top_k": GREEDY,
    "num_beams": GREEDY,
    "train_on_inputs": "completions are learnt and prompts are not; of a data set with text, all is learnt",
    "trust_remote_code": "no code of a model or a data set is run",
    "push_to_hub": "each run's model card has the commands that upload it",
    "deepspeed": "a run trains on one GPU, or on several of one machine that hold the whole model each (gpus)",
    "fsdp": "a run trains on one GPU, or on several of one machine that hold the whole model each (gpus)",
}


def known_elsewhere(key: str, path: str, root: type[BaseModel]) -> str:
    """`; here it is ...` for a key of another tool or of another section, else nothing. Args: path: where the key was found."""
    if key in NAMES:
        note = f", {NOTES[key]}" if key in NOTES else ""
        return f"; here it is {NAMES[key]}{note}"
    if key in ABSENT:
        return f"; there is no such key here: {ABSENT[key]}"
    found = [place for place in places(root) if place.rpartition(".")[2] == key]
    if len(found) == 1 and not _same_place(found[0], path):
        return f"; this key belongs to {found[0].rpartition('.')[0] or 'the top of the file'}"
    return ""


def _same_place(place: str, path: str) -> bool:
    """Whether a path of the file is this place, names as they are."""
    parts, found = place.split("."), path.split(".")
    return len(parts) == len(found) and all(one in ("NAME", other) for one, other in zip(parts, found, strict=True))


def places(section: Any, path: str = "") -> Iterator[str]:
    """The paths of all keys, NAME where the file has a name of its own."""
    for name, field in section.model_fields.items():
        yield f"{path}{name}"
        for inner, entry in _sections(field.annotation):
            yield from places(inner, f"{path}{name}.{'NAME.' if entry else ''}")


def _sections(annotation: Any, entry: bool = False) -> Iterator[tuple[type[BaseModel], bool]]:
    """The sections that a key may hold, and whether they stand under names."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, entry
        return
    named = typing.get_origin(annotation) is dict
    for argument in typing.get_args(annotation):
        if isinstance(argument, type) or typing.get_args(argument):
            yield from _sections(argument, entry or named)
