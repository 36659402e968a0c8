"""Data sets of the config: how rows stand in files, which templates make examples of them, how they are split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, computed_field, field_serializer, model_validator

from tunebook.configuration.dataset_fields import LabelNames, SizeOrFiles
from tunebook.configuration.section import Name, Section, Text
from tunebook.configuration.sources import Generated, HubDataset, LocalPath, Wheel
from tunebook.configuration.styles import Style, styled
from tunebook.data.rows import LEARN, Learn


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
