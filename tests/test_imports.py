"""Light starts: the heavy modules that each stage imports, and that nothing is lost by leaving others out."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from tunebook.__main__ import STAGES

HEAVY = {
    "torch", "torch._dynamo", "torch._inductor.compile_fx", "transformers", "transformers.trainer", "transformers.modeling_utils",
    "peft", "bitsandbytes", "accelerate", "datasets", "sklearn", "scipy", "scipy.stats", "pandas", "pyarrow", "matplotlib",
    "seaborn", "tensorboard", "gguf",
}  # fmt: skip
# transformers 5.23 imports torch._dynamo and scipy for each model, and accelerate
MODEL = {"torch", "torch._dynamo", "transformers", "transformers.modeling_utils", "accelerate", "scipy", "bitsandbytes"}
ROWS = {"pandas", "pyarrow"}
RUN = {  # stage -> the heavy modules of a process that has done its work
    "tokenize": ROWS | {"transformers"},
    "train": MODEL | ROWS | {"transformers.trainer", "peft"},
    "sample": MODEL | ROWS,
}
IMPORTED = {  # stage -> the heavy modules that it imports before it reads its command line
    "check": set(),
    "resolve": set(),
    "estimate": set(),
    "schema": set(),
    "tokenize": {"pandas", "pyarrow"},
    "tables": {"pandas", "pyarrow", "scipy"},
}
SHOW = f"""
import json, sys
HEAVY = {sorted(HEAVY)}
def show():
    print(json.dumps(sorted(name for name in HEAVY if sys.modules.get(name))))
"""


def heavy_modules(code: str) -> set[str]:
    """The heavy modules that a new Python process holds after some code, which calls `show`."""
    done = subprocess.run([sys.executable, "-c", SHOW + code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("stage", IMPORTED)
def test_a_light_stage_imports_no_heavy_module(stage):
    assert stage in STAGES
    assert heavy_modules(f"import tunebook.{stage}\nshow()") <= IMPORTED[stage]


@pytest.mark.parametrize("stage", RUN)
def test_a_stage_imports_what_it_uses(finished_study, tmp_path, stage):
    """The stage runs to its end as on the command line. Fails where a new import brings in a heavy module."""
    places, name = finished_study, "words/base/seed-0" if stage == "sample" else "words/lora/seed-0"
    command = [stage, "--model", places["model"], "--output", tmp_path / "output"]
    if stage == "tokenize":
        command += ["--study", places["study"], "--experiment", "words", "--dataset", places["dataset"]]
    else:
        command += ["--run", places["results"] / "runs" / name / "run.json", "--tokens", places["tokens"]]
        command += ["--dataset", places["dataset"]] if stage == "sample" else ["--checkpoints", tmp_path / "work"]
    arguments = [str(part) for part in command]
    code = f"from tunebook.__main__ import main\nassert main({arguments}, own_process=True) == 0\nshow()"
    assert heavy_modules(code) <= RUN[stage]
    if stage == "tokenize":  # without torch the tokens are the same
        for split in ("train", "validation", "test"):
            ours, theirs = ((folder / split).glob("*.arrow") for folder in (tmp_path / "output", places["tokens"]))
            assert next(ours).read_bytes() == next(theirs).read_bytes()
    shutil.rmtree(tmp_path / "output")


def test_bitsandbytes_brings_no_compiler_and_computes_the_same():
    """Fails once bitsandbytes imports no compiler by itself: then `compiled_when_called` may go."""
    compute = """
import torch
torch.manual_seed(0)
from bitsandbytes import functional
weight = torch.randn(64, 64)
packed, state = functional.quantize_4bit(weight, quant_type="nf4")
print(functional.dequantize_4bit(packed, state).double().sum().item())
"""
    plain = subprocess.run(
        [sys.executable, "-c", SHOW + compute + "show()"], capture_output=True, text=True, check=True
    )
    ours = "import torch\nimport tunebook.finetuning.quantization\n"
    light = subprocess.run(
        [sys.executable, "-c", SHOW + ours + compute + "show()"], capture_output=True, text=True, check=True
    )
    assert plain.stdout.splitlines()[0] == light.stdout.splitlines()[0]
    assert "torch._inductor.compile_fx" in plain.stdout
    assert "torch._inductor.compile_fx" not in light.stdout
