"""Figures that somebody published, to stand beside a study's own."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tunebook.configuration.section import Section, Text


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
