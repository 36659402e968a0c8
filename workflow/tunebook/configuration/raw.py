"""A config as it was read, of whatever a file may hold, before it is known to be right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

_YES = TypeAdapter(bool)


def mapping(raw: Mapping[str, Any], key: str) -> dict[str, Mapping[str, Any]]:
    """A section's entries that are mappings; anything else is pydantic's to report."""
    return {str(name): value for name, value in section_of(raw, key).items() if isinstance(value, Mapping)}


def section_of(raw: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    section = raw.get(key)
    return section if isinstance(section, Mapping) else {}


def true(value: Any) -> bool:
    """Whether a value says yes, in any of the ways that the config accepts."""
    try:
        return _YES.validate_python(value)
    except ValidationError:
        return False


def twice(values: Any) -> list[str]:
    """What stands more than once in a list; a list of whatever a file may hold."""
    words = [_word(value) for value in values] if isinstance(values, list) else []
    return [word for index, word in enumerate(words) if word in words[:index]]


def _word(value: Any) -> str:
    """A value as text; true, 1 and 1.0 are the same number to the config."""
    whole = isinstance(value, bool) or (isinstance(value, float) and value.is_integer())
    return str(int(value)) if whole else str(value)
