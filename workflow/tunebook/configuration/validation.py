"""Validation of a config: everything that is wrong with it, at once, in words that say how to mend it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from tunebook.configuration.config import Study
from tunebook.configuration.cross_checks import cross_problems
from tunebook.configuration.wording import sentences, shown
from tunebook.data.labels import label_text
from tunebook.errors import TunebookError

LABELS = re.compile(r"datasets\..*\.labels")  # where keys may be numbers and truth values: what the rows hold
LARGEST = 2**63  # no number of a config is as large as this
MOST_VALUES = 100_000  # aliases written out: ten levels of ten are 10^10 values in a file of a hundred lines
DEEPEST = 50  # levels of nesting


class ConfigError(TunebookError):
    """All that is wrong with a config: one line a problem."""

    def __init__(self, problems: list[str]) -> None:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"the config has {count}; nothing was run\n" + "\n".join(f"  - {line}" for line in problems))
        self.problems = problems


def validate(raw: Any, files: list[Path] = ()) -> Study:
    """Turn a raw config into a `Study`.

    `raw`: what the YAML said. `files`: the YAML files it came from, read again for keys that stand twice (a YAML
    reader keeps the last of them and says nothing). Raises ConfigError with all problems.
    """
    problems = [line for file in files for line in _repeated_keys(file)]
    if not isinstance(raw, Mapping) or not raw:
        raise ConfigError([*problems, f"(top): found {shown(raw)}; expected a mapping with study, models, ..."])
    plain = _plain(raw, "", (), problems, values=iter(range(MOST_VALUES)))
    study = None
    try:
        study = Study.model_validate(plain)
    except ValidationError as error:
        problems += sentences(error.errors())
    problems += cross_problems(plain)
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    return study


def _plain(value: Any, path: str, above: tuple[int, ...], problems: list[str], values: Iterator[int]) -> Any:
    """A copy of `value` with nothing that JSON could not hold. What YAML can say beyond it (dates, sets, keys that are
    not text, a part that contains itself) is added to `problems`. `above`: ids of the values that hold this one; `values`: ends
    where there are too many of them."""
    if next(values, None) is None or len(above) > DEEPEST:
        raise ConfigError(
            [
                f"{path[:100]}: found more than {MOST_VALUES} values, or more than {DEEPEST} levels, with aliases written out; no "
                "study has as many: write it without them"
            ]
        )
    if id(value) in above:
        problems.append(f"{path}: found an alias of a part that it stands in; write the part out")
        return None
    above = (*above, id(value))
    if isinstance(value, Mapping):
        return {
            _key(key, path, problems): _plain(each, _at(path, key), above, problems, values)
            for key, each in value.items()
        }
    if isinstance(value, list | tuple):
        return [_plain(each, _at(path, index), above, problems, values) for index, each in enumerate(value)]
    if isinstance(value, int) and not -LARGEST < value < LARGEST:
        problems.append(f"{path}: found a number of {value.bit_length()} bits; write a smaller one")
        return None
    if isinstance(value, str) and not _is_unicode(value):
        problems.append(f"{path}: found {value!a}, which has half of a surrogate pair; write the whole character")
        return None
    if value is None or isinstance(value, str | bool | int | float):
        return value
    problems.append(f"{path}: found {shown(value)}, which YAML reads as {type(value).__name__}; write it in quotes")
    return str(value)


def _is_unicode(text: str) -> bool:
    return not any(0xD800 <= ord(letter) <= 0xDFFF for letter in text)


def _key(key: Any, path: str, problems: list[str]) -> str:
    if LABELS.fullmatch(path) and isinstance(key, bool | int | float):
        return label_text(key)
    if not isinstance(key, str):
        problems.append(f"{_at(path, key)}: found the key {_text(key)}, which is no text; write it in quotes")
    return _text(key)


def _at(path: str, key: Any) -> str:
    return f"{path}.{_text(key)}".lstrip(".")


def _text(key: Any) -> str:
    return hex(key) if isinstance(key, int) and not -LARGEST < key < LARGEST else str(key)


def _repeated_keys(file: Path) -> Iterator[str]:
    """Keys that stand twice in one mapping of a YAML file, with their lines."""
    try:
        root = yaml.compose(Path(file).read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        yield f"{file}: not readable as YAML: {' '.join(str(error).split())}"
        return
    stack, seen = [("", root)], set()
    while stack:
        path, node = stack.pop()
        if id(node) in seen:  # an alias: its keys are looked at where they are written
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            lines: dict[str, int] = {}
            for key, value in node.value:
                name = f"{path}.{key.value}".lstrip(".")
                line = key.start_mark.line + 1
                if name in lines:
                    yield f"{name}: stands twice ({file}, lines {lines[name]} and {line}); names are used once"
                lines.setdefault(name, line)
                stack.append((name, value))
        elif isinstance(node, yaml.SequenceNode):
            stack += [(f"{path}.{index}", value) for index, value in enumerate(node.value)]
