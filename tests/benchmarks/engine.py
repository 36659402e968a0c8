"""Time this workflow's training beside TRL and a bare loop: make bench, or

python tests/benchmarks/engine.py --peers PYTHON [--rounds 5] [--steps 24] [--warmup 4] [--output docs/performance.md]

`--peers`: the interpreter of an environment with envs/requirements-bench.txt. All engines train LoRA on the same rows of
random tokens and the same random weights, in turn, each in a process of its own; speed does not depend on the values. What is
reported are ratios of medians, for a machine's speed changes from hour to hour. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas

from tunebook.configuration.adapters import adapter_spec
from tunebook.configuration.config import Training
from tunebook.cost.architectures import read_architecture
from tunebook.data.splits import write_tokens
from tunebook.digests import digests_of
from tunebook.fetch_model import fetch_model
from tunebook.records import read_json, write_json, write_text

HERE = Path(__file__).parent
OURS, NEVER = "tunebook", "tunebook, packing: never"
PEERS = {
    "bare": "bare loop, length-grouped",
    "trl": "TRL, default",
    "trl-grouped": "TRL, length-grouped",
    "trl-packed": "TRL, packed",
}
LIMIT = "matmul"
KINDS = {  # rows: (tokens of the prompt, which are not learnt; tokens of the rest), as medians and spread of a lognormal
    "short rows (quotes)": ((0, 0.0), (18, 0.45)),
    "long rows": ((0, 0.0), (330, 0.35)),
    "prompt and completion": ((160, 0.4), (24, 0.5)),
}
LONGEST = 512
FEWEST = 4
TOLD = """\
- `of ours`: useful tokens a second as a share of this workflow's, median over the rounds, with the lowest and the highest round.
  Useful tokens are those of rows, without padding.
- `of the limit`: the time that the frozen weights' matrix products take by themselves, as a share of the engine's time. The
  limit leaves out attention, the adapter, norms and the optimizer, and pads nothing.
