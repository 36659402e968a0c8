"""The config file: its vocabulary, types, ranges and defaults. Each default of the project stands here and nowhere else.

`workflow/schemas/config.schema.json` is generated from these classes; `config/README.md` explains each key.
Training arguments keep the names of transformers' TrainingArguments, adapters those of peft's LoraConfig.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    computed_field,
    field_serializer,
    model_validator,
)

from tunebook.configuration.dataset_fields import LabelNames, SizeOrFiles, Text
from tunebook.configuration.styles import Style, styled
from tunebook.data.rows import LEARN, Learn

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
HubId = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?$")
]
Commit = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{7,40}$")]
RESERVED_METHOD = "base"  # the run that trains nothing
Task = Literal["causal-lm", "seq2seq-lm", "sequence-classification"]


class Section(BaseModel):
    """A part of the config: unknown keys are refused, values do not change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())


class Wheel(Section):
    """A package on the Python index: downloaded at an exact version, unpacked, never imported."""

    type: Literal["wheel"]
    package: Text = Field(description="name of the package on the index")
    version: Text = Field(description="exact version")
    sha256: Sha256 = Field(description="SHA-256 of the wheel file")
    file: Text = Field(description="what to take out of the wheel: a file, a folder/ or, for data, a pattern with *")


class LocalPath(Section):
    """Files on this machine."""

    type: Literal["path"]
    path: Text = Field(description="a file, a folder (models) or, for data, a pattern with *")
    sha256: Sha256 | None = Field(None, description="SHA-256 of the file, checked when given")


class HubModel(Section):
    """A model of the Hugging Face hub at one commit: config, tokenizer and weights, and no code."""

    type: Literal["hub"]
    id: HubId = Field(description="owner/name, or a name alone")
    revision: Commit = Field(
        description="commit id, 40 hexadecimal digits; where no more is known, its first 7 or more"
    )


class HubDataset(HubModel):
    """Files of a data set of the Hugging Face hub at one commit. Loading scripts are never run."""

    files: Text = Field(description="which of its files: a file, a folder/ or a pattern with *")


class RandomModel(Section):
    """A real architecture with random weights and a byte-level tokenizer: to rehearse what a study costs."""

    type: Literal["random"]
    architecture: Text = Field(description="one that Tunebook ships, or a JSON file of the same form")
    seed: int = Field(0, ge=0, description="the weights' seed")


class Generated(Section):
    """Synthetic data written by the project's own seeded generators."""

    type: Literal["generated"]
    generator: Literal["financial-statements", "clinical-vignettes"]
    rows: int = Field(ge=10, le=100_000, description="number of rows")
    seed: int = Field(0, ge=0, description="the generator's seed")


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


class Format(Section):
    """How the rows stand in the source's files. Generated data needs none."""

    type: Literal["csv", "tsv", "json", "jsonl", "parquet", "arrow", "xlsx", "delimited", "yaml", "python", "text"]
    encoding: Text = Field("utf-8", description="encoding of text files, such as utf-8 or latin-1")
    delimiter: Text | None = Field(None, description="delimited: what stands between two fields, such as @")
    quoting: Literal["minimal", "none"] | None = Field(
        None,
        description="csv, tsv: minimal: a quoted field may run over lines; none: quotation marks are text; null: as minimal, "
        "but refused where both could be meant",
    )
    names: tuple[Text, ...] = Field(
        (), description="names of the fields, in order: of records that are lists, or of a csv without a line of names"
    )
    key: Text | None = Field(
        None,
        description="json, yaml: key of the list of records, or the path to it; python: name of the variable; xlsx: of the sheet",
    )
    documents: Literal["file", "blank-line"] = Field(
        "file", description="text: a document is a whole file, or what stands between blank lines; its column is text"
    )
    style: Style | None = Field(
        None, description="a widely used form of rows, which says where prompt, completion or messages are"
    )


class Split(Section):
    """Held-out rows: a share of the rows if below 1, a number of rows, or the source's files that hold them."""

    validation: SizeOrFiles = Field(0.1, description="rows that training is validated on: share, number or files")
    test: SizeOrFiles = Field(0.1, description="rows of the final evaluation: share, number or files")
    train: SizeOrFiles | None = Field(
        None, description="share or number of the remaining rows that training sees, or files; null: all"
    )
    column: Text | None = Field(
        None, description="column that names a row's split: train, validation (val, dev) or test"
    )
    drop_copies: bool = Field(False, description="of splits that are given, drop training rows that copy another row")
    seed: int = Field(0, ge=0, description="seed of the shuffle")


