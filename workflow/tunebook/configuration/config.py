"""The config file: its vocabulary, types, ranges and defaults. Each default of the project stands here and nowhere else.

`workflow/schemas/config.schema.json` is generated from these classes; `config/README.md` explains each key.
Training arguments keep the names of transformers' TrainingArguments, adapters (adapters.py) those of peft.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from tunebook.configuration.adapters import AdapterKind, Lora
from tunebook.configuration.datasets import Dataset
from tunebook.configuration.published import Published
from tunebook.configuration.search import Search, Space
from tunebook.configuration.section import Name, Section, Text
from tunebook.configuration.sources import HubModel, LocalPath, RandomModel, Wheel

RESERVED_METHOD = "base"  # the run that trains nothing
Task = Literal["causal-lm", "seq2seq-lm", "sequence-classification"]


class Model(Section):
    """A pretrained model: where it comes from and which task head it gets."""

    task: Task = Field(description="task head")
    source: Annotated[Wheel | HubModel | LocalPath | RandomModel, Field(discriminator="type")]
    architecture: Text | None = Field(
        None, description="its architecture, for estimate and rehearse: one that Tunebook ships, or a JSON file"
    )
    download_bytes: int | None = Field(
        None, ge=1, description="size of the download, for estimate; null: what the architecture's weights take"
    )
    encoder_decoder: bool = Field(
        False,
        description="assemble a seq2seq model from two copies of an encoder; the decoder's cross-attention is new and untrained",
    )
    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="precision of unquantized weights")
    attn_implementation: Literal["eager", "sdpa", "flash_attention_2"] | None = Field(
        None, description="how attention is computed; null: what transformers takes for the model"
    )
    chat_template: bool = Field(
        True,
        description="put prompts into the tokenizer's chat template, if it has one (rows with text have no prompt)",
    )
    system_prompt: str | None = Field(
        None, description="the system message of conversations that have none; null: the template's own"
    )
    template_date: date | None = Field(
        None, description="the day that a chat template is told is today, where it writes the date"
    )
    skip_modules: tuple[Annotated[str, Field(pattern=r"^[\w.]+$")], ...] = Field(
        (),
        description="layers that quantization leaves alone, beside the output layer: starts of their paths up to a dot, or ends "
        "(bitsandbytes' llm_int8_skip_modules)",
    )
    licence: Text = Field(description="licence of the weights")
    note: str = Field("", description="what a reader of the report must know about this model")


class Training(Section):
    """Training arguments, named as transformers' TrainingArguments; the last eight are this project's own."""

    learning_rate: float = Field(2e-4, gt=0, le=1)
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup", "polynomial"] = "linear"
    warmup_steps: float = Field(0, ge=0, description="steps of warmup, or their share if below 1")
    weight_decay: float = Field(0.0, ge=0, le=1)
    max_grad_norm: float = Field(1.0, gt=0, description="gradients are clipped to this norm")
    optim: Literal["adamw_torch", "adamw_torch_fused", "adafactor", "sgd", "adamw_8bit", "paged_adamw_8bit"] = (
        "adamw_torch"
    )
    num_train_epochs: float = Field(3, gt=0, le=1000)
    max_steps: int = Field(-1, ge=-1, description="optimizer steps; -1 or 0: as many as the epochs have")
    per_device_train_batch_size: int = Field(8, ge=1, le=4096)
    gradient_accumulation_steps: int = Field(1, ge=1, le=4096)
    per_device_eval_batch_size: int = Field(16, ge=1, le=4096)
    tf32: bool = Field(True, description="on a GPU that can, multiply float32 matrices in TensorFloat-32")
    bf16: bool = Field(False, description="mixed precision with bfloat16")
    fp16: bool = Field(False, description="mixed precision with float16")
    activation_checkpointing: bool = Field(False, description="recompute activations: less memory, more time")
    packing: Literal["auto", "never"] = Field(
        "auto", description="auto: rows of a step lie side by side, not padded, where the model keeps them apart"
    )
    dropout: float | None = Field(
        None, ge=0, lt=1, description="dropout of the model itself; null: as the model has it"
    )
    max_length: int = Field(512, ge=8, le=131_072, description="tokens; longer inputs are cut, and counted")
    max_target_length: int = Field(128, ge=1, le=131_072, description="seq2seq: tokens of the target")
    evals_per_epoch: int = Field(
        4, ge=1, le=100, description="validations within an epoch, the one at its end included"
    )
    max_validation_rows: int | None = Field(None, ge=1, description="validate on the first so many rows; null: all")
    early_stopping_patience: int | None = Field(
        None, ge=1, description="validations without a better loss before a stop"
    )


class Generation(Section):
    """How answers are made. Decoding is greedy."""

    max_new_tokens: int = Field(48, ge=1, le=4096)
    batch_size: int = Field(16, ge=1, le=1024, description="prompts answered together")
    heldout_samples: int = Field(
        3, ge=0, le=100, description="held-out rows to show, of each label if there are labels"
    )
    scored_rows: int = Field(
        0, ge=0, le=10_000, description="further held-out rows to answer, for narrower metrics of answers; not shown"
    )

    memorisation_rows: int = Field(
        0,
        ge=0,
        le=10_000,
        description="causal-lm: rows of training and of test to be completed verbatim; 0: not measured",
    )


class Method(Section):
    """How weights change: quantization + adapter."""

    quantization: Literal["int8", "nf4"] | None = Field(
        None, description="bitsandbytes' 8-bit or 4-bit NormalFloat weights"
    )
    adapter: AdapterKind | None = Field(
        None, description="kind of adapter; null: none, the model's own weights are trained"
    )
    train: Literal["all", "biases", "head"] = Field(
        "all", description="without an adapter: which of the model's weights are trained"
    )
    arguments: dict[str, Any] = Field({}, description="adapter arguments of this method, in every experiment")


class Overrides(Section):
    """What one method does otherwise than its experiment."""

    training: dict[str, Any] = Field({}, description="training arguments that this method changes")
    adapter: dict[str, Any] = Field({}, description="adapter arguments that this method changes")
    search: Space = Field(Space(), description="ranges and lists of the search that this method changes or adds")


def _counts(value: Any) -> Any:
    """One number of examples as a list of it; 0 asks for none."""
    return value if isinstance(value, bool) or not isinstance(value, int) else [value] if value else []


FewShot = Annotated[
    tuple[Annotated[int, Field(ge=1, le=100)], ...],
    BeforeValidator(
        _counts,
        json_schema_input_type=Annotated[int, Field(ge=0, le=100)] | tuple[Annotated[int, Field(ge=1, le=100)], ...],
    ),
]


def _one_group(pattern: str) -> str:
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"expected a regular expression ({error})") from None
    if groups != 1:
        raise ValueError(f"expected one group, (...), which finds the term; this has {groups}")
    return pattern


KeyTerm = Annotated[Text, AfterValidator(_one_group)]


class Experiment(Section):
    """Data set x model x training arguments x prompts, with the methods to compare."""

    title: Text
    description: str = ""
    dataset: Name
    model: Name
    methods: tuple[Name, ...] = Field(min_length=1, description="methods to compare; base is always there")
    gpus: int = Field(1, ge=1, le=64, description="GPUs of one machine that train a run together")
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**32)], ...] = Field((0,), min_length=1, description="one run a seed")
    training: Training = Training()
    adapter: Lora = Field(
        Lora(), description="arguments of its LoRA methods; names of modules hold for other kinds of adapter too"
    )
    overrides: dict[Name, Overrides] = Field({}, description="method -> what it does otherwise")
    search: Search | None = Field(
        None,
        description="try values of arguments, alike for each method, and train with those of the lowest validation loss",
    )
    generation: Generation = Generation()
    prompts: tuple[Text, ...] = Field((), description="prompts that every run answers")
    key_term: KeyTerm | None = Field(
        None,
        description="a regular expression with one group, which finds the key term of a reference, such as the diagnosis; an answer "
        "is right where it has that term too",
    )
    few_shot: FewShot = Field(
        (),
        description="training rows shown to the untouched model before each test row, as a baseline: a number or several, each "
        "scored with several draws of rows",
    )
    smallest_relevant_difference: float = Field(
        0.02,
        ge=0,
        description="nats a token: a smaller difference in loss is called too small to matter, and methods so close count as "
        "equally good",
    )
    mends: Name | None = Field(
        None, description="an experiment that this one does better; the report sets them side by side"
    )
    published: Published | None = None


class Study(Section):
    """One config file -> one report."""

    study: Name = Field(description="the study's name: its folder below results/")
    title: Text
    description: str = ""
    models: dict[Name, Model] = Field(min_length=1)
    datasets: dict[Name, Dataset] = Field(min_length=1)
    methods: dict[Name, Method] = Field(
        {
            "full": Method(),
            "lora": Method(adapter="lora"),
            "int8-lora": Method(quantization="int8", adapter="lora"),
            "qlora": Method(quantization="nf4", adapter="lora"),
        },
        description="method -> quantization and adapter; `base`, which trains nothing, is always there",
    )
    experiments: dict[Name, Experiment] = Field(min_length=1)
