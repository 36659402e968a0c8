"""What the small hub of our own holds, and what is asked of it; the fixture `hub` of conftest.py serves it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import torch

from tests import tiny
from tunebook.fetch_model import fetch_model

COMMIT = "a" * 20 + "b" * 20
SECRET = "hf_nobodyMayReadThis"
MODEL = {"type": "hub", "id": "small/llama", "revision": COMMIT}
DATA = {"type": "hub", "id": "small/rows", "revision": COMMIT, "files": "data/*.jsonl"}
ROWS = {
    "data/train.jsonl": b'{"text": "a"}\n{"text": "b"}\n',
    "data/test.jsonl": b'{"text": "c"}\n',
    "README.md": b"# rows\n",
    "rows.py": b"raise SystemExit\n",
}


def write_models(folder: Path) -> None:
    """Tiny models as the hub has them: one of safetensors, one of pickled parts, one of a pickle that runs code."""
    for family in ("llama", "opt"):
        tiny.model(folder / family, family)
    (folder / "llama" / "modeling_llama.py").write_text("raise SystemExit\n")
    tiny.in_pickled_parts(folder / "opt")
    shutil.copytree(folder / "opt", folder / "evil")
    torch.save({"weight": _Evil()}, folder / "evil" / "pytorch_model-00001-of-00002.bin")


class _Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/tunebook-was-here",)


def model_spec(name="small/llama", **source) -> dict:
    spec = {"name": "m", "task": "causal-lm", "encoder_decoder": False, "licence": "none"}
    return {**spec, "source": {**MODEL, "id": name, **source}}


def fetched_model(tmp_path: Path, **source) -> Path:
    fetch_model(model_spec(**source), tmp_path / "results" / "m")
    return tmp_path / "results" / "m"
