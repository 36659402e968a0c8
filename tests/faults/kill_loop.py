"""Kill -9 of stages, of Snakemake, of both, at random moments; then all must be as if nothing had happened.

    python tests/faults/kill_loop.py [--kills 20] [--search] [--seed N] [--record .faults/kills.json]

One tiny study is run undisturbed, then again while it is killed and started again. Exit status 1 if anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "workflow")]

from tests.checkout import TRAINING, checkout, run, stages, start  # noqa: E402 - the path is set above
from tests.faults.artefacts import artefacts, differences  # noqa: E402

TARGETS = ("a stage", "Snakemake", "both")
LATEST_S = 20.0  # a kill comes so many seconds after a start, at most
SEARCH = {
    "methods": ["full", "lora", "int8-lora"],
    "seeds": [0, 1],
    "training": TRAINING | {"max_steps": 60},
    "search": {"trials": 6, "training": {"learning_rate": {"low": 1e-4, "high": 1e-1, "scale": "log"}}},
}
UNLOCKED = ("--cores", "1", "--nolock")  # the lock of a killed Snakemake stays


def kill(snakemake: subprocess.Popen, folder: Path, target: str) -> bool:
    """Kill -9. Returns False where there was nothing left to kill."""
    victims = stages(folder) if target != "Snakemake" else []
    if target != "Snakemake" and not victims:
        return False
    if target != "a stage":
        if snakemake.poll() is not None:
            return False
        snakemake.kill()
    for number in victims:
        try:
            os.kill(number, signal.SIGKILL)
        except ProcessLookupError:
            return False
    return True


def disturb(folder: Path, results: Path, kills: int, chance: random.Random) -> Counter:
    """Start, kill, start again. A study that finishes before the last kill begins anew. Returns kills by target."""
    done: Counter = Counter()
    while done.total() < kills:
        target, delay_s = chance.choice(TARGETS), chance.uniform(2, LATEST_S)
        snakemake = start(folder, *UNLOCKED)
        try:
            snakemake.wait(timeout=delay_s)
            if snakemake.returncode != 0:
                sys.exit(f"Snakemake failed, and nothing had been killed since its start: {folder}/snakemake.log")
            print("the study finished; it begins anew", flush=True)
            shutil.rmtree(results)
            continue
        except subprocess.TimeoutExpired:
            pass
        while snakemake.poll() is None and not (hit := kill(snakemake, folder, target)):
            time.sleep(0.05)
        if snakemake.poll() is None:
            snakemake.wait()
        if hit:
            done[target] += 1
            print(f"kill {done.total()} of {kills}: {target}, {delay_s:.1f} s after the start", flush=True)
    return done


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument(
        "--search", action="store_true", help="a study with a search: three methods, six trials, two seeds"
    )
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--record", type=Path, help="write there, as JSON, what table.py reads")
    args = parser.parse_args()
    print(f"seed {args.seed}", flush=True)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one core: tiny models are slower on several that are busy
    folder = Path(tempfile.mkdtemp(prefix="tunebook-faults-")).resolve()
    results = checkout(folder, **(SEARCH if args.search else {}))
    if run(folder, *UNLOCKED) != 0:
        sys.exit(f"the undisturbed study failed: {folder}/snakemake.log")
    undisturbed = artefacts(results)
    shutil.rmtree(results)  # the fetched model stays: its provenance has the time of fetching
    done = disturb(folder, results, args.kills, random.Random(args.seed))
    if run(folder, *UNLOCKED) != 0:
        sys.exit(f"the last restart failed: {folder}/snakemake.log")
    lost = differences(artefacts(results), undisturbed)
    print(f"{done.total()} kills; lost: {', '.join(lost) or 'nothing'}", flush=True)
    if args.record:
        args.record.parent.mkdir(parents=True, exist_ok=True)
        args.record.write_text(json.dumps({"seed": args.seed, "kills": done, "lost": lost}), encoding="utf-8")
    if not lost:
        shutil.rmtree(folder)
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