class Dataset(Section):
    """A data set: source, columns, prompt template, cleaning and split."""

    source: Annotated[Wheel | HubDataset | LocalPath | Generated, Field(discriminator="type")]
    format: Format | None = Field(None, description="how the rows stand in the files")
    columns: dict[Name, Text] = Field(
        {}, description="new name -> the source's column, where a template wants another name"
    )
    prompt: Text | None = Field(None, description="Jinja template of the prompt")
    completion: Text | None = Field(None, description="Jinja template of what the model shall answer")
    text: Text | None = Field(None, description="Jinja template of a text without a prompt: all of it is learnt")
    messages: Text | None = Field(
        None,
        description="column with a conversation: a list of {role, content}, of {from, value}, or of texts in pairs",
    )
    long_texts: Literal["cut", "blocks"] = Field(
        "cut", description="text: what is longer than max_length is cut off, or learnt in blocks of max_length"
    )
    learn: Learn = Field(LEARN, description="messages: learn every turn of the assistant, or the last one only")
    label: Text | None = Field(
        None, description="column with the row's label, or a Jinja template that makes it of columns"
    )
    labels: LabelNames = Field(
        {}, description="the labels there are, or a mapping: what the rows hold -> the label that stands for it"
    )
    normalise_labels: bool = Field(False, description="take labels in another case or with other spaces as the same")
    rows: int | None = Field(None, ge=10, description="rows it is expected to have, for rehearse only")
    tolerance: float = Field(0.0, ge=0, lt=1, description="share of refused rows above which preparing stops")
    near_duplicate_threshold: float = Field(
        0.8, gt=0, le=1, description="character 5-gram Jaccard similarity from which two rows count as copies"
    )
    max_dropped: float = Field(
        0.3, ge=0, le=1, description="share of dropped rows (refused, copies, near-copies) above which preparing stops"
    )
    split: Split = Split()
    licence: Text = Field(description="licence of the data")
    note: str = Field("", description="what a reader of the report must know about this data set")
    caution: str = Field(
        "", description="a warning that the report and model cards print beside what was trained on it"
    )

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels, each once, in the order of the config."""
        return tuple(dict.fromkeys(self.labels.values()))

    @computed_field
    @property
    def label_values(self) -> dict[str, str]:
        """What the rows hold -> label."""
        return self.labels

    @field_serializer("labels")
    def _names(self, _: dict[str, str]) -> tuple[str, ...]:
        return self.label_names

    @computed_field
    @property
    def style(self) -> Style | None:
        """What preparing needs to know of the format."""
        return self.format.style if self.format else None

    @model_validator(mode="before")
    @classmethod
    def _style_filled_in(cls, values: Any) -> Any:
        return styled(values) if isinstance(values, Mapping) else values


class Lora(Section):
    """Adapter arguments, named as peft's LoraConfig."""

    r: int = Field(16, ge=1, le=1024, description="rank")
    lora_alpha: float = Field(32, gt=0, description="scale: the update counts lora_alpha / r times")
    lora_dropout: float = Field(0.05, ge=0, lt=1)
    target_modules: Literal["all-linear"] | tuple[Text, ...] = Field(
        "all-linear", description="modules that get an adapter"
    )
    target_parameters: tuple[Text, ...] = Field(
        (),
        description="parameters outside of layers that get an adapter, such as experts.gate_up_proj; lora_dropout must be 0",
    )
    bias: Literal["none", "all", "lora_only"] = "none"
    modules_to_save: tuple[Text, ...] = Field((), description="modules that are trained whole, beside the adapter")


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
    adapter: Literal["lora"] | None = Field(None, description="null trains every weight")


class PublishedLoss(Section):
    """A line of a published loss table; null where nothing was published."""

    epoch: float = Field(ge=0)
    training_loss: float | None = Field(None, ge=0)
    validation_loss: float | None = Field(None, ge=0)


class PublishedRows(Section):
    """How the rows were split that published figures are of."""

    train: int = Field(ge=1)
    validation: int = Field(ge=1)


class Published(Section):
    """Figures that somebody published for a like experiment, to stand beside ours.

    Model, data, rows and loss_over are held against this study's own; where model or data differ, nothing is comparable.
    """

    source: Text = Field(description="where the figures are from")
    model: Text = Field(description="which model they are of: its id, where it has one")
    dataset: Text = Field(description="which data they are of: the id, or the name without an owner")
    rows: PublishedRows | None = Field(None, description="how those rows were split; null: not known")
    loss_over: Literal["tokens", "batches"] | None = Field(
        None, description="what the validation loss is a mean over; null: not known"
    )
    comparable: bool = Field(
        description="whether the two may be compared; false where a difference is known that no record shows"
    )
    why: Text = Field(description="why they may, or may not, be compared")
    inferred: dict[Literal["model", "dataset", "rows", "loss_over", "epochs"], Text] = Field(
        {}, description="what the source does not state itself -> what it was inferred from"
    )
    margin: float = Field(0.1, gt=0, lt=1, description="losses count as equal within this share of the published one")
    losses: tuple[PublishedLoss, ...]


class Overrides(Section):
    """What one method does otherwise than its experiment."""

    training: dict[str, Any] = Field({}, description="training arguments that this method changes")
    adapter: dict[str, Any] = Field({}, description="adapter arguments that this method changes")


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
    adapter: Lora = Lora()
    overrides: dict[Name, Overrides] = Field({}, description="method -> what it does otherwise")
    generation: Generation = Generation()
    prompts: tuple[Text, ...] = Field((), description="prompts that every run answers")
    few_shot: FewShot = Field(
        (),
        description="training rows shown to the untouched model before each test row, as a baseline: a number or several, each "
        "scored with several draws of rows",
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
