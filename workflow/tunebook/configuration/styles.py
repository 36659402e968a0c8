"""Short names for forms of data that are widely used: which columns hold the prompt, the completion or the messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Style = Literal["turns", "messages", "sharegpt", "alpaca", "prompt-completion", "question-answer"]
STYLES: dict[str, dict[str, str]] = {  # style -> what it says of a data set
    "turns": {},  # plain texts, the user first; the column is that of format.names
    "messages": {"messages": "messages"},
    "sharegpt": {"messages": "conversations"},
    "alpaca": {
        "prompt": "{{ instruction }}{% if input %}\n\n{{ input }}{% endif %}",
        "completion": "{{ output }}",
    },
    "prompt-completion": {"prompt": "{{ prompt }}", "completion": "{{ completion }}"},
    "question-answer": {"prompt": "{{ question }}", "completion": "{{ answer }}"},
}
SIGNS = {  # columns by which a form is recognised -> its style
    ("conversations",): "sharegpt",
    ("messages",): "messages",
    ("instruction", "output"): "alpaca",
    ("prompt", "completion"): "prompt-completion",
    ("question", "answer"): "question-answer",
}


def style_of(dataset: Mapping[str, Any]) -> str | None:
    """The style that a data set's raw config declares, if it is one."""
    form = dataset.get("format")
    style = form.get("style") if isinstance(form, Mapping) else None
    return style if isinstance(style, str) and style in STYLES else None


def styled(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """A data set's raw config with what its style says filled in. What the config says itself stands."""
    style = style_of(dataset)
    if style is None:
        return dict(dataset)
    told = dict(STYLES[style])
    names = dataset["format"].get("names")
    if style == "turns" and isinstance(names, list | tuple) and len(names) == 1:
        told["messages"] = names[0]
    return {**told, **{key: value for key, value in dataset.items() if value is not None}}


def looks_like(columns: list[str]) -> str | None:
    """The style whose columns these are."""
    return next((style for needed, style in SIGNS.items() if set(needed) <= set(columns)), None)
