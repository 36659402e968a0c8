"""Stage `schema`: the config's JSON schema, for editors."""

from __future__ import annotations

import argparse
import json

from tunebook.configuration.config import Study


def schema_text() -> str:
    """The text of workflow/schemas/config.schema.json."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Study.model_json_schema()}
    return json.dumps(schema, indent=2) + "\n"


def arguments(parser: argparse.ArgumentParser) -> None:
    """No arguments: the schema goes to standard output."""


def main(args: argparse.Namespace) -> None:
    print(schema_text(), end="")
