"""A small valid config that uses every part of the vocabulary, and ways to break it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

REMOVED = object()  # as a value: the key is taken away


def valid_config() -> dict[str, Any]:
    """A fresh copy, free to be changed. Its files need not exist: validation reads none of them."""
    return copy.deepcopy(_VALID)


def changed(path: str, value: Any, config: dict[str, Any] | None = None) -> dict[str, Any]:
    """The valid config with one value set, added or (REMOVED) taken away. `path`: keys and indices, parted by dots."""
    config = valid_config() if config is None else config
    *above, last = path.split(".")
    part: Any = config
    for key in above:
        part = part[int(key)] if isinstance(part, list) else part.setdefault(key, {})
    key = int(last) if isinstance(part, list) else last
    if value is REMOVED:
        del part[key]
    else:
        part[key] = value
    return config


def write_config(folder: Path, config: Mapping[str, Any], name: str = "config.yaml") -> Path:
    """Write a config as YAML. Returns its file."""
    file = folder / name
    file.write_text(yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True), encoding="utf-8")
    return file


_WHEEL = {"type": "wheel", "package": "tiny", "version": "1.0", "sha256": "0" * 64, "file": "tiny/model/"}
_VALID: dict[str, Any] = {
    "study": "small",
    "title": "A small study",
    "models": {
        "writer": {"task": "causal-lm", "source": {"type": "path", "path": "models/writer"}, "licence": "MIT"},
        "translator": {"task": "seq2seq-lm", "source": _WHEEL, "encoder_decoder": True, "licence": "MIT"},
        "judge": {"task": "sequence-classification", "source": _WHEEL, "licence": "MIT"},
    },
    "datasets": {
        "statements": {
            "source": {"type": "path", "path": "data/statements.txt", "sha256": "1" * 64},
            "format": {"type": "delimited", "delimiter": "@", "names": ["sentence", "label"], "encoding": "latin-1"},
            "prompt": "{{ sentence }}",
            "label": "label",
            "labels": ["negative", "neutral", "positive"],
            "licence": "CC0-1.0",
        },
        "pairs": {
            "source": {"type": "path", "path": "data/pairs.csv"},
            "format": {"type": "csv"},
            "columns": {"question": "Full question"},
            "prompt": "{{ question }}",
            "completion": "{{ answer }}",
            "split": {"validation": 10, "test": 0.2, "seed": 1},
            "licence": "CC0-1.0",
        },
        "talks": {
            "source": {"type": "path", "path": "data/*.yml"},
            "format": {"type": "yaml", "key": "conversations", "names": ["turns"]},
            "messages": "turns",
            "licence": "CC0-1.0",
        },
        "lines": {
            "source": {"type": "generated", "generator": "clinical-vignettes", "rows": 100},
            "text": "{{ case }}",
            "licence": "CC0-1.0",
        },
    },
    "methods": {
        "full": {},
        "lora": {"adapter": "lora"},
        "int8-lora": {"quantization": "int8", "adapter": "lora"},
    },
    "experiments": {
        "sentiment": {
            "title": "Sentiment",
            "dataset": "statements",
            "model": "translator",
            "methods": ["full", "lora"],
            "seeds": [0, 1],
            "training": {"learning_rate": 1.0e-3, "bf16": True},
            "overrides": {"full": {"training": {"learning_rate": 1.0e-4}}, "lora": {"adapter": {"r": 4}}},
        },
        "judging": {"title": "Judging", "dataset": "statements", "model": "judge", "methods": ["full"]},
        "answers": {
            "title": "Answers",
            "dataset": "pairs",
            "model": "writer",
            "methods": ["int8-lora"],
            "adapter": {"target_modules": ["q_proj", "v_proj"]},
            "generation": {"max_new_tokens": 8},
            "prompts": ["What is a cat?"],
            "published": {
                "source": "a table",
                "model": "a large model",
                "dataset": "other pairs",
                "comparable": False,
                "why": "another model",
                "losses": [{"epoch": 1, "validation_loss": 1.5}],
            },
        },
        "talking": {"title": "Talking", "dataset": "talks", "model": "writer", "methods": ["lora"]},
        "writing": {"title": "Writing", "dataset": "lines", "model": "writer", "methods": ["lora"]},
    },
}