- Peak memory on a CPU is the resident memory of the process, its libraries included; on a GPU what torch allocated."""
# What was tried and brought nothing. Measured on 2 cores without AMX, SmolLM2-135M with LoRA.
NOTHING = """\
- `torch.compile` on a CPU: no gain, and 200 s of warm-up.
- Lines of 1,024 tokens and more with the logits of all positions: half as fast as lines of 512, for the logits of 49,152
  entries leave the caches. Logits are now made 64 MiB at a time."""


def rows_of(kind: str, count: int, vocabulary: int) -> list[dict[str, Any]]:
    """Rows of random tokens with lengths as in real data of this kind, the same at each call."""
    draw, rows = random.Random(0), []
    for number in range(count):
        prompt, rest = (
            round(median * draw.lognormvariate(0, spread)) if median else 0 for median, spread in KINDS[kind]
        )
        prompt, rest = min(prompt, LONGEST // 2), max(FEWEST, min(rest, LONGEST // 2 if prompt else LONGEST))
        ids = [draw.randrange(4, vocabulary) for _ in range(prompt + rest)]
        learnt = max(1, prompt)
        rows.append({"row": str(number), "input_ids": ids, "labels": [-100] * learnt + ids[learnt:]})
    return rows


def write_model(architecture: str, folder: Path) -> None:
    """A model of random weights, by the stage `fetch-model`."""
    source = {"type": "random", "architecture": architecture, "seed": 0}
    spec = {"name": "bench", "task": "causal-lm", "source": source, "licence": "none", "encoder_decoder": False}
    fetch_model(spec, folder)


def by_us(job: dict[str, Any], work: Path, packing: str) -> dict[str, float]:
    """The stage `train` itself."""
    rows = job["rows"]
    write_tokens(work / "tokens" / "train", rows)
    write_tokens(work / "tokens" / "validation", rows[:1])
    write_json(work / "tokens" / "lengths.json", {"digests": digests_of(work / "tokens")})
    training = Training(
        learning_rate=job["learning_rate"],
        per_device_train_batch_size=job["batch"],
        max_steps=job["steps"],
        evals_per_epoch=1,
        max_length=LONGEST,
        packing=packing,
    )
    write_json(work / "run.json", {
        "run": "bench/lora/seed-0", "experiment": "bench", "method": "lora", "identity": "0" * 16, "seed": 0,
        "task": "causal-lm", "dataset": {"labels": []}, "quantization": None,
        "model": {"name": "bench", "dtype": "float32", "attn_implementation": None, "skip_modules": [], "encoder_decoder": False},
        "training": training.model_dump(mode="json"), "adapter": adapter_spec("lora", job["adapter"]), "trains": None,
    })  # fmt: skip
    places = {
        "run": work / "run.json",
        "model": job["model"],
        "tokens": work / "tokens",
        "checkpoints": work / "checkpoints",
    }
    options = [str(part) for name, place in places.items() for part in (f"--{name}", place)]
    _run([sys.executable, "-m", "tunebook", "train", *options, "--output", str(work / "out")])
    history = pandas.read_csv(work / "out" / "history.csv")
    steps = history[history["split"] == "train"].set_index("step")
    seconds = steps["wall_s"].iloc[-1] - steps["wall_s"].loc[job["warmup"]]
    pauses = history[(history["split"] == "validation") & history["step"].between(job["warmup"], job["steps"] - 1)]
    assert pauses.empty, "a validation stands between the timed steps: give fewer steps or more rows"
    tokens = steps["tokens"].iloc[-1] - steps["tokens"].loc[job["warmup"]]
    record = read_json(work / "out" / "training.json")
    return {"tokens_per_s": float(tokens / seconds), "peak_memory_bytes": record["peak_memory_bytes"]}


def by_peer(job: dict[str, Any], work: Path, peers: Path) -> dict[str, float]:
    write_json(work / "job.json", {**job, "work": str(work / "out")})
    return json.loads(_run([str(peers), str(HERE / "peers.py"), str(work / "job.json")]).splitlines()[-1])


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout


def measure(args: argparse.Namespace, folder: Path) -> pandas.DataFrame:
    """A line a round, kind of rows and engine: tokens_per_s, peak_memory_bytes."""
    architecture = read_architecture(args.architecture)
    model, vocabulary = folder / "model", architecture.config["vocab_size"]
    write_model(args.architecture, model)
    adapter = {"r": 16, "lora_alpha": 32, "lora_dropout": 0.05, "target_modules": "all-linear"}
    shared = {"model": str(model), "batch": args.batch, "steps": args.steps, "warmup": args.warmup, "adapter": adapter}
    shared |= {"learning_rate": 5e-4, "threads": len(os.sched_getaffinity(0))}
    lines = []
    for number in range(args.rounds):
        for kind in KINDS:
            rows = rows_of(kind, 2 * args.batch * args.steps, vocabulary)
            for engine in (OURS, *PEERS, NEVER, LIMIT):
                with tempfile.TemporaryDirectory(dir=folder) as place:
                    job, work = {**shared, "engine": engine, "rows": rows}, Path(place)
                    ours = {OURS: "auto", NEVER: "never"}
                    found = by_us(job, work, ours[engine]) if engine in ours else by_peer(job, work, args.peers)
                lines.append({"round": number, "kind": kind, "engine": engine, **found})
                print(f"round {number + 1}, {kind}, {engine}: {found['tokens_per_s']:.1f} tokens/s", flush=True)
    return pandas.DataFrame(lines)


def table(lines: pandas.DataFrame, kind: str) -> list[str]:
    """Markdown lines of one kind of rows."""
    speeds = lines[lines["kind"] == kind].pivot(index="round", columns="engine", values="tokens_per_s")
    peaks = lines[lines["kind"] == kind].groupby("engine")["peak_memory_bytes"].median()
    made = [
        f"## {kind}",
        "",
        "| engine | useful tokens/s | of ours | of the limit | peak memory |",
        "|---|---|---|---|---|",
    ]
    for engine in (OURS, NEVER, *PEERS):
        shares = speeds[engine] / speeds[OURS]
        limit = statistics.median(speeds[engine] / speeds[LIMIT])
        made.append(
            f"| {PEERS.get(engine, engine)} | {speeds[engine].median():.0f} | {shares.median():.2f} "
            f"({shares.min():.2f} to {shares.max():.2f}) | {limit:.0%} | {peaks[engine] / 1e6:,.0f} MB |"
        )
    return [*made, ""]


def report(lines: pandas.DataFrame, args: argparse.Namespace) -> str:
    names = [
        line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft"))
    peers = _run([str(args.peers), "-c", "import importlib.metadata as m; print('TRL', m.version('trl'))"]).strip()
    gpu = _run(
        [sys.executable, "-c", "import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else '')"]
    )
    device = gpu.strip() or f"{len(os.sched_getaffinity(0))} cores of {names[0] if names else platform.machine()}"
    head = [
        "# Performance",
        "",
        f"LoRA (rank 16, all linear layers) on the shape of {args.architecture} in float32, {args.batch} rows a step. {args.rounds} rounds, the engines in",
        f"turn; {args.steps - args.warmup} timed steps each after {args.warmup} of warm-up. {device}; {versions}, {peers}. {datetime.date.today()}.",
        "",
        TOLD,
        "",
    ]
    body = [line for kind in KINDS for line in table(lines, kind)]
    return "\n".join([*head, *body, "## What brought nothing", "", NOTHING, "", "Made by `make bench`.", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, required=True, help="Python with envs/requirements-bench.txt")
    parser.add_argument("--architecture", default="smollm2-135m", help="as under models: of a `random` source")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--warmup", type=int, default=4, help="steps that are not timed")
    parser.add_argument("--batch", type=int, default=8, help="rows of a step")
    parser.add_argument("--output", type=Path, default=Path("docs/performance.md"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lines = measure(args, Path(folder))
    write_text(args.output, report(lines, args))


if __name__ == "__main__":
    main()
