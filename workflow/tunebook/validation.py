"""Validation of a config: everything that is wrong with it, at once, in words that say how to mend it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from tunebook.config import Study
from tunebook.cross_checks import cross_problems
from tunebook.errors import TunebookError
from tunebook.wording import sentence, shown


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
    study = None
    try:
        study = Study.model_validate(dict(raw))
    except ValidationError as error:
        problems += [sentence(detail) for detail in error.errors()]
    problems += cross_problems(raw)
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    return study


def _repeated_keys(file: Path) -> Iterator[str]:
    """Keys that stand twice in one mapping of a YAML file, with their lines."""
    try:
        root = yaml.compose(Path(file).read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        yield f"{file}: not readable as YAML: {' '.join(str(error).split())}"
        return
    stack = [("", root)]
    while stack:
        path, node = stack.pop()
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
