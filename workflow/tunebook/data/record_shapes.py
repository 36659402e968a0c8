"""Shapes in which JSON, YAML and Python hold records: a list, one list a column, one mapping a column, nested lists."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tunebook.errors import TunebookError

SPLIT_KEYS = {"columns", "index", "data"}  # pandas' to_json(orient="split")
DEEPEST = 4  # lists within lists that a message proposes as format.key
PROPOSED = 5  # of them at most


def records_in(file: str, value: Any, key: str | None) -> list[Any]:
    """The list of records in a value that was read from `file`.

    `key`: where it is, or None if it is the whole value. A key may be a path, `data.paragraphs.qas`: lists on the way are
    walked through, and a record has the other fields of what it stands in. Besides a list of records the shapes are
    taken that pandas' and datasets' `to_json` and `to_dict` write. Raises TunebookError for what is none of them.
    """
    found = value if key is None else _below(file, value, key)
    if isinstance(found, list | tuple):
        return list(found)
    records = _records_of_mapping(file, found) if isinstance(found, dict) else None
    if records is None:
        raise TunebookError(
            f"{file}: found {_described(found)} where a list of records is expected; {_advice(found, key)}"
        )
    return records


def _below(file: str, value: Any, key: str) -> Any:
    if isinstance(value, dict) and key in value:
        return value[key]
    return list(_walk(file, value, key.split("."), {}))


def _walk(file: str, value: Any, steps: list[str], above: dict[str, Any]) -> Iterator[Any]:
    """Records at the end of a path. `above`: the fields of what they stand in."""
    parts = value if isinstance(value, list | tuple) else [value]
    if not steps:
        yield from ({**above, **part} if isinstance(part, dict) else part for part in parts)
        return
    for part in parts:
        if not isinstance(part, dict) or steps[0] not in part:
            keys = ", ".join(map(str, part)) if isinstance(part, dict) else type(part).__name__
            raise TunebookError(f"{file}: no key {steps[0]!r}; found: {keys}")
        beside = {str(name): field for name, field in part.items() if name != steps[0]}
        yield from _walk(file, part[steps[0]], steps[1:], above | beside)


def _records_of_mapping(file: str, value: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Records of a mapping whose shape tells columns from rows; None where it does not."""
    fields = list(value.values())
    if set(value) <= SPLIT_KEYS and {"columns", "data"} <= set(value):
        return [_paired(file, number, value["columns"], row) for number, row in enumerate(value["data"], start=1)]
    if not fields:
        return None
    if all(isinstance(field, list) and field for field in fields) and not all(
        _holds_mappings(field) for field in fields
    ):
        lengths = {str(name): len(field) for name, field in value.items()}
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise TunebookError(
                f"{file}: found one list a column, but of different lengths ({listed}); each row needs all"
            )
        return [dict(zip(value, row, strict=True)) for row in zip(*fields, strict=True)]
    if all(isinstance(field, dict) and field and set(field) == set(fields[0]) for field in fields):
        inner, outer = list(fields[0]), list(value)
        if _are_numbers(inner) or (not _are_numbers(outer) and len(inner) > len(outer)):
            return [{name: value[name][row] for name in outer} for row in inner]
        if _are_numbers(outer) or len(outer) > len(inner):
            return fields
    return None


def _paired(file: str, number: int, columns: list[Any], row: list[Any]) -> dict[str, Any]:
    if len(columns) != len(row):
        raise TunebookError(f"{file}, row {number}: expected {len(columns)} fields (found {len(row)} fields)")
    return dict(zip(map(str, columns), row, strict=True))


def _holds_mappings(field: list[Any]) -> bool:
    return all(isinstance(part, dict) for part in field)


def _are_numbers(names: list[Any]) -> bool:
    return all(str(name).isdigit() for name in names)


def _described(value: Any) -> str:
    if not isinstance(value, dict):
        return type(value).__name__
    return f"a mapping with {', '.join(map(str, list(value)[:8]))}" if value else "an empty mapping"


def _advice(value: Any, key: str | None) -> str:
    """Where a list of records would be found."""
    prefix = f"{key}." if key else ""
    places = [f"{prefix}{path} ({held})" for path, held in _lists(value, DEEPEST)][:PROPOSED]
    if places:
        return f"set format.key to one of: {'; '.join(places)}"
    return "write the records as a list, [{...}, {...}]"


def _lists(value: Any, deepest: int) -> Iterator[tuple[str, str]]:
    """Paths of lists in a mapping, and what their first record holds."""
    if not isinstance(value, dict) or not deepest:
        return
    for name, field in value.items():
        if isinstance(field, list):
            first = field[0] if field else None
            held = ", ".join(map(str, list(first)[:6])) if isinstance(first, dict) else f"{len(field)} entries"
            yield str(name), held
            yield from ((f"{name}.{path}", held) for path, held in _lists(first, deepest - 1))
        elif isinstance(field, dict):
            yield from ((f"{name}.{path}", held) for path, held in _lists(field, deepest - 1))
